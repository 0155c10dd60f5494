//! Whoever may have missed an event asks how things stand.
//!
//! A gateway that was killed is, until its lease has run out, neither here nor gone: what is sent
//! to a room it had people of is answered 503, though everyone on the other gateways has it. They
//! are not to wait for what that gateway held. So the next event goes out at once, and when
//! everyone can be reached again, the pages are told.
//!
//! In:  that an event has perhaps not reached everyone it was for; the backend's start, for those
//!      who were here before know it, and it does not know them.
//! Out: `anew` to everyone, which makes a page join again and fetch what it has not seen.
//!
//! Holds always: after the last event that was missed, everyone is told, and each once.

use std::sync::Arc;

use crate::{Backend, rooms};

impl Backend {
    /// Somebody may have missed something.
    pub(crate) fn missed(&self) {
        self.missed.notify_one();
    }

    /// Tells everyone, each time that something was missed. What is missed while one is at it
    /// counts as another time.
    pub(crate) async fn catch_up(self: Arc<Self>) {
        loop {
            self.missed.notified().await;
            if let Err(error) = self.management.reach_everyone(rooms::anew()).await {
                tracing::warn!(%error, "the pages were not told to ask again");
            }
        }
    }
}
