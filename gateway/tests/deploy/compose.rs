//! `deploy/compose.yaml`: by the Compose specification's schema, and against the files that it takes.
//!
//! No container is started here: that takes a daemon.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_testkit::run_to_end;
use tokio::process::Command;

use crate::{
    GATEWAY,
    programs::{in_repository, python, run, text_of},
};

async fn project() -> Value {
    let path = in_repository("deploy/compose.yaml");
    let said = run(python("validate.py").arg("compose").arg(path)).await.json();
    assert_eq!(said["problems"], Value::Array(Vec::new()));
    said["project"].clone()
}

fn services(project: &Value) -> BTreeSet<String> {
    project["services"].as_object().expect("services").keys().cloned().collect()
}

fn seconds(text: &Value) -> u32 {
    let text = text.as_str().unwrap_or_else(|| panic!("a duration, not {text}"));
    text.strip_suffix('s')
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("{text} in seconds"))
}

#[tokio::test]
async fn the_schema_has_no_objection_and_every_mounted_file_is_there() {
    let project = project().await;
    for (name, service) in project["services"].as_object().expect("services") {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let volume = volume.as_str().expect("the short form");
            let source = volume.split(':').next().unwrap_or_default();
            match source.strip_prefix("./") {
                Some(path) => drop(in_repository(&format!("deploy/{path}"))),
                None => assert!(
                    !project["volumes"][source].is_null()
                        || project["volumes"]
                            .as_object()
                            .is_some_and(|all| all.contains_key(source)),
                    "{name}: {volume}"
                ),
            }
        }
    }
    let build = &project["services"]["gateway-1"]["build"];
    assert_eq!(build["context"], "..");
    in_repository(build["dockerfile"].as_str().expect("a Dockerfile"));
}

#[tokio::test]
async fn redis_throws_nothing_out_and_nodes_have_time_to_drain() {
    let project = project().await;
    let redis: Vec<_> = project["services"]["redis"]["command"]
        .as_array()
        .expect("a command")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(redis.join(" ").contains("--maxmemory-policy noeviction"), "{redis:?}");
    let toml = text_of("deploy/gateway.toml");
    let deadline = toml.lines().find_map(|line| line.strip_prefix("deadline_s = "));
    let deadline: u32 = deadline.and_then(|it| it.parse().ok()).expect("deadline_s");
    for n in 1..=3 {
        let grace = &project["services"][format!("gateway-{n}")]["stop_grace_period"];
        assert!(seconds(grace) > deadline, "{grace} is no longer than a drain of {deadline} s");
    }
}

/// Balancer, Prometheus and Grafana find what they look for by the names of the services.
#[tokio::test]
async fn what_the_files_call_each_other_by_is_there() {
    let services = services(&project().await);
    let named = |text: &str| {
        let words = text.split(|c: char| !(c.is_alphanumeric() || "-:".contains(c)));
        let hosts = words.filter_map(|word| {
            let (host, port) = word.split_once(':')?;
            (port.parse::<u16>().is_ok() && host.contains(char::is_alphabetic)).then_some(host)
        });
        hosts.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    for file in [
        "deploy/haproxy/haproxy.cfg",
        "deploy/nginx/nginx.conf",
        "deploy/prometheus/prometheus.yml",
        "deploy/grafana/provisioning/datasources/prometheus.yaml",
    ] {
        let text = text_of(file);
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let named = named(&lines.collect::<Vec<_>>().join("\n"));
        assert!(!named.is_empty() && named.is_subset(&services), "{file} names {named:?}");
    }
}

/// The gateways' file is one that the gateway takes, with the variables that compose.yaml sets.
#[tokio::test]
async fn the_gateways_take_their_file() {
    let project = project().await;
    let environment = project["services"]["gateway-1"]["environment"].as_object().expect("a map");
    let mut check = Command::new(GATEWAY);
    check.arg("check").arg(in_repository("deploy/gateway.toml")).env_clear();
    for (name, value) in environment {
        check.env(name, value.as_str().expect("text"));
    }
    let said = run(&mut check).await.expect_well();
    assert_eq!(said.err, "", "warnings");
    assert!(said.out.contains("echo"), "{}", said.out);
    // Without them it is refused: the variables are what it takes.
    let ended =
        run_to_end(GATEWAY, &["check", "gateway.toml"], &text_of("deploy/gateway.toml")).await;
    assert_eq!(ended.status.code(), Some(64), "{}", ended.stderr);
}
