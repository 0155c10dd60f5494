//! Signals to the processes of a test.

use tokio::process::Command;

use crate::{DEADLINE, wait_until};

/// Sends a signal by its name: `TERM`, `HUP`, `KILL`, `STOP`, `CONT`.
///
/// # Panics
/// When the process is gone.
pub(crate) async fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().await;
    assert!(status.expect("kill(1) runs").success(), "kill -{name} {pid}");
}

/// SIGSTOP, and waits until every thread of it stands still: until then it may go on answering.
pub(crate) async fn freeze(pid: u32) {
    signal(pid, "STOP").await;
    wait_until(DEADLINE, "the process to stand still", async || stands_still(pid)).await;
}

/// What Linux says of its threads: `proc(5)`, the field behind the name in parentheses.
fn stands_still(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}
