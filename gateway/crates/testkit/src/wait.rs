//! Waiting for an event, under a deadline.
//!
//! In:  a future or a condition. Out: its value, or a panic that names what never came.
//!
//! Holds always: nothing here waits longer than the deadline it was given.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How long anything may take that should happen at once, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(10);

/// The future's value, or a panic "`what` within `deadline`".
pub async fn within<T>(deadline: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(deadline, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}

/// Asks again and again until `condition` holds, for what cannot be subscribed to (a metric,
/// a file). Panics with `what` when it does not hold within `deadline`.
pub async fn wait_until(deadline: Duration, what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + deadline;
    while !condition().await {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wait_until_returns_as_soon_as_the_condition_holds() {
        let asked = std::cell::Cell::new(0);
        wait_until(DEADLINE, "three questions", async || {
            asked.set(asked.get() + 1);
            asked.get() == 3
        })
        .await;
        assert_eq!(asked.get(), 3);
    }

    #[tokio::test]
    #[should_panic(expected = "a blue moon")]
    async fn wait_until_names_what_never_came() {
        wait_until(Duration::from_millis(30), "a blue moon", async || false).await;
    }
}
