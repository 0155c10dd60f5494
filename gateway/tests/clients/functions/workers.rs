//! How workers are run: their credentials, how many there are, when they end and start again
//! (tidegate, section 4).

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tidegate_testkit::{
    Client, DEADLINE, HttpResponse, Signer, TestGateway, http_call, wait_until,
};

use super::{Code, FUNCTION, Folders, Served, ask, assert_error_frame, python, send};

const WORKER: Code = Code::Python("worker");

/// What a worker says about itself.
async fn tell(client: &mut Client) -> Value {
    ask(client, json!({ "do": "tell" })).await
}

/// The key that a worker has told of.
fn signer(told: &Value) -> Signer {
    let text = |name: &str| told[name].as_str().expect("a variable of the worker's");
    let signer = Signer::new(text("AWS_ACCESS_KEY_ID"), text("AWS_SECRET_ACCESS_KEY"));
    Signer { session_token: Some(text("AWS_SESSION_TOKEN").to_owned()), ..signer }
}

/// A post to a connection, signed if there is somebody to sign.
async fn post(gateway: &TestGateway, id: &str, signer: Option<&Signer>) -> HttpResponse {
    let target = format!("/prod/@connections/{}", id.replace('=', "%3D"));
    let host = gateway.address().to_string();
    let mut headers = vec![("Host".to_owned(), host.clone())];
    if let Some(signer) = signer {
        let now = SystemTime::now();
        headers.extend(signer.sign("POST", &target, &[("Host", &host)], b"posted", now));
    }
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    http_call(&gateway.http_url(), "POST", &target, &headers, b"posted").await
}

#[tokio::test]
async fn the_workers_key_opens_the_management_api_and_nothing_like_it_does() {
    let served = Served::start(WORKER, &[]).await;
    let mut client = served.connect().await;
    let told = tell(&mut client).await;
    let id = told["connectionId"].as_str().expect("an id").to_owned();
    let right = signer(&told);
    let answer = post(&served.gateway, &id, Some(&right)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(client.next_text().await, "posted");

    let other = |text: &str| text.chars().rev().collect::<String>();
    let token = right.session_token.as_deref().expect("a token");
    let secret = &right.secret_access_key;
    for (what, wrong) in [
        ("no signature", None),
        (
            "another key",
            Some(Signer { access_key_id: other(&right.access_key_id), ..right.clone() }),
        ),
        ("another secret", Some(Signer { secret_access_key: other(secret), ..right.clone() })),
        ("another token", Some(Signer { session_token: Some(other(token)), ..right.clone() })),
        ("an empty token", Some(Signer { session_token: Some(String::new()), ..right.clone() })),
        ("no token", Some(Signer { session_token: None, ..right.clone() })),
        ("another service", Some(Signer { service: "lambda".to_owned(), ..right.clone() })),
    ] {
        let answer = post(&served.gateway, &id, wrong.as_ref()).await;
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
    }
    assert_eq!(tell(&mut client).await["pid"], told["pid"], "nothing was posted in between");
}

#[tokio::test]
async fn each_start_of_the_gateway_makes_a_new_key() {
    let (first, second) = (Served::start(WORKER, &[]).await, Served::start(WORKER, &[]).await);
    let told = tell(&mut first.connect().await).await;
    let mut client = second.connect().await;
    let new = tell(&mut client).await;
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        assert_ne!(told[name], new[name], "{name}");
    }
    let id = new["connectionId"].as_str().expect("an id");
    assert_eq!(post(&second.gateway, id, Some(&signer(&told))).await.status, 403);
    assert_eq!(post(&second.gateway, id, Some(&signer(&new))).await.status, 200);
}

/// The journal of `work` in `handlers/python/worker.py`, once it is as long as this.
async fn journal(folders: &Folders, wanted: &str) {
    let read = || fs::read_to_string(folders.code("journal")).unwrap_or_default();
    let what = format!("the journal is {wanted:?}");
    wait_until(DEADLINE, &what, async || read().len() >= wanted.len()).await;
    assert_eq!(read(), wanted);
}

#[tokio::test]
async fn two_workers_take_two_messages_at_once() {
    let served = Served::start(WORKER, &[("max_workers", "2")]).await;
    let mut client = served.connect().await;
    send(&mut client, json!({ "do": "work" })).await;
    send(&mut client, json!({ "do": "work" })).await;
    journal(&served.folders, "begin\nbegin\n").await;
    fs::write(served.folders.code("go"), "").expect("a file");
    for _ in 0..2 {
        assert_eq!(client.next_json().await, "done");
    }
}

#[tokio::test]
async fn one_worker_takes_two_messages_one_after_the_other() {
    let served = Served::start(WORKER, &[("max_workers", "1")]).await;
    let mut client = served.connect().await;
    send(&mut client, json!({ "do": "work" })).await;
    send(&mut client, json!({ "do": "work" })).await;
    journal(&served.folders, "begin\n").await;
    client.expect_silence(Duration::from_millis(300)).await;
    journal(&served.folders, "begin\n").await;
    fs::write(served.folders.code("go"), "").expect("a file");
    for _ in 0..2 {
        assert_eq!(client.next_json().await, "done");
    }
    journal(&served.folders, "begin\nend\nbegin\nend\n").await;
}

/// The integration's timeout is the client's, not the function's: who waits longer is told so,
/// and the worker goes on.
#[tokio::test]
async fn an_integration_that_waits_no_longer_answers_so_and_the_next_message_works() {
    let keys = [("min_workers", "2"), ("max_workers", "2")];
    let served =
        Served::start_with(WORKER, &keys, |toml| toml.integration(FUNCTION, "timeout_ms", "4000"))
            .await;
    let mut client = served.connect().await;
    let told = tell(&mut client).await;
    let id = told["connectionId"].as_str().expect("an id");
    send(&mut client, json!({ "do": "hang" })).await;
    assert_error_frame(&client.next_text().await, "Endpoint request timed out", id);
    tell(&mut client).await;
    served.crashes(0).await;
}

#[tokio::test]
async fn min_workers_run_before_anybody_asks() {
    let served = Served::start(WORKER, &[("min_workers", "2"), ("max_workers", "3")]).await;
    let workers = async || {
        let labels = [("function", FUNCTION)];
        served.gateway.metric("tidegate_function_workers", &labels).await
    };
    wait_until(DEADLINE, "two workers", async || workers().await == 2.0).await;
}

/// A handler that answers this text, as the only file of a function.
fn page(folders: &Folders, answer: &str) {
    let handler = "def handler(event, context):\n    return";
    let text = format!("{handler} {{'statusCode': 200, 'body': '{answer}'}}\n");
    fs::write(folders.code("page.py"), text).expect("a handler's file");
}

/// Asks until the answer has this in it. What a restart may fail on the way does not count.
async fn until_it_says(client: &mut Client, wanted: &str) {
    let end = std::time::Instant::now() + DEADLINE;
    loop {
        send(client, json!({})).await;
        let said = client.next_text().await;
        if said.contains(wanted) {
            return;
        }
        assert!(std::time::Instant::now() < end, "not within {DEADLINE:?}: {wanted}, but {said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn watched_workers_start_again_when_a_file_changes_also_after_one_that_does_not_start() {
    let folders = Folders::new();
    page(&folders, "one");
    let served = Served::run(folders, &python("page"), &[("watch", "true")], |toml| toml).await;
    let mut client = served.connect().await;
    until_it_says(&mut client, "one").await;
    page(&served.folders, "three");
    until_it_says(&mut client, "three").await;
    fs::write(served.folders.code("page.py"), "def handler(").expect("a handler's file");
    until_it_says(&mut client, "Internal server error").await;
    page(&served.folders, "fifteen");
    until_it_says(&mut client, "fifteen").await;
}

#[tokio::test]
async fn workers_that_are_not_watched_stay_when_a_file_changes() {
    let folders = Folders::new();
    page(&folders, "one");
    // One worker: a second would be started with the new file.
    let served = Served::run(folders, &python("page"), &[("max_workers", "1")], |toml| toml).await;
    let mut client = served.connect().await;
    until_it_says(&mut client, "one").await;
    page(&served.folders, "three");
    // Twice as long as a watched folder is left alone.
    tokio::time::sleep(Duration::from_secs(2)).await;
    until_it_says(&mut client, "one").await;
}

/// The process whose id a worker told; one that is only waited for is gone too.
fn runs(told: &Value) -> bool {
    let status = Path::new("/proc").join(told["pid"].to_string()).join("stat");
    let state = |text: String| text.rsplit(')').next().map(|rest| rest.trim_start().to_owned());
    fs::read_to_string(status).ok().and_then(state).is_some_and(|state| !state.starts_with('Z'))
}

#[tokio::test]
async fn a_gateway_that_is_told_to_end_leaves_no_worker() {
    let served = Served::start(WORKER, &[]).await;
    let mut client = served.connect().await;
    let told = tell(&mut client).await;
    assert!(runs(&told));
    client.close(1000, "").await;
    let ended = served.gateway.terminate(DEADLINE).await;
    assert!(ended.status.success(), "{:?}\n{}", ended.status, ended.stderr);
    assert!(!runs(&told));
    let left = fs::read_dir(served.folders.home.path()).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["tidegate"], "nothing but its state is kept");
}

#[tokio::test]
async fn a_gateway_that_is_killed_leaves_no_worker() {
    let served = Served::start(WORKER, &[("max_workers", "1")]).await;
    let mut client = served.connect().await;
    let told = tell(&mut client).await;
    // An idle one would see by itself that its Runtime API is gone; this one is at work.
    send(&mut client, json!({ "do": "work" })).await;
    journal(&served.folders, "begin\n").await;
    served.gateway.kill().await;
    wait_until(DEADLINE, "the worker is gone", async || !runs(&told)).await;
}
