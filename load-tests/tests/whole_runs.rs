//! The program as a whole: against its own raw server, and against servers that go wrong.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    thread,
};

use serde_json::Value;

fn load_tests(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load-tests")).args(arguments).output().expect("it starts")
}

/// Runs one scenario against the raw server and gives the figures of the JSON report.
fn figures_of_raw(scenario: &str, connections: &str) -> Vec<(String, f64)> {
    let folder = tempfile::tempdir().expect("folder");
    let json = folder.path().join("report.json");
    let path = json.to_str().expect("a path in UTF-8");
    let sizes = ["--connections", connections, "--seconds", "1", "--posters", "3"];
    let servers = ["--servers", "raw", "--json", path];
    let output = load_tests(&[&[scenario][..], &sizes, &servers].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let report: Value =
        serde_json::from_slice(&fs::read(&json).expect("the report")).expect("json");
    let rows = report["rows"].as_array().expect("rows");
    rows.iter()
        .map(|row| {
            assert_eq!(row["scenario"], scenario);
            assert!(row["gateway"].is_null(), "no gateway ran");
            let quantity = row["quantity"].as_str().expect("a name").to_owned();
            (quantity, row["raw"].as_f64().expect("a figure"))
        })
        .collect()
}

#[test]
fn each_scenario_runs_against_the_raw_server_without_a_loss() {
    for (scenario, connections) in [
        ("handshake", "4"),
        ("echo", "5"),
        ("pipelined", "3"),
        ("post", "5"),
        ("route", "4"),
        ("group", "20"),
    ] {
        let figures = figures_of_raw(scenario, connections);
        for wanted in ["per_second", "p50_us", "p99_us", "server_cpu_us"] {
            let found = figures.iter().find(|(quantity, _)| quantity == wanted);
            assert!(
                found.is_some_and(|(_, value)| *value > 0.0),
                "{scenario}: {wanted}: {found:?}"
            );
        }
    }
}

#[test]
fn idle_connections_have_a_memory_figure() {
    let figures = figures_of_raw("idle", "300");
    let names: Vec<_> = figures.iter().map(|(quantity, _)| quantity.as_str()).collect();
    assert_eq!(names, ["bytes_per_connection", "bytes_per_used_connection"]);
}

#[test]
fn a_group_send_has_a_figure_for_its_last_member() {
    let figures = figures_of_raw("group", "20");
    let of = |wanted: &str| figures.iter().find(|(quantity, _)| quantity == wanted).map(|f| f.1);
    let (half, most) = (of("last_member_p50_ms"), of("last_member_max_ms"));
    assert!(half > Some(0.0) && most >= half, "{half:?} {most:?}");
}

#[test]
fn the_raw_server_has_no_local_functions() {
    let output = load_tests(&["function", "--servers", "raw"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("the raw server has no local functions"), "{errors}");
}

/// What a stand-in for the gateway does with a message of at most 125 bytes.
type Reply = fn(&mut Vec<u8>);

/// Upgrades each caller and answers its messages, changed by `reply`.
fn stand_in(reply: Reply) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || converse(stream, reply));
        }
    });
    address
}

/// Ends, by an error, when the caller has gone.
fn converse(mut stream: TcpStream, reply: Reply) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    // RFC 6455, 1.3: the answer to the sample key.
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )?;
    loop {
        let mut header = [0; 2 + 4];
        stream.read_exact(&mut header)?;
        let [0x81, length @ 0x80..=0xfd, mask @ ..] = header else {
            panic!("one masked text frame with its length in one byte, not {header:?}")
        };
        let mut payload = vec![0; usize::from(length & 0x7f)];
        stream.read_exact(&mut payload)?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        reply(&mut payload);
        stream.write_all(&[&[0x81, payload.len() as u8], &payload[..]].concat())?;
    }
}

/// A program that says where `address` listens, and ends with `exit_code` on SIGTERM.
fn stand_in_binary(folder: &Path, address: &str, exit_code: u8) -> String {
    let path = folder.join("tidegate");
    let line =
        |message: &str| format!(r#"{{"fields":{{"message":"{message}","address":"{address}"}}}}"#);
    let script = format!(
        "#!/bin/sh\ntrap 'exit {exit_code}' TERM\necho '{}' >&2\necho '{}' >&2\n\
         while :; do sleep 0.1; done\n",
        line("admin listening"),
        line("listening"),
    );
    fs::write(&path, script).expect("write the script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it a program");
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// One run of `echo` against a stand-in; the exit code and the error text.
fn echo_against(reply: Reply, exit_code: u8) -> (Option<i32>, String) {
    run_against("echo", reply, exit_code)
}

fn run_against(scenario: &str, reply: Reply, exit_code: u8) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("folder");
    let binary = stand_in_binary(folder.path(), &stand_in(reply), exit_code);
    let sizes = [scenario, "--connections", "3", "--seconds", "1", "--servers", "gateway"];
    let output = load_tests(&[&sizes[..], &["--gateway", &binary]].concat());
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_gateway_that_echoes_and_ends_with_zero_passes() {
    assert_eq!(echo_against(|_| {}, 0), (Some(0), String::new()));
}

#[test]
fn one_altered_byte_of_a_reply_fails_the_run() {
    let (code, errors) = echo_against(|payload| payload[30] ^= 1, 0);
    assert_eq!(code, Some(1));
    assert!(errors.contains("a reply is not the message that was sent"), "{errors}");
}

#[test]
fn a_worker_that_got_another_number_of_events_than_there_were_replies_fails_the_run() {
    let (code, errors) = run_against(
        "function",
        |payload| {
            if payload.starts_with(br#"{"action":"times""#) {
                *payload = br#"{"events":1,"p50_ns":1000}"#.to_vec();
            }
        },
        0,
    );
    assert_eq!(code, Some(1));
    assert!(errors.contains("events that the worker got: 1, where"), "{errors}");
}

#[test]
fn a_member_that_is_not_told_that_it_joined_fails_the_run() {
    let (code, errors) = run_against("group", |payload| *payload = b"no".to_vec(), 0);
    assert_eq!(code, Some(1));
    assert!(errors.contains("a message that nobody asked for: no"), "{errors}");
}

#[test]
fn a_gateway_that_ends_with_another_code_fails_the_run() {
    let (code, errors) = echo_against(|_| {}, 3);
    assert_eq!(code, Some(1));
    assert!(errors.contains("the gateway ended with exit status: 3"), "{errors}");
}

#[test]
fn a_missing_gateway_fails_the_run_and_says_how_to_build_it() {
    let output = load_tests(&["echo", "--gateway", "/nowhere/tidegate"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cargo build --release"));
}
