//! Local functions with real processes: workers that speak the Runtime API, and misbehave in every
//! way that a handler can (clients, 7; websocket-api, 3.2 and 4.5).
//!
//! The worker is a page of Python without any library, so that what is tested is this side; the
//! official runtime clients have tests of their own.

// The helpers of a test are test code too, which the lint cannot tell here.
#![allow(clippy::unwrap_used)]

#[path = "local_functions/captured_log.rs"]
mod captured_log;
#[path = "local_functions/tls_gateway.rs"]
mod tls_gateway;

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_integrations::{
    FunctionCounts, FunctionFailure, FunctionLimits, IntegrationError, LocalFunctions,
    WorkerSurroundings,
};
use tidegate_model::{AwsCredentials, LocalFunction, Secret};
use tokio::time::{sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(20);
const WORKER: &str = include_str!("local_functions/worker.py");

/// The code of functions, in a folder of its own.
struct Code {
    folder: TempDir,
}

impl Code {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("worker.py"), WORKER).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A function whose workers start as `how` says, with one worker at most.
    fn function(&self, name: &str, how: &str) -> LocalFunction {
        LocalFunction {
            name: name.to_owned(),
            command: ["python3", "-u", "worker.py", how].map(str::to_owned).to_vec(),
            directory: self.folder.path().to_owned(),
            environment: BTreeMap::new(),
            timeout: Duration::from_secs(10),
            memory_mb: 128,
            min_workers: 0,
            max_workers: 1,
            idle_worker: Duration::from_secs(60),
            watch: false,
        }
    }
}

fn surroundings() -> WorkerSurroundings {
    WorkerSurroundings {
        region: "eu-west-1".to_owned(),
        account_id: "123456789012".to_owned(),
        credentials: AwsCredentials {
            access_key_id: "ASIAWORKER".to_owned(),
            secret_access_key: Secret::new("secret".to_owned()),
            session_token: Some(Secret::new("token".to_owned())),
        },
        ca_bundle: None,
        gateway_port: None,
        variables: BTreeMap::new(),
    }
}

fn limits() -> FunctionLimits {
    FunctionLimits {
        end: Duration::from_millis(300),
        first_backoff: Duration::from_millis(20),
        max_backoff: Duration::from_millis(200),
        watch_interval: Duration::from_millis(50),
        ..FunctionLimits::default()
    }
}

fn start(functions: &[LocalFunction]) -> Arc<LocalFunctions> {
    LocalFunctions::start(functions, surroundings(), limits()).unwrap()
}

/// Invokes with `event` and waits as long as a test may.
async fn call(
    functions: &LocalFunctions,
    name: &str,
    event: Value,
) -> Result<Bytes, IntegrationError> {
    functions.invoke(name, event.to_string().into(), None, DEADLINE).await
}

/// What a function said that does its work.
async fn ask(functions: &LocalFunctions, name: &str, event: Value) -> Value {
    let result = call(functions, name, event).await.unwrap();
    serde_json::from_slice(&result).unwrap()
}

/// What a function failed with: its type and its message.
async fn fail(functions: &LocalFunctions, name: &str, event: Value) -> (String, String) {
    let outcome = call(functions, name, event).await;
    let Err(IntegrationError::FunctionFailed(failure)) = outcome else {
        panic!("expected a failure of the function, got {outcome:?}")
    };
    let again = FunctionFailure::from_payload(failure.payload.clone());
    assert_eq!(again, failure, "the payload says the same");
    (failure.error_type.unwrap(), failure.error_message.unwrap())
}

async fn pid(functions: &LocalFunctions, name: &str) -> u64 {
    ask(functions, name, json!({ "do": "pid" })).await.as_u64().unwrap()
}

fn counts(functions: &LocalFunctions, name: &str) -> FunctionCounts {
    functions.counts().into_iter().find(|counts| counts.function == name).unwrap()
}

/// A zombie is gone too: its parent just has not asked yet.
fn runs(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

/// Waits until `is_so`, within the deadline.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("within the deadline")
}

#[tokio::test]
async fn an_event_reaches_the_handler_unchanged_with_lambdas_headers_and_its_result_comes_back() {
    let code = Code::new();
    let functions = start(&[code.function("echo", "serve")]);
    let text = "{ \"do\" : \"echo\",\"text\":\"gr\u{fc}n \\u0041\" }";
    let trace = "Root=1-65d2ff2e-0123456789abcdef01234567";
    let traced =
        |event: String| functions.invoke("echo", event.into(), Some(trace.to_owned()), DEADLINE);
    let echoed = traced(text.to_owned()).await.unwrap();
    assert_eq!(echoed, text, "byte for byte");

    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let (before, event) = (now(), json!({ "do": "headers" }).to_string());
    let headers = traced(event).await.unwrap();
    let headers: BTreeMap<String, String> = serde_json::from_slice(&headers).unwrap();
    assert_eq!(headers["lambda-runtime-trace-id"], trace);
    assert_eq!(
        headers["lambda-runtime-invoked-function-arn"],
        "arn:aws:lambda:eu-west-1:123456789012:function:echo"
    );
    let deadline: u128 = headers["lambda-runtime-deadline-ms"].parse().unwrap();
    assert!((before + 10_000..=now() + 10_000).contains(&deadline));
    assert_eq!(headers["lambda-runtime-aws-request-id"].len(), 36);
    functions.stop().await;
}

#[tokio::test]
async fn a_worker_gets_its_variables_and_none_of_the_gateways() {
    let code = Code::new();
    let mut function = code.function("variables", "serve");
    function.environment.insert("TABLE".to_owned(), Secret::new("rooms".to_owned()));
    let functions = start(&[function]);
    let found = ask(&functions, "variables", json!({ "do": "variables" })).await;
    assert_eq!(found["TABLE"], "rooms");
    assert_eq!(found["_HANDLER"], "serve");
    assert_eq!(found["AWS_SESSION_TOKEN"], "token");
    assert_eq!(found["HOME"], std::env::var("HOME").unwrap());
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok());
    assert!(found.get("CARGO_MANIFEST_DIR").is_none());
    functions.stop().await;
}

#[tokio::test]
async fn a_handler_that_throws_fails_its_invocation_and_the_next_one_works() {
    let code = Code::new();
    let functions = start(&[code.function("throws", "serve")]);
    let first = pid(&functions, "throws").await;
    let why = fail(&functions, "throws", json!({ "do": "throw" })).await;
    assert_eq!(why, ("ValueError".to_owned(), "Unauthorized".to_owned()));
    assert_eq!(pid(&functions, "throws").await, first, "it goes on");
    functions.stop().await;
}

#[tokio::test]
async fn a_handler_that_hangs_is_killed_at_its_timeout_and_the_next_one_works() {
    let code = Code::new();
    let timeout = Duration::from_millis(1250);
    let functions = start(&[LocalFunction { timeout, ..code.function("hangs", "serve") }]);
    let first = pid(&functions, "hangs").await;
    let began = Instant::now();
    let (class, message) = fail(&functions, "hangs", json!({ "do": "hang" })).await;
    assert!(began.elapsed() >= timeout);
    assert_eq!(class, "Sandbox.Timedout");
    assert!(message.ends_with(" Task timed out after 1.25 seconds"), "{message}");
    let second = pid(&functions, "hangs").await;
    assert_ne!(second, first);
    assert!(!runs(first), "the worker that hung is gone");
    functions.stop().await;
}

#[tokio::test]
async fn a_handler_that_exits_fails_its_invocation_and_the_next_one_works() {
    let code = Code::new();
    let functions = start(&[code.function("exits", "serve")]);
    for (how, said) in [
        (json!({ "do": "exit", "code": 3 }), "Runtime exited with error: exit status 3"),
        (json!({ "do": "exit", "code": 0 }), "Runtime exited without providing a reason"),
        (json!({ "do": "abort" }), "Runtime exited with error: signal: aborted"),
    ] {
        let (class, message) = fail(&functions, "exits", how).await;
        assert_eq!(class, "Runtime.ExitError");
        assert!(message.starts_with("RequestId: ") && message.ends_with(said), "{message}");
        pid(&functions, "exits").await;
    }
    assert_eq!(counts(&functions, "exits").crashes, 3);
    functions.stop().await;
}

#[tokio::test]
async fn a_handler_that_prints_a_megabyte_is_not_held_up_and_its_lines_reach_the_log() {
    let log = captured_log::start();
    let code = Code::new();
    let functions = start(&[code.function("prints", "serve")]);
    assert_eq!(ask(&functions, "prints", json!({ "do": "print", "lines": 16_384 })).await, "done");
    assert_eq!(ask(&functions, "prints", json!({ "do": "print", "long": 1 << 20 })).await, "done");
    assert_eq!(ask(&functions, "prints", json!({ "do": "complain" })).await, "done");
    functions.stop().await;
    let lines = log.of("prints");
    assert!(lines.iter().all(|line| line.worker == "1"));
    let numbered = lines.iter().filter(|line| line.text.starts_with("line ")).count();
    assert_eq!(numbered, 16_384);
    let long = lines.iter().find(|line| line.text.starts_with("xxx")).unwrap();
    assert_eq!(long.text.len(), 64 * 1024, "a long line is cut");
    let said = |text: &str| lines.iter().find(|line| line.text == text).unwrap().level;
    assert_eq!(said(&format!("{:63}", "line 16383")), "INFO");
    assert_eq!(said("trouble \\u{1b}[31m"), "WARN");
}

#[tokio::test]
async fn what_is_no_result_comes_back_as_it_is_and_what_is_no_http_harms_nobody() {
    let code = Code::new();
    let functions = start(&[code.function("nonsense", "serve")]);
    let result = call(&functions, "nonsense", json!({ "do": "nonsense" })).await.unwrap();
    assert_eq!(result, &b"\xffnonsense"[..], "what to make of it is not decided here");
    assert_eq!(ask(&functions, "nonsense", json!({ "do": "no-http" })).await, "done");
    pid(&functions, "nonsense").await;
    functions.stop().await;
}

/// As Lambda: 400 for an id that is none, 403 for what is not the worker's turn.
#[tokio::test]
async fn a_stale_or_foreign_request_id_is_refused() {
    let code = Code::new();
    let functions = start(&[code.function("stale", "serve")]);
    assert_eq!(ask(&functions, "stale", json!({ "do": "foreign" })).await, 400);
    assert_eq!(ask(&functions, "stale", json!({ "do": "next" })).await, 403);
    assert_eq!(ask(&functions, "stale", json!({ "do": "unknown-call" })).await, 404);
    assert_eq!(ask(&functions, "stale", json!({ "do": "twice" })).await, "first");
    assert_eq!(ask(&functions, "stale", json!({ "do": "last-status" })).await, 403);
    functions.stop().await;
}

#[tokio::test]
async fn a_streamed_result_is_taken_whole_and_a_broken_stream_is_a_failure() {
    let code = Code::new();
    let functions = start(&[code.function("streams", "serve")]);
    let whole = call(&functions, "streams", json!({ "do": "stream" })).await.unwrap();
    assert_eq!(whole, "one two three");
    let (class, _) = fail(&functions, "streams", json!({ "do": "break-stream" })).await;
    assert_eq!(class, "Function.Broke");
    functions.stop().await;
}

#[tokio::test]
async fn a_result_over_the_limit_is_a_failure_and_one_at_it_is_not() {
    let code = Code::new();
    let small = FunctionLimits { max_result_bytes: 1 << 20, ..limits() };
    let function = code.function("large", "serve");
    let functions = LocalFunctions::start(&[function], surroundings(), small).unwrap();
    let at_limit = call(&functions, "large", json!({ "do": "large", "size": 1 << 20 })).await;
    assert_eq!(at_limit.unwrap().len(), 1 << 20);
    let over = json!({ "do": "large", "size": (1 << 20) + 1 });
    let (class, message) = fail(&functions, "large", over).await;
    assert_eq!(class, "Function.ResponseSizeTooLarge");
    assert!(message.contains("(1048576 bytes)"), "{message}");
    assert_eq!(ask(&functions, "large", json!({ "do": "last-status" })).await, 413);
    functions.stop().await;
}

#[tokio::test]
async fn a_worker_that_crashes_at_its_start_fails_who_waits_and_is_tried_again() {
    let code = Code::new();
    let functions = start(&[code.function("crashes", "crash")]);
    for _ in 0..3 {
        let (class, message) = fail(&functions, "crashes", json!({})).await;
        assert_eq!(class, "Runtime.ExitError");
        assert!(message.ends_with("Runtime exited with error: exit status 7"), "{message}");
    }
    let FunctionCounts { starts, crashes, .. } = counts(&functions, "crashes");
    assert_eq!((starts, crashes), (3, 3), "nobody waits, nothing is tried");
    functions.stop().await;
}

#[tokio::test]
async fn a_start_that_the_runtime_client_reports_as_failed_is_told_to_who_waits() {
    let code = Code::new();
    let functions = start(&[code.function("unstartable", "init-error")]);
    let why = fail(&functions, "unstartable", json!({})).await;
    assert_eq!(why, ("Runtime.ImportModuleError".to_owned(), "no module named app".to_owned()));
    functions.stop().await;
}

#[tokio::test]
async fn a_command_that_is_missing_is_named_to_who_waits() {
    let code = Code::new();
    let command = vec!["no-such-program".to_owned()];
    let functions = start(&[LocalFunction { command, ..code.function("missing", "serve") }]);
    let (class, message) = fail(&functions, "missing", json!({})).await;
    assert_eq!(class, "Runtime.InvalidEntrypoint");
    assert!(message.contains("`no-such-program` is not on the PATH"), "{message}");
    functions.stop().await;
}

#[tokio::test]
async fn a_worker_that_never_asks_is_killed_and_who_waits_is_told() {
    let code = Code::new();
    let impatient = FunctionLimits { start: Duration::from_millis(500), ..limits() };
    let function = code.function("silent", "silent");
    let functions = LocalFunctions::start(&[function], surroundings(), impatient).unwrap();
    let (class, message) = fail(&functions, "silent", json!({})).await;
    assert_eq!(class, "Sandbox.Timedout");
    assert!(message.ends_with("Init timed out after 0.50 seconds"), "{message}");
    until("no worker", || counts(&functions, "silent").workers == 0).await;
    functions.stop().await;
}

#[tokio::test]
async fn a_slow_start_is_no_part_of_the_functions_timeout() {
    let code = Code::new();
    let timeout = Duration::from_millis(500);
    let functions = start(&[LocalFunction { timeout, ..code.function("slow", "slow") }]);
    let began = Instant::now();
    assert_eq!(ask(&functions, "slow", json!({ "do": "echo" })).await["do"], "echo");
    assert!(began.elapsed() >= Duration::from_secs(1));
    functions.stop().await;
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_break_the_worker() {
    let code = Code::new();
    let functions = start(&[code.function("patient", "serve")]);
    let worker = pid(&functions, "patient").await;
    let nap = || Bytes::from(json!({ "do": "sleep", "s": 0.5 }).to_string());
    let limit = Duration::from_millis(50);
    let outcome = functions.invoke("patient", nap(), None, limit).await;
    assert!(matches!(outcome, Err(IntegrationError::TimedOut(named)) if named == limit));
    // This one waits behind the first, is given up there, and never begins.
    let told = code.path("told");
    let tell = Bytes::from(json!({ "do": "touch", "path": told }).to_string());
    let dropped = timeout(limit, functions.invoke("patient", tell, None, DEADLINE)).await;
    assert!(dropped.is_err());
    assert_eq!(pid(&functions, "patient").await, worker);
    assert!(!told.exists(), "nobody waited for it any more");
    assert_eq!(counts(&functions, "patient").starts, 1);
    functions.stop().await;
}

#[tokio::test]
async fn as_many_invocations_run_at_once_as_there_may_be_workers() {
    let code = Code::new();
    let functions = start(&[LocalFunction { max_workers: 3, ..code.function("many", "serve") }]);
    let meet = json!({ "do": "meet", "folder": code.folder.path(), "people": 3 });
    let one = || ask(&functions, "many", meet.clone());
    let (a, b, c) = within(async { tokio::join!(one(), one(), one()) }).await;
    assert!(a != b && b != c && a != c, "three workers met");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let functions = Arc::clone(&functions);
        calls.spawn(async move { pid(&functions, "many").await });
    }
    for pid in calls.join_all().await {
        assert!([&a, &b, &c].contains(&&json!(pid)), "no fourth worker");
    }
    assert_eq!(counts(&functions, "many").workers, 3);
    functions.stop().await;
}

#[tokio::test]
async fn more_than_may_wait_is_refused_and_who_waits_is_served() {
    let code = Code::new();
    let narrow = FunctionLimits { max_waiting: 2, ..limits() };
    let function = code.function("busy", "serve");
    let functions = LocalFunctions::start(&[function], surroundings(), narrow).unwrap();
    let begun = code.path("begun");
    let first = call(&functions, "busy", json!({ "do": "sleep", "s": 0.5, "path": begun }));
    let one = || call(&functions, "busy", json!({ "do": "pid" }));
    let others = async {
        until("the first", || begun.exists()).await;
        tokio::join!(one(), one(), one(), one())
    };
    let (first, (a, b, c, d)) = within(async { tokio::join!(first, others) }).await;
    let outcomes = [first, a, b, c, d];
    let served = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let refused = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(IntegrationError::Overloaded)))
        .count();
    assert_eq!((served, refused), (3, 2));
    functions.stop().await;
}

#[tokio::test]
async fn workers_with_nothing_to_do_end_but_for_those_that_are_kept() {
    let code = Code::new();
    let idle_worker = Duration::from_millis(200);
    let kept = LocalFunction { min_workers: 1, idle_worker, ..code.function("kept", "serve") };
    let gone = LocalFunction { idle_worker, ..code.function("gone", "serve") };
    let functions = start(&[kept, gone]);
    let (kept, gone) = (pid(&functions, "kept").await, pid(&functions, "gone").await);
    until("the idle worker is gone", || !runs(gone)).await;
    until("and known to be", || counts(&functions, "gone").workers == 0).await;
    assert_eq!(counts(&functions, "gone").crashes, 0, "it was told to");
    assert!(runs(kept));
    assert_ne!(pid(&functions, "gone").await, gone, "another one starts on demand");
    assert_eq!(pid(&functions, "kept").await, kept);
    functions.stop().await;
}

#[tokio::test]
async fn workers_to_be_kept_run_before_anybody_calls_and_again_after_a_crash() {
    let code = Code::new();
    let kept = LocalFunction { min_workers: 1, ..code.function("warm", "serve") };
    let functions = start(&[kept]);
    until("started", || counts(&functions, "warm").starts == 1).await;
    fail(&functions, "warm", json!({ "do": "exit", "code": 1 })).await;
    until("started again", || counts(&functions, "warm").starts == 2).await;
    functions.stop().await;
}

#[tokio::test]
async fn a_reload_keeps_what_is_unchanged_replaces_what_changed_and_ends_what_is_gone() {
    let code = Code::new();
    let function = |name| code.function(name, "serve");
    let functions = start(&[function("same"), function("changed"), function("removed")]);
    let same = pid(&functions, "same").await;
    let changed = pid(&functions, "changed").await;
    let removed = pid(&functions, "removed").await;
    let nap =
        |name| call(&functions, name, json!({ "do": "sleep", "s": 0.5, "path": code.path(name) }));
    let mut other = function("changed");
    other.environment.insert("TABLE".to_owned(), Secret::new("rooms".to_owned()));
    let reload = async {
        until("both naps", || code.path("changed").exists() && code.path("removed").exists()).await;
        functions.reload(&[function("same"), other, function("added")]).unwrap();
        let found = ask(&functions, "changed", json!({ "do": "variables" })).await;
        assert_eq!(found["TABLE"], "rooms");
        let outcome = call(&functions, "removed", json!({})).await;
        assert!(matches!(outcome, Err(IntegrationError::NotInvokable { .. })), "{outcome:?}");
    };
    let (one, two, ()) = tokio::join!(nap("changed"), nap("removed"), reload);
    assert!(one.is_ok() && two.is_ok(), "what was in flight ends: {one:?} {two:?}");
    until("the old worker is gone", || !runs(changed)).await;
    until("the removed one is gone", || !runs(removed)).await;
    assert_eq!(pid(&functions, "same").await, same);
    pid(&functions, "added").await;
    functions.stop().await;
}

#[tokio::test]
async fn a_reload_may_bring_the_first_function_and_after_the_end_there_are_none() {
    let functions = start(&[]);
    let outcome = call(&functions, "late", json!({})).await;
    assert!(matches!(outcome, Err(IntegrationError::NotInvokable { .. })));
    let code = Code::new();
    functions.reload(&[code.function("late", "serve")]).unwrap();
    pid(&functions, "late").await;
    functions.stop().await;
    functions.reload(&[code.function("late", "serve")]).unwrap();
    let outcome = call(&functions, "late", json!({})).await;
    assert!(outcome.is_err());
}

#[tokio::test]
async fn a_changed_file_restarts_the_workers_after_what_is_in_flight() {
    let code = Code::new();
    let function = LocalFunction { watch: true, ..code.function("watched", "serve") };
    let functions = start(&[function]);
    let first = pid(&functions, "watched").await;
    let begun = tempfile::tempdir().unwrap();
    let begun = begun.path().join("begun");
    let nap = call(&functions, "watched", json!({ "do": "sleep", "s": 1.0, "path": begun }));
    let change = async {
        until("the nap", || begun.exists()).await;
        let text = WORKER.replace("'version': 1", "'version': 2");
        assert_ne!(text, WORKER);
        fs::write(code.path("worker.py"), text).unwrap();
    };
    let (nap, ()) = tokio::join!(nap, change);
    assert!(nap.is_ok(), "it ends: {nap:?}");
    let start = Instant::now();
    while ask(&functions, "watched", json!({ "do": "version" })).await["version"] != 2 {
        assert!(start.elapsed() < DEADLINE, "the new code does not run");
    }
    assert_ne!(pid(&functions, "watched").await, first);
    functions.stop().await;
}

/// Also one that ignores being told, and what a worker has started itself.
#[tokio::test]
async fn after_a_stop_no_process_is_left_and_what_was_in_flight_has_failed() {
    let code = Code::new();
    let functions = start(&[code.function("idle", "serve"), code.function("deaf", "deaf")]);
    let idle = pid(&functions, "idle").await;
    let child = ask(&functions, "idle", json!({ "do": "spawn" })).await.as_u64().unwrap();
    let deaf = pid(&functions, "deaf").await;
    assert!(runs(idle) && runs(child) && runs(deaf));
    let begun = code.path("begun");
    let in_flight = call(&functions, "deaf", json!({ "do": "hang", "path": begun }));
    let stop = async {
        until("the invocation", || begun.exists()).await;
        functions.stop().await;
    };
    let (outcome, ()) = within(async { tokio::join!(in_flight, stop) }).await;
    assert!(matches!(outcome, Err(IntegrationError::FunctionFailed(_))), "{outcome:?}");
    for (what, process) in [("idle", idle), ("deaf", deaf)] {
        assert!(!runs(process), "{what} still runs");
    }
    until("the worker's own child is gone", || !runs(child)).await;
}

const KILLED_GATEWAY: &str = "TIDEGATE_TEST_KILLED_GATEWAY";

/// Not a test by itself: what the next one kills.
#[tokio::test]
#[ignore = "the part of a process that the next test kills"]
async fn part_of_the_gateway_that_is_killed() {
    let Ok(folder) = std::env::var(KILLED_GATEWAY) else { return };
    let code = Code::new();
    let function = LocalFunction { max_workers: 2, ..code.function("orphan", "deaf") };
    let functions = start(&[function]);
    let file = |name| Path::new(&folder).join(name);
    let hang = json!({ "do": "hang", "path": file("hanging") });
    let _ = tokio::join!(call(&functions, "orphan", hang), async {
        until("the first hangs", || file("hanging").exists()).await;
        let idle = pid(&functions, "orphan").await;
        fs::write(file("idle.part"), idle.to_string()).unwrap();
        fs::rename(file("idle.part"), file("idle")).unwrap();
    });
}

/// The hanging handler asks nobody for work, so that only the guardian can end it; and both ignore
/// being told.
#[tokio::test]
async fn a_gateway_that_is_killed_leaves_no_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "part_of_the_gateway_that_is_killed"])
        .env(KILLED_GATEWAY, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut pids = Vec::new();
    for name in ["hanging", "idle"] {
        let file = folder.path().join(name);
        until("the worker is at it", || file.exists()).await;
        pids.push(fs::read_to_string(file).unwrap().parse().unwrap());
    }
    assert!(pids.iter().all(|pid| runs(*pid)));
    gateway.kill().await.unwrap();
    until("the workers are gone", || !pids.iter().any(|pid| runs(*pid))).await;
}

/// Both forms of the endpoint that public handlers build in code (clients, 2). The name is checked
/// against the certificate, so what was changed is where the socket leads to, and nothing else.
#[tokio::test]
async fn amazons_name_of_the_api_leads_to_the_gateway_in_python_and_node_and_no_other_name_does() {
    let gateway = tls_gateway::start("*.execute-api.eu-west-1.amazonaws.com").await;
    let code = Code::new();
    fs::write(code.path("worker.mjs"), include_str!("local_functions/worker.mjs")).unwrap();
    fs::create_dir(code.path("lib")).unwrap();
    let own = "import os; os.environ['OWN_SITECUSTOMIZE'] = 'ran'";
    fs::write(code.path("lib/sitecustomize.py"), own).unwrap();
    let mut python = code.function("python", "serve");
    python.environment.insert("PYTHONPATH".to_owned(), Secret::new("lib".to_owned()));
    let command = [tls_gateway::node(), "worker.mjs".to_owned()].to_vec();
    let node = LocalFunction { command, ..code.function("node", "") };
    let around = WorkerSurroundings {
        ca_bundle: Some(gateway.authority.clone()),
        gateway_port: Some(gateway.port),
        ..surroundings()
    };
    let functions = LocalFunctions::start(&[python, node], around, limits()).unwrap();

    let name = "abc123.execute-api.eu-west-1.amazonaws.com";
    let url = format!("https://{name}/prod/@connections/x");
    let fetch = |url: &str| json!({ "do": "fetch", "url": url });
    assert_eq!(ask(&functions, "python", fetch(&url)).await, name);
    let found = ask(&functions, "python", json!({ "do": "variables" })).await;
    assert_eq!(found["OWN_SITECUSTOMIZE"], "ran", "the function's own is not hidden");
    // https as a CommonJS and as an ES module imports it, fetch, http2.
    assert_eq!(ask(&functions, "node", fetch(&url)).await, json!([name, name, name, name]));

    let before = gateway.accepted();
    for url in ["https://localhost:1/", "https://execute-api.eu-west-1.amazonaws.com.invalid/"] {
        fail(&functions, "python", fetch(url)).await;
        fail(&functions, "node", fetch(url)).await;
    }
    assert_eq!(gateway.accepted(), before);
    functions.stop().await;
}

/// Prints how long an echo takes, and what of it is the worker's own time between getting the event
/// and having posted its answer.
#[tokio::test]
#[ignore = "a measurement, to be read"]
async fn time_of_an_echo() {
    let code = Code::new();
    let functions = start(&[code.function("timed", "timed")]);
    let event = || Bytes::from_static(b"{\"do\":\"echo\"}");
    for _ in 0..200 {
        functions.invoke("timed", event(), None, DEADLINE).await.unwrap();
    }
    let mut times = Vec::new();
    for _ in 0..2000 {
        let began = Instant::now();
        functions.invoke("timed", event(), None, DEADLINE).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let own = call(&functions, "timed", json!({ "do": "times" })).await.unwrap();
    println!("echo p50 {:?} p99 {:?}", times[1000], times[1980]);
    println!("worker's own, s: {}", String::from_utf8_lossy(&own));
    functions.stop().await;
}
