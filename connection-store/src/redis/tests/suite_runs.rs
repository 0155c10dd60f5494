//! The suite that every store must pass.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    server::{Program, Server},
    start,
};
use crate::{
    RedisStore,
    suite::{self, RecordingConnection},
};

type Store = RedisStore<RecordingConnection>;

/// Stores of different prefixes know nothing of each other.
pub(super) fn fresh_prefix() -> String {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    format!("suite{}", SERIAL.fetch_add(1, Ordering::Relaxed))
}

async fn pair(server: &Server) -> (Store, Store) {
    let prefix = fresh_prefix();
    (start(&server.url(), &prefix).await, start(&server.url(), &prefix).await)
}

async fn one_node_passes(server: &Server) {
    suite::run_all(async || start::<RecordingConnection>(&server.url(), &fresh_prefix()).await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_passes_the_suite() {
    one_node_passes(&Server::start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_pass_the_suite() {
    let server = Server::start();
    suite::run_all_across(async || pair(&server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_passes_the_suite_on_valkey() {
    one_node_passes(&Server::of(Program::Valkey, &[])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_pass_the_suite_on_valkey() {
    let server = Server::of(Program::Valkey, &[]);
    suite::run_all_across(async || pair(&server).await).await;
}
