//! The commands `run`, `check` and `schema`, and the files that are given to them (tidegate,
//! sections 1 and 2).
//!
//! In:  command lines; files good, bad and absent.
//! Out: exit codes and output.
//!
//! Holds always: a file's mistake is exit code 64, and each mistake is one line with its place.

use serde_json::Value;
use tidegate_testkit::{Client, GatewayToml, run_to_end};

use crate::{GATEWAY, echo, start};

/// tidegate, section 1: what would be served.
#[tokio::test]
async fn check_prints_what_would_be_served() {
    let toml = GatewayToml::new()
        .stage("blue")
        .http_proxy("backend", "http://backend.example:3000/messages")
        .function("worker", "http://worker.example/f")
        .route("$connect", "backend")
        .two_way("sendmessage", "worker")
        .signed("AKIDSHOWN", "the secret that is never shown");
    let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &toml.build()).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    for wanted in [
        "test",
        "prod",
        "blue",
        "$connect",
        "sendmessage",
        "backend",
        "worker",
        "http://backend.example:3000/messages",
        "http://worker.example/f",
        "127.0.0.1:0",
    ] {
        assert!(ended.stdout.contains(wanted), "{wanted} is missing in\n{}", ended.stdout);
    }
    assert!(!format!("{ended:?}").contains("never shown"), "{ended:?}");
}

/// `--set` of `check` and `run`: over the file's keys, and to blame for its own.
#[tokio::test]
async fn a_key_on_the_command_line_is_set_over_the_files() {
    let toml = echo().limit("max_in_flight", "3").build();
    let set = ["--set", "limits.max_in_flight=5", "--set", "apis.test.domains=[\"d.example\"]"];
    let ended = run_to_end(GATEWAY, &[&["check", "gateway.toml"], &set[..]].concat(), &toml).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    for wanted in ["max_in_flight = 5 (default 16)", "d.example"] {
        assert!(ended.stdout.contains(wanted), "{wanted} is missing in\n{}", ended.stdout);
    }
    for (set, said) in [
        ("limits.connections=0", "--set limits.connections: 0 is an error"),
        ("limits.max_in_flight", "--set number 1: expected KEY=VALUE"),
        (
            "limits.max_in_flight.x=1",
            "--set limits.max_in_flight.x: `limits.max_in_flight` is no table",
        ),
    ] {
        for command in ["check", "run"] {
            let arguments = [command, "gateway.toml", "--set", set];
            let ended = run_to_end(GATEWAY, &arguments, &toml).await;
            assert_eq!(ended.status.code(), Some(64), "{ended:?}");
            assert!(
                ended.stderr.starts_with(said) && ended.stderr.lines().count() == 1,
                "{ended:?}"
            );
        }
    }
}

/// tidegate, section 1: every problem at once, each with its key and line; exit 64.
#[tokio::test]
async fn a_file_with_ten_mistakes_is_refused_with_ten_lines() {
    let toml = r#"[listen]
address = "nowhere"
[limits]
idle_timeout_s = 0
misspelt = 1
max_in_flight = "many"
[apis.test]
route_selection_expression = "$request.body.action"
domains = ["not a host"]
[apis.test.stages.prod]
throttle = { rate = -1, burst = 1 }
[apis.test.integrations.b]
type = "http_proxy"
uri = "ftp://example.com/"
timeout_ms = 29001
[apis.test.routes."$foo"]
[apis.test.routes.x]
integration = "absent"
"#;
    let expected = [
        (2, "listen.address"),
        (4, "limits.idle_timeout_s"),
        (5, "limits.misspelt"),
        (6, "limits.max_in_flight"),
        (9, "apis.test.domains"),
        (11, "apis.test.stages.prod.throttle"),
        (14, "apis.test.integrations.b.uri"),
        (15, "apis.test.integrations.b.timeout_ms"),
        (16, "apis.test.routes"),
        (18, "apis.test.routes.x.integration"),
    ];
    for command in ["check", "run"] {
        let ended = run_to_end(GATEWAY, &[command, "gateway.toml"], toml).await;
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        assert_eq!(ended.stdout, "");
        let said: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(said.len(), expected.len(), "{}", ended.stderr);
        for (line, (number, key)) in said.iter().zip(expected) {
            let head = format!("gateway.toml:{number}: {key}");
            assert!(line.starts_with(&head), "{line}\ndoes not start with\n{head}");
        }
    }
}

/// tidegate, section 1: a file that is absent or no TOML.
#[tokio::test]
async fn a_file_that_cannot_be_read_is_exit_64_too() {
    for command in ["check", "run"] {
        let ended = run_to_end(GATEWAY, &[command, "absent.toml"], "").await;
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        assert!(ended.stderr.contains("absent.toml"), "{ended:?}");
        let broken = "[apis.test\nx = 1\n";
        let ended = run_to_end(GATEWAY, &[command, "gateway.toml"], broken).await;
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        assert!(ended.stderr.starts_with("gateway.toml:1: "), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
}

/// tidegate, section 2: a port that is taken is said, and is no fault of the file.
#[tokio::test]
async fn a_taken_port_ends_the_start() {
    let gateway = start(&echo()).await;
    let taken = format!("{:?}", gateway.address().to_string());
    let toml = echo().set("listen", "address", &taken);
    let ended = run_to_end(GATEWAY, &["run", "gateway.toml"], &toml.build()).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&gateway.address().to_string()), "{ended:?}");
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
}

/// tidegate, section 1.
#[tokio::test]
async fn schema_prints_a_json_schema() {
    let ended = run_to_end(GATEWAY, &["schema"], "").await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let schema: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert!(schema["$schema"].is_string());
    for section in ["listen", "admin", "management", "limits", "drain", "store", "apis"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

/// tidegate, section 1: as everywhere.
#[tokio::test]
async fn version_and_help_are_answered() {
    let ended = run_to_end(GATEWAY, &["--version"], "").await;
    let version = format!("tidegate {}", env!("CARGO_PKG_VERSION"));
    assert_eq!((ended.status.code(), ended.stdout.trim()), (Some(0), version.as_str()));
    let ended = run_to_end(GATEWAY, &["--help"], "").await;
    assert_eq!(ended.status.code(), Some(0));
    for command in ["run", "demo", "check", "schema"] {
        assert!(ended.stdout.contains(command), "{command}: {}", ended.stdout);
    }
}
