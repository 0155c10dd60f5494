//! The Redis store against real servers.
//!
//! Each test starts its own `redis-server`. Nodes are stores in this process: dropped without
//! leaving they are as dead as a process that was killed.

mod bus;
mod connection;
mod deaths;
mod full_server;
mod handover;
mod outages;
mod repetitions;
mod server;
mod suite_runs;
mod topologies;
mod wholeness;

use std::time::Duration;

use self::{connection::TestConnection, server::DEADLINE};
use super::*;
use crate::MessageKind;

type Node = RedisStore<TestConnection>;

/// Short enough for tests, long enough for a busy machine.
const LEASE: Duration = Duration::from_millis(1500);

fn options(url: &str, prefix: &str) -> RedisOptions {
    let options = RedisOptions::new(url).expect("a server's url");
    options.lease(LEASE).prefix(prefix).answer_within(Duration::from_secs(2))
}

async fn start_with<C: LocalConnection>(options: RedisOptions) -> RedisStore<C> {
    let store = RedisStore::start(options).expect("a thread");
    until("the store reaches its server", || store.delivers()).await;
    store
}

async fn start<C: LocalConnection>(url: &str, prefix: &str) -> RedisStore<C> {
    start_with(options(url, prefix)).await
}

/// Waits for something to be so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks again and again until the answer is the one that is due, at the latest after `within`. How
/// long that took.
async fn until_answered<T: PartialEq + std::fmt::Debug>(
    what: &str,
    within: Duration,
    due: &T,
    mut ask: impl AsyncFnMut() -> T,
) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        if answer == *due {
            return begun.elapsed();
        }
        let late = begun.elapsed();
        assert!(late < within, "{what}: {answer:?} instead of {due:?} after {late:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn home() -> Scope {
    Scope::new("chat", "prod")
}

fn text(payload: &str) -> Message {
    Message { kind: MessageKind::Text, payload: payload.to_owned().into() }
}

/// What a post is answered.
async fn post(from: &Node, to: ConnectionId, payload: &str) -> Result<NodeId, DeliveryError> {
    from.post(&home(), to, text(payload)).await.map(|receipt| receipt.node)
}
