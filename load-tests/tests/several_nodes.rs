//! The scenarios of several nodes, small, against real gateways and real Redis servers.
//!
//! In:  the gateway beside the load generator, as a build of the workspace leaves it there; the
//!      program `redis-server` on the path.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

const LOAD_TESTS: &str = env!("CARGO_BIN_EXE_load-tests");

fn gateway() -> PathBuf {
    let gateway = Path::new(LOAD_TESTS).with_file_name("tidegate");
    assert!(gateway.is_file(), "no gateway beside the load generator: cargo build -p tidegate");
    gateway
}

fn run(arguments: &[&str]) -> Output {
    let gateway = gateway();
    Command::new(LOAD_TESTS).args(arguments).arg("--gateway").arg(gateway).output().expect("starts")
}

/// Runs a scenario, which must find nothing lost, and gives its figures, one run after the other.
fn figures(arguments: &[&str]) -> Vec<HashMap<String, f64>> {
    let folder = tempfile::tempdir().expect("folder");
    let json = folder.path().join("report.json");
    let path = json.to_str().expect("a path in UTF-8");
    let output = run(&[arguments, &["--json", path]].concat());
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value =
        serde_json::from_slice(&fs::read(&json).expect("the report")).expect("json");
    let mut titles: Vec<&str> = Vec::new();
    let mut runs: Vec<HashMap<String, f64>> = Vec::new();
    for row in report["rows"].as_array().expect("rows") {
        assert_eq!(row["scenario"], arguments[0]);
        let title = row["title"].as_str().expect("a title");
        if titles.last() != Some(&title) {
            titles.push(title);
            runs.push(HashMap::new());
        }
        let quantity = row["quantity"].as_str().expect("a name").to_owned();
        let figure = row["gateway"].as_f64().expect("a figure");
        runs.last_mut().expect("there is a run").insert(quantity, figure);
    }
    runs
}

#[test]
fn remote_posts_stand_beside_local_ones_of_the_same_run() {
    let sizes = ["--connections", "8", "--posters", "4", "--seconds", "1"];
    let runs = figures(&[&["remote-post"][..], &sizes].concat());
    let [figures] = &runs[..] else { panic!("one run, not {runs:?}") };
    for wanted in ["server_cpu_us", "redis_cpu_us", "per_second", "p99_us", "half_load_p99_us"] {
        assert!(figures[wanted] > 0.0, "{wanted}: {figures:?}");
    }
    let ratio = figures["server_cpu_us"] / figures["local_cpu_us"];
    assert!((figures["cpu_of_local"] - ratio).abs() < 1e-9, "{figures:?}");
    // No faster than the pace; a machine that does something else may not keep it.
    let half = figures["half_load_per_second"] / figures["per_second"];
    assert!((0.0..0.6).contains(&half), "{half} of the load: {figures:?}");
}

#[test]
fn a_send_to_a_group_on_two_nodes_is_one_bus_message_of_each_whatever_the_size() {
    let runs = figures(&["remote-group", "--connections", "2,60", "--seconds", "1"]);
    assert_eq!(runs.len(), 2);
    for figures in runs {
        assert_eq!(figures["bus_messages_per_send"], 1.0, "{figures:?}");
        assert!(figures["last_member_p50_ms"] > 0.0, "{figures:?}");
    }
}

#[test]
fn a_short_soak_loses_and_doubles_nothing_and_its_storm_meets_both_bounds() {
    let sizes = ["--connections", "200", "--posts", "5000", "--posters", "8", "--storm", "2"];
    let runs = figures(&[&["cluster-soak"][..], &sizes].concat());
    let [figures] = &runs[..] else { panic!("one run, not {runs:?}") };
    assert_eq!(figures["posts"], 5_000.0);
    assert!(figures["moves"] > 0.0, "nobody joined or left meanwhile: {figures:?}");
    assert!(figures["first_gone_s"] <= figures["all_gone_s"], "{figures:?}");
    assert!(figures["ends_s"] > 0.0, "{figures:?}");
    assert!(figures["storm_refused"] > 0.0, "nobody was refused: {figures:?}");
    assert_eq!(figures["connects_at_once"], figures["connects_bound"], "{figures:?}");
}

#[test]
fn two_nodes_go_on_while_their_redis_is_away_and_find_it_again() {
    let runs = figures(&["redis-away", "--connections", "5", "--away", "5"]);
    assert_eq!(runs.len(), 2, "killed and frozen");
    for figures in runs {
        assert_eq!((figures["lost_sockets"], figures["local_failed"]), (0.0, 0.0), "{figures:?}");
        assert!(figures["posts"] > 0.0 && figures["refused"] > 0.0, "{figures:?}");
    }
}

#[test]
fn without_a_redis_server_the_run_fails_and_says_what_is_missing() {
    let mut command = Command::new(LOAD_TESTS);
    command.args(["remote-group", "--gateway"]).arg(gateway()).env("PATH", "/nowhere");
    let output = command.output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no redis-server on the path"), "{errors}");
}

#[test]
fn more_connections_than_descriptors_are_refused_at_the_start() {
    let output = run(&["cluster-soak", "--connections", "1000000"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("descriptors are needed"), "{errors}");
}
