//! How many `$connect` and `$disconnect` calls one integration works on at once.
//!
//! In:  calls that are about to be made. Out: the permission to make them, in the order they came.
//!
//! A storm of reconnects, or the end of another node, would otherwise become the backend's storm.
//! Messages do not pass here: each connection has its own bound for them (`max_in_flight`).

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, SemaphorePermit};

/// One integration's bound, as one route or authorizer waits at it.
#[derive(Debug)]
pub(crate) struct LifecycleGate {
    places: Arc<Semaphore>,
    patience: Duration,
}

impl LifecycleGate {
    /// The bound with these places. Whoever has a client waiting gives up after `patience`, the
    /// integration's timeout.
    pub(crate) fn new(places: Arc<Semaphore>, patience: Duration) -> Self {
        Self { places, patience }
    }

    /// A place for a call that a client waits for. The error is how long it has waited.
    pub(crate) async fn enter_soon(&self) -> Result<SemaphorePermit<'_>, Duration> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        match tokio::time::timeout(self.patience, self.enter()).await {
            Ok(place) => Ok(place),
            Err(_) => Err(self.patience),
        }
    }

    /// A place for a call that nobody waits for and that has to be made.
    pub(crate) async fn enter(&self) -> SemaphorePermit<'_> {
        self.places.acquire().await.expect("nobody closes the semaphore")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_has_a_client_waiting_gives_up_and_who_must_go_on_waits() {
        let places = Arc::new(Semaphore::new(1));
        let patience = Duration::from_secs(29);
        let gate = LifecycleGate::new(places, patience);
        let first = gate.enter_soon().await.expect("there is a place");
        assert_eq!(gate.enter_soon().await.expect_err("there is none"), patience);
        let (_second, ()) = tokio::join!(gate.enter(), async {
            tokio::time::sleep(10 * patience).await;
            drop(first);
        });
    }
}
