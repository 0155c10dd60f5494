//! Calls that come twice: `amz-sdk-invocation-id`, which SDKs repeat on every retry, and
//! `Idempotency-Key` (tidegate, section 6).
//!
//! In:  the same call again, with another target, another name, or while the first is under way.
//! Out: what each client got, and what each call was answered.
//!
//! Holds always: whatever a repeated call is answered, the clients are asked how often it was done.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidegate_testkit::{
    FunctionBackend, GatewayToml, HttpClient, HttpResponse, RawClient, Signer, http_call,
};

use crate::{
    connection_id,
    groups::{
        NOBODY, Rooms, assert_bad_request, assert_done, assert_gone, json_of, sent_to,
        with_neighbours,
    },
    start, watched_by,
};

const SDK: &str = "amz-sdk-invocation-id";
const KEY: &str = "Idempotency-Key";

async fn named(
    rooms: &Rooms,
    target: &str,
    (header, name): (&str, &str),
    body: &[u8],
) -> HttpResponse {
    rooms.call_with("POST", target, &[(header, name)], body).await
}

/// As boto3 does: the same id, `amz-sdk-request` counting the attempts.
#[tokio::test]
async fn a_retry_of_an_sdk_is_answered_as_before_and_sent_once() {
    let rooms = Rooms::start().await;
    let mut member = rooms.member("").await;
    let target = format!("/prod/@connections/{}", member.id);
    for id in ["5f2b8c66-5e6d-4d3e-9a55-0a4f6f0d6f0a", "86ad0cd3-2a8a-4a9b-8b1b-1f1f7f6e5d4c"] {
        for attempt in 1..=3 {
            let attempt = format!("attempt={attempt}; max=5");
            let headers = [(SDK, id), ("amz-sdk-request", attempt.as_str())];
            let response = rooms.call_with("POST", &target, &headers, id.as_bytes()).await;
            assert_eq!((response.status, response.text()), (200, ""), "{response:?}");
        }
        assert_eq!(member.client.next_text().await, id);
        member.got_nothing().await;
    }
    let calls = [("operation", "post"), ("status", "200")];
    let name = "tidegate_management_requests_total";
    assert_eq!(rooms.gateway.metric(name, &calls).await, 6.0, "calls are calls");
    let sent = [("route", "@connections"), ("direction", "out")];
    assert_eq!(rooms.gateway.metric("tidegate_messages_total", &sent).await, 2.0);
}

/// Whoever gives a call of an SDK a key of its own, and makes it again itself, has a new id from the SDK
/// each time: the key names it, with any id or none.
#[tokio::test]
async fn a_key_of_the_callers_own_names_the_call_whatever_the_sdk_says() {
    let rooms = Rooms::start().await;
    let mut member = rooms.member("").await;
    let target = format!("/prod/@connections/{}", member.id);
    for headers in [
        &[(SDK, "first"), (KEY, "once")][..],
        &[(SDK, "second"), (KEY, "once")],
        &[(KEY, "once"), (SDK, "third")],
        &[(KEY, "once")],
    ] {
        let response = rooms.call_with("POST", &target, headers, b"x").await;
        assert_eq!(response.status, 200, "{headers:?}: {response:?}");
    }
    assert_eq!(member.client.next_text().await, "x");
    member.got_nothing().await;
    // Another key is another call, also of the same attempt of an SDK, and so is that without a key.
    for headers in [&[(SDK, "first"), (KEY, "twice")][..], &[(SDK, "first")]] {
        for _ in 0..2 {
            let response = rooms.call_with("POST", &target, headers, b"x").await;
            assert_eq!(response.status, 200, "{headers:?}: {response:?}");
        }
        assert_eq!(member.client.next_text().await, "x", "{headers:?}");
        member.got_nothing().await;
    }
    // A bad key is not passed over.
    let refused = rooms.call_with("POST", &target, &[(SDK, "good"), (KEY, "")], b"x").await;
    assert_bad_request(&refused);
    member.got_nothing().await;
}

/// For every call that sends: what was answered is answered, whoever has come and gone since.
#[tokio::test]
async fn a_repeated_send_is_answered_with_the_counts_of_the_first() {
    let who = FunctionBackend::start(|_| crate::authorizers::allow()).await;
    let rooms = Rooms::start_with(|toml| crate::authorizers::guarded_by(toml, &who.url())).await;
    let mut first = rooms.member("join=red").await;
    let listed = json!({ "connectionIds": [first.id, NOBODY], "data": "x" }).to_string();
    let cases: [(&str, &[u8], Value); 4] = [
        ("/prod/@groups/red", b"x", sent_to(1)),
        ("/prod/@users/u1", b"x", sent_to(1)),
        ("/prod/@broadcast", b"x", sent_to(1)),
        ("/prod/@connections", listed.as_bytes(), json!({ "delivered": 1, "gone": [NOBODY] })),
    ];
    for header in [SDK, KEY] {
        for (target, body, answer) in &cases {
            let response = named(&rooms, target, (header, "once"), body).await;
            assert_eq!(&json_of(&response), answer, "{target}");
            assert_eq!(first.client.next_text().await, "x");
        }
    }
    let mut second = rooms.member("join=red").await;
    for header in [SDK, KEY] {
        for (target, body, answer) in &cases {
            let response = named(&rooms, target, (header, "once"), body).await;
            assert_eq!(&json_of(&response), answer, "{target}, again");
            assert_eq!(response.header("content-type"), Some("application/json"));
        }
    }
    first.got_nothing().await;
    second.got_nothing().await;
    assert_eq!(json_of(&named(&rooms, "/prod/@groups/red", (KEY, "2"), b"y").await), sent_to(2));
    for member in [&mut first, &mut second] {
        assert_eq!(member.client.next_text().await, "y");
    }
    // Somebody who has gone stays gone, and who went after a message has got it.
    first.client.close(1000, "").await;
    let post = format!("/prod/@connections/{NOBODY}");
    for _ in 0..2 {
        assert_gone(&named(&rooms, &post, (KEY, "gone"), b"x").await);
    }
    let again = named(&rooms, "/prod/@groups/red", (KEY, "2"), b"y").await;
    assert_eq!(json_of(&again), sent_to(2));
    second.got_nothing().await;
}

/// The same name for another target, or another name, is another call.
#[tokio::test]
async fn what_goes_elsewhere_is_another_call() {
    let rooms = Rooms::start_with(|toml| with_neighbours(toml).api("binary", r#""pass""#)).await;
    let mut member = rooms.member("join=red,blue").await;
    let other = rooms.member("join=red,blue").await;
    let mut blue = rooms.member_at("blue?join=red", "test.localhost").await;
    let post = format!("/prod/@connections/{}", member.id);
    let batch = |ids: &[&str]| json!({ "connectionIds": ids, "data": "x" }).to_string();
    let texts = [
        (SDK, "n", post.clone(), "x".to_owned()),
        (KEY, "n", post.clone(), "x".to_owned()),
        (KEY, "N", post.clone(), "x".to_owned()),
        (KEY, "n", "/prod/@groups/red".to_owned(), "x".to_owned()),
        (KEY, "n", "/prod/@groups/blue".to_owned(), "x".to_owned()),
        (KEY, "n", format!("/prod/@groups/red?except={}", other.id), "x".to_owned()),
        (KEY, "n", format!("/prod/@groups/red?except={NOBODY}"), "x".to_owned()),
        (KEY, "n", "/prod/@broadcast".to_owned(), "x".to_owned()),
        (KEY, "n", "/prod/@connections".to_owned(), batch(&[&member.id])),
        (KEY, "n", "/prod/@connections".to_owned(), batch(&[&member.id, NOBODY])),
    ];
    for (header, name, target, body) in &texts {
        for _ in 0..2 {
            let response = named(&rooms, target, (header, name), body.as_bytes()).await;
            assert_eq!(response.status, 200, "{target}: {response:?}");
        }
        assert_eq!(member.client.next_text().await, "x", "{header}: {name}, {target}");
        member.got_nothing().await;
    }
    let binary = format!("{post}?binary=true");
    assert_eq!(named(&rooms, &binary, (KEY, "n"), b"x").await.status, 200);
    assert_eq!(member.client.next_binary().await, &b"x"[..]);
    // Another spelling is no other target.
    let spelling = post.replace('@', "%40").replace('=', "%3D").replace("/prod", "//prod");
    assert_eq!(named(&rooms, &spelling, (KEY, "n"), b"x").await.status, 200);
    member.got_nothing().await;
    // Another stage is.
    let response = named(&rooms, "/blue/@groups/red", (KEY, "n"), b"x").await;
    assert_eq!(json_of(&response), sent_to(1));
    assert_eq!(blue.client.next_text().await, "x");
}

/// Joining, leaving, closing and asking do twice what they do once, so nothing is kept of them.
#[tokio::test]
async fn calls_that_send_nothing_are_made_each_time() {
    let rooms = Rooms::start().await;
    let member = rooms.member("").await;
    let name = [(KEY, "n"), (SDK, "n")];
    let place = format!("/prod/@groups/red/connections/{}", member.id);
    for _ in 0..2 {
        assert_done(&rooms.call_with("PUT", &place, &name, b"").await);
        let counted = rooms.call_with("GET", "/prod/@groups/red", &name, b"").await;
        assert_eq!(json_of(&counted), json!({ "connections": 1 }));
        assert_done(&rooms.call_with("DELETE", &place, &name, b"").await);
        let counted = rooms.call_with("GET", "/prod/@groups/red", &name, b"").await;
        assert_eq!(json_of(&counted), json!({ "connections": 0 }));
    }
    let one = format!("/prod/@connections/{}", member.id);
    assert_done(&rooms.call_with("DELETE", &one, &name, b"").await);
    assert_gone(&rooms.call_with("DELETE", &one, &name, b"").await);
}

/// A message's bytes, in however many frames it comes.
async fn next_message(client: &mut RawClient) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        let frame = client.next_frame().await.expect("a message");
        message.extend(frame.payload);
        if frame.last {
            return message;
        }
    }
}

/// A caller that has put its mistake right, or was told to try again, is served.
#[tokio::test]
async fn an_answer_that_may_be_another_next_time_is_not_kept() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .limit("send_queue_bytes", "262144")
        .limit("slow_client", r#""drop_newest""#)
        .limit("max_message_bytes", "131072");
    let gateway = start(&toml).await;
    let mut slow = RawClient::connect(&gateway.ws_url("prod")).await;
    let target = format!("/prod/@connections/{}", connection_id(&function).await);
    let mut http = HttpClient::connect(&gateway.http_url()).await;
    let body = vec![b'x'; 100_000];
    let (mut taken, full) = (0, [(KEY, "full")]);
    loop {
        let name = taken.to_string();
        let response = http.call("POST", &target, &[(KEY, &name)], &body).await;
        if response.status == 429 {
            break;
        }
        assert_eq!(response.status, 200, "{response:?}");
        taken += 1;
        assert!(taken < 500, "every message was taken");
    }
    for _ in 0..2 {
        // Neither is the refusal kept, nor what was refused sent.
        assert_eq!(http.call("POST", &target, &full, &body).await.status, 429);
    }
    for _ in 0..taken {
        assert_eq!(next_message(&mut slow).await.len(), body.len());
    }
    for _ in 0..2 {
        assert_eq!(http.call("POST", &target, &full, b"now").await.status, 200);
    }
    assert_eq!(http.call("POST", &target, &[], b"last").await.status, 200);
    for wanted in [&b"now"[..], b"last"] {
        assert_eq!(next_message(&mut slow).await, wanted);
    }
    let right = [(KEY, "put right")];
    assert_eq!(http.call("POST", &target, &right, b"\xff").await.status, 400);
    assert_eq!(http.call("POST", &target, &right, b"right").await.status, 200);
    assert_eq!(next_message(&mut slow).await, b"right");
}

/// A caller that is too quick is 429 too, before anything is looked at.
#[tokio::test]
async fn a_throttled_call_is_made_when_it_comes_again() {
    let rooms =
        Rooms::start_with(|toml| toml.set("management", "throttle", "{ rate = 2, burst = 1 }"))
            .await;
    let mut member = rooms.member("").await;
    let mut refused = 0;
    for name in ["1", "2", "3", "4"] {
        loop {
            let call = named(&rooms, "/prod/@broadcast", (SDK, name), name.as_bytes()).await;
            if call.status == 200 {
                break;
            }
            assert_eq!(call.status, 429, "{call:?}");
            refused += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(member.client.next_text().await, name);
    }
    assert!(refused > 0, "four calls took longer than a token does");
    member.got_nothing().await;
}

/// Whoever comes while the first is under way waits and is answered the same.
#[tokio::test]
async fn duplicates_in_flight_wait_for_the_first() {
    const MEMBERS: usize = 700;
    let rooms = Rooms::start().await;
    let mut members = rooms.members(MEMBERS, "join=red").await;
    let mut callers = Vec::new();
    for _ in 0..6 {
        callers.push(HttpClient::connect(&rooms.gateway.http_url()).await);
    }
    const ROUNDS: usize = 25;
    for round in 0..ROUNDS {
        let name = round.to_string();
        let headers = [(KEY, name.as_str())];
        let calls = callers
            .iter_mut()
            .map(|http| http.call("POST", "/prod/@groups/red", &headers, name.as_bytes()));
        for response in join_all(calls).await {
            assert_eq!(json_of(&response), sent_to(MEMBERS));
        }
    }
    for member in &mut members {
        for round in 0..ROUNDS {
            assert_eq!(member.client.next_text().await, round.to_string(), "each once, in order");
        }
        member.got_nothing().await;
    }
}

/// A name is 1 to 255 bytes; which, is the caller's.
#[tokio::test]
async fn a_name_that_is_empty_or_too_long_is_answered_400() {
    let rooms = Rooms::start().await;
    let mut member = rooms.member("").await;
    let (longest, too_long) = ("x".repeat(255), "x".repeat(256));
    for header in [SDK, KEY] {
        for name in ["", too_long.as_str()] {
            let response = named(&rooms, "/prod/@broadcast", (header, name), b"x").await;
            let message = assert_bad_request(&response);
            assert!(message.contains("1 to 255 bytes"), "{message}");
        }
        for name in [longest.as_str(), "\"quoted\"", "ü", "a b"] {
            for _ in 0..2 {
                let response = named(&rooms, "/prod/@broadcast", (header, name), b"x").await;
                assert_eq!(response.status, 200, "{name}: {response:?}");
            }
            assert_eq!(member.client.next_text().await, "x", "{name}");
            member.got_nothing().await;
        }
    }
}

/// reliability, line 19: a stranger neither takes a name away nor hears what was answered under it.
#[tokio::test]
async fn a_stranger_cannot_use_up_or_replay_a_name() {
    const SECRET: &str = "a secret";
    let rooms = Rooms::start_with(|toml| toml.signed("AKIDEXAMPLE", SECRET)).await;
    let mut member = rooms.member("").await;
    let target = "/prod/@broadcast";
    let stranger = async || named(&rooms, target, (SDK, "n"), b"x").await.status;
    assert_eq!(stranger().await, 403);
    let host = rooms.gateway.address().to_string();
    let signer = Signer::new("AKIDEXAMPLE", SECRET);
    for _ in 0..2 {
        let now = SystemTime::now();
        let added = signer.sign("POST", target, &[("Host", &host), (SDK, "n")], b"x", now);
        let mut headers = vec![("Host", host.as_str()), (SDK, "n")];
        headers.extend(added.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let url = rooms.gateway.http_url();
        assert_eq!(json_of(&http_call(&url, "POST", target, &headers, b"x").await), sent_to(1));
        assert_eq!(stranger().await, 403);
    }
    assert_eq!(member.client.next_text().await, "x");
    member.got_nothing().await;
}

/// What a reload changes of the api does not make a retry a new call.
#[tokio::test]
async fn a_reload_forgets_no_call() {
    let function = FunctionBackend::start(|event| crate::groups::obey(&event)).await;
    let toml: GatewayToml = watched_by(&function);
    let rooms = Rooms { gateway: start(&toml).await, function };
    let mut member = rooms.member("").await;
    for _ in 0..2 {
        let response = named(&rooms, "/prod/@broadcast", (KEY, "n"), b"x").await;
        assert_eq!(json_of(&response), sent_to(1));
        crate::reloads::reload(&rooms.gateway, &toml.clone().stage("blue"), "accepted").await;
    }
    assert_eq!(member.client.next_text().await, "x");
    member.got_nothing().await;
}
