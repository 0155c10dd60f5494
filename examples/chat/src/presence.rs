//! Who is here, by the gateway's word: a person is in a room as long as their group there has
//! members.
//!
//! In:  signs that someone may be gone: `$disconnect`, another room, an event that reached fewer
//!      than are shown, five minutes of silence.
//! Out: one question to the gateway for each, `GET /demo/@groups/{person in room}`, and `left` to
//!      the others where the answer is 0.
//!
//! Holds always: nobody is asked after twice at the same time; an answer that does not come
//! changes nothing, and the silence asks again.

use std::{collections::hash_map::Entry, sync::Arc, time::Duration};

use tokio::time;

use crate::{Backend, groups, now_ms, rooms::FAREWELL_MS};

/// When a change of rooms has reached the gateway, as a rule. If it has not, the silence asks.
const CHANGED_AFTER: Duration = Duration::from_millis(250);
/// How often those are looked for who have not been heard of.
const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Backend {
    /// A connection of a person's has ended; which room it was in, their groups will tell.
    pub(crate) fn disconnected(self: &Arc<Self>, person: &str) {
        let rooms = self.state.lock().rooms.rooms_of(person);
        for room in rooms {
            self.check(room, person.to_owned(), Duration::from_millis(FAREWELL_MS));
        }
    }

    /// A connection of a person's goes from this room to another.
    pub(crate) fn left(self: &Arc<Self>, room: &str, person: &str) {
        self.state.lock().rooms.leaves(room, person);
        self.check(room.to_owned(), person.to_owned(), CHANGED_AFTER);
    }

    /// An event for all of a room has reached so many connections. No sign of who is missing, if
    /// anyone is: those who are asked after already are not asked after again for it.
    pub(crate) fn reached(self: &Arc<Self>, room: &str, connections: u64) {
        let missed = {
            let state = self.state.lock();
            let mut missed = state.rooms.missed_by(room, connections);
            missed.retain(|person| !state.checked.contains_key(&(room.to_owned(), person.clone())));
            missed
        };
        for person in missed {
            self.check(room.to_owned(), person, Duration::from_millis(FAREWELL_MS));
        }
    }

    /// Finds those who have gone without a sign, as when the gateway was killed.
    pub(crate) async fn watch_presence(self: Arc<Self>) {
        loop {
            time::sleep(LOOK_EVERY).await;
            let unheard = self.state.lock().rooms.unheard(now_ms());
            for (room, person) in unheard {
                self.check(room, person, Duration::ZERO);
            }
        }
    }

    /// Asks after a person in a while; once more where that is under way already, for its answer
    /// may be older than this sign.
    fn check(self: &Arc<Self>, room: String, person: String, after: Duration) {
        let pair = (room, person);
        match self.state.lock().checked.entry(pair.clone()) {
            Entry::Occupied(mut under_way) => {
                under_way.insert(true);
                return;
            }
            Entry::Vacant(free) => free.insert(false),
        };
        let backend = Arc::clone(self);
        self.spawn(async move {
            time::sleep(after).await;
            loop {
                backend.ask_after(&pair.0, &pair.1).await;
                let checked = &mut backend.state.lock().checked;
                if checked.insert(pair.clone(), false) != Some(true) {
                    checked.remove(&pair);
                    return;
                }
            }
        });
    }

    async fn ask_after(&self, room: &str, person: &str) {
        let asked_at = loop {
            let now = now_ms();
            let Some(wait) = self.state.lock().rooms.ask_in(room, person, now) else { return };
            match wait {
                0 => break now,
                wait => time::sleep(Duration::from_millis(wait)).await,
            }
        };
        let connections = self.management.members(&groups::of_person(room, person)).await;
        let state = &mut *self.state.lock();
        match connections {
            Ok(0) => {
                let events = state.rooms.absent(room, person, asked_at);
                state.deliver(events);
            }
            Ok(_) => state.rooms.present(room, person, asked_at),
            Err(error) => tracing::warn!(%error, "who is here could not be asked"),
        }
    }
}
