//! The worker of the `function` scenario, against a Runtime API that this test plays.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);

struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // After its own end both only report that.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Worker {
    fn start() -> (Self, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address").to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_load-tests"));
        command.arg("worker").env("AWS_LAMBDA_RUNTIME_API", address).stderr(Stdio::piped());
        let worker = Self(command.spawn().expect("it starts"));
        let (stream, _) = listener.accept().expect("it connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
        (worker, stream)
    }

    fn ends(&mut self) -> (ExitStatus, String) {
        let until = Instant::now() + DEADLINE;
        let status = loop {
            match self.0.try_wait().expect("its status") {
                Some(status) => break status,
                None if Instant::now() > until => panic!("it still runs"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut errors = String::new();
        let stderr = self.0.stderr.as_mut().expect("a pipe");
        stderr.read_to_string(&mut errors).expect("its errors");
        (status, errors)
    }
}

/// One request: its first line and its body.
fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    stream.read_exact(&mut body).expect("its body");
    (head.lines().next().expect("a first line").to_owned(), body)
}

/// Gives the worker one event in pieces of `piece` bytes, and takes its result.
fn invoke(stream: &mut TcpStream, id: &str, event: &Value, piece: usize) -> Value {
    let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";
    assert_eq!(request(stream), (next.to_owned(), Vec::new()));
    let event = event.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: {id}\r\ncontent-length: {}\r\n\r\n{event}",
        event.len()
    );
    for piece in answer.as_bytes().chunks(piece) {
        stream.write_all(piece).expect("send");
    }
    let (line, result) = request(stream);
    assert_eq!(line, format!("POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1"));
    stream
        .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 15\r\n\r\n{\"status\":\"OK\"}")
        .expect("send");
    serde_json::from_slice(&result).expect("json")
}

#[test]
fn a_worker_echoes_each_message_and_counts_it() {
    let (mut worker, mut stream) = Worker::start();
    let message = r#"{"action":"local","text":"\u00fc \\"}"#;
    let echo = json!({"requestContext": {"routeKey": "local"}, "body": message});
    // The last one is longer than its first buffer.
    let long = "x".repeat(100_000);
    let long_echo = json!({"requestContext": {"routeKey": "local"}, "body": &long});
    for (id, event, piece, body) in [
        ("a-1", &echo, usize::MAX, message),
        ("a-2", &echo, 10, message),
        ("a-3", &long_echo, 9_999, &long),
    ] {
        let result = invoke(&mut stream, id, event, piece);
        assert_eq!(result, json!({"statusCode": 200, "body": body}), "{id}");
    }
    let times = json!({"requestContext": {"routeKey": "times"}, "body": "{}"});
    for _ in 0..2 {
        let result = invoke(&mut stream, "t", &times, usize::MAX);
        let times: Value =
            serde_json::from_str(result["body"].as_str().expect("text")).expect("json");
        assert_eq!(times["events"], 3, "those that ask for times do not count");
        assert!(times["p50_ns"].as_u64() > Some(0), "{times}");
    }
    // Its question for the next event, unread, would make of the end a reset.
    request(&mut stream);
    drop(stream);
    assert_eq!(worker.ends().0.code(), Some(0), "the gateway has ended");
}

#[test]
fn a_worker_ends_with_1_when_it_is_refused() {
    let (mut worker, mut stream) = Worker::start();
    request(&mut stream);
    stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").expect("send");
    let (status, errors) = worker.ends();
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("HTTP/1.1 403 Forbidden"), "{errors}");
}
