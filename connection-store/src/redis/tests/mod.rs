//! The Redis store against real servers.

mod server;
mod suite_runs;

use std::time::{Duration, Instant};

use self::server::DEADLINE;
use super::*;
use crate::suite::RecordingConnection;

type Store = RedisStore<RecordingConnection>;

fn options(url: &str, prefix: &str) -> RedisOptions {
    let options = RedisOptions::new(&[url]).expect("a server's url");
    options.lease(Duration::from_secs(3)).prefix(prefix).answer_within(Duration::from_secs(2))
}

async fn start_with(options: RedisOptions) -> Store {
    let store = Store::start(options).expect("a thread");
    until("the store reaches its server", || store.delivers()).await;
    store
}

async fn start(url: &str, prefix: &str) -> Store {
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
