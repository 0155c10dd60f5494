//! `deploy/systemd/tidegate.service`, by systemd's own tools.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::{
    GATEWAY,
    programs::{program, run, text_of},
};

/// Of 10.0, which is no protection at all: `systemd-analyze security` calls up to 2.0 "OK".
const MOST_EXPOSURE: &str = "--threshold=20";

fn unit() -> String {
    text_of("deploy/systemd/tidegate.service")
}

/// The unit with the binary where it is in a test.
fn in_folder(folder: &TempDir, unit: &str) -> PathBuf {
    let path = folder.path().join("tidegate.service");
    assert!(unit.contains("/usr/local/bin/tidegate"));
    std::fs::write(&path, unit.replace("/usr/local/bin/tidegate", GATEWAY))
        .expect("a file of ours");
    path
}

/// The value of the last `KEY=` line.
fn value(key: &str) -> String {
    let unit = unit();
    let line = unit.lines().rev().find_map(|line| line.strip_prefix(&format!("{key}=")));
    line.unwrap_or_else(|| panic!("no {key}= in the unit")).to_owned()
}

#[tokio::test]
async fn systemd_takes_the_unit_without_a_word() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = in_folder(&folder, &unit());
    let said = run(program("systemd-analyze").arg("verify").arg(&path)).await.expect_well();
    assert_eq!(said.all(), "");
    // And would say one.
    let path = in_folder(&folder, &unit().replace("NoNewPrivileges=", "NoNewPrivilege="));
    let said = run(program("systemd-analyze").arg("verify").arg(&path)).await;
    assert!(said.all().contains("NoNewPrivilege"), "{}", said.all());
}

#[tokio::test]
async fn the_unit_leaves_little_to_whoever_takes_the_gateway_over() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = in_folder(&folder, &unit());
    let analyze = ["security", "--offline=true", "--no-pager", MOST_EXPOSURE];
    run(program("systemd-analyze").args(analyze).arg(&path)).await.expect_well();
}

/// 30 is the default of `[drain] deadline_s`.
#[test]
fn systemd_waits_longer_than_a_drain_may_take() {
    let stop: u32 = value("TimeoutStopSec").parse().expect("seconds");
    assert!(stop > 30, "TimeoutStopSec={stop}");
    assert_eq!(value("KillSignal"), "SIGTERM");
    assert_eq!(value("ExecReload"), "/bin/kill -HUP $MAINPID");
    let descriptors: u32 = value("LimitNOFILE").parse().expect("a number");
    assert!(descriptors >= 1 << 20, "LimitNOFILE={descriptors}");
}
