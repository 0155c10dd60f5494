//! `@users`, `@broadcast`, batches and lists, and who may call all this (tidegate, section 6;
//! websocket-api, 9.6 and 11.1; reliability, lines 17, 19 and 34).
//!
//! In:  clients of which an authorizer says who they are, calls with and without a signature.
//! Out: status and body of each call, what each client got, what the metrics count.
//!
//! Holds always: a refused call changes nothing; the clients' next messages show it.

use std::{collections::BTreeSet, time::SystemTime};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tidegate_testkit::{
    Client, DEADLINE, FunctionBackend, GatewayToml, HttpResponse, RawClient, Signer, http_call,
    wait_until,
};

use crate::{
    authorizers::{STAGE_ARN, guarded_by},
    groups::{
        NOBODY, Rooms, assert_bad_request, assert_done, assert_gone, ids_of, json_of, sent_to,
        with_neighbours,
    },
    start, text,
};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "an example's secret/+=";

/// A function that lets everybody in as whom `?user=` names.
async fn who() -> FunctionBackend {
    FunctionBackend::start(|event| {
        let mut allowed = crate::authorizers::allow();
        allowed["principalId"] = event["queryStringParameters"]["user"].clone();
        allowed
    })
    .await
}

fn batch(ids: &[&str], data: &str) -> Vec<u8> {
    json!({ "connectionIds": ids, "data": data }).to_string().into()
}

/// `POST` and `DELETE /{stage}/@users/{principalId}`.
#[tokio::test]
async fn a_users_connections_get_its_messages_wherever_it_sits() {
    let who = who().await;
    let rooms = Rooms::start_with(|toml| guarded_by(toml, &who.url())).await;
    let (mut desk, mut phone) = (rooms.member("user=ann").await, rooms.member("user=ann").await);
    let mut bob = rooms.member("user=bob").await;
    let mut odd = rooms.member("user=a%2Fb%20%C3%A9%3Ac").await;
    assert_eq!(rooms.ok("POST", "/prod/@users/ann", b"hello ann").await, sent_to(2));
    for client in [&mut desk, &mut phone] {
        assert_eq!(client.client.next_text().await, "hello ann");
    }
    let except = format!("/prod/@users/ann?except={}", desk.id);
    assert_eq!(rooms.ok("POST", &except, b"the other").await, sent_to(1));
    assert_eq!(phone.client.next_text().await, "the other");
    // Whatever an authorizer may call somebody.
    assert_eq!(rooms.ok("POST", "/prod/@users/a%2Fb%20%C3%A9%3Ac", b"odd").await, sent_to(1));
    assert_eq!(odd.client.next_text().await, "odd");
    for nobody in ["Ann", "an", "ann%20", "a", "*"] {
        let target = format!("/prod/@users/{nobody}");
        assert_eq!(rooms.ok("POST", &target, b"x").await, sent_to(0), "{nobody}");
    }
    for client in [&mut desk, &mut phone, &mut bob, &mut odd] {
        client.got_nothing().await;
    }
    desk.client.close(1000, "").await;
    wait_until(DEADLINE, "ann to have one connection", async || {
        rooms.ok("POST", "/prod/@users/ann", b"x").await == sent_to(1)
    })
    .await;
    let ended = rooms.call("DELETE", "/prod/@users/bob?code=4003&reason=banned", b"").await;
    assert_done(&ended);
    assert_eq!(bob.client.next_close().await, (4003, "banned".to_owned()));
    assert_eq!(rooms.ok("POST", "/prod/@users/bob", b"x").await, sent_to(0));
}

/// Without an authorizer nobody is anybody.
#[tokio::test]
async fn without_an_authorizer_there_are_no_users() {
    let rooms = Rooms::start().await;
    let mut member = rooms.member("user=ann").await;
    for user in ["ann", "undefined", "null", "-", "user"] {
        let target = format!("/prod/@users/{user}");
        assert_eq!(rooms.ok("POST", &target, b"x").await, sent_to(0), "{user}");
    }
    member.got_nothing().await;
}

/// `POST /{stage}/@broadcast`.
#[tokio::test]
async fn a_broadcast_reaches_everybody_of_the_stage() {
    let rooms = Rooms::start_with(with_neighbours).await;
    assert_eq!(rooms.ok("POST", "/prod/@broadcast", b"x").await, sent_to(0));
    let mut here = rooms.members(200, "").await;
    let mut blue = rooms.member_at("blue", "test.localhost").await;
    let mut other = rooms.member_at("prod?join=red", "other.localhost").await;
    assert_eq!(rooms.ok("POST", "/prod/@broadcast", "grüße".as_bytes()).await, sent_to(200));
    let target = format!("/prod/@broadcast?except={}&except={}", here[0].id, here[1].id);
    assert_eq!(rooms.ok("POST", &target, b"").await, sent_to(198));
    for (number, member) in here.iter_mut().enumerate() {
        assert_eq!(member.client.next_text().await, "grüße");
        if number > 1 {
            assert_eq!(member.client.next_text().await, "");
        }
        member.got_nothing().await;
    }
    blue.got_nothing().await;
    other.got_nothing().await;
    assert_bad_request(&rooms.call("POST", "/prod/@broadcast", b"\xff").await);
    assert_bad_request(&rooms.call("POST", "/prod/@broadcast?except=x", b"x").await);
    let large = rooms.call("POST", "/prod/@broadcast", &vec![b'x'; 128 * 1024 + 1]).await;
    assert_eq!(large.status, 413, "{large:?}");
}

/// `POST /{stage}/@connections`: who got it is a number, who is gone is a list.
#[tokio::test]
async fn a_batch_reaches_those_it_names_and_says_who_is_gone() {
    let rooms = Rooms::start_with(with_neighbours).await;
    let (mut a, mut b) = (rooms.member("").await, rooms.member("").await);
    let (mut silent, blue) =
        (rooms.member("").await, rooms.member_at("blue", "test.localhost").await);
    let body = batch(&[&a.id, NOBODY, &b.id, &a.id, &blue.id, NOBODY], "gr\u{fc}\u{df}e \u{0}\"");
    let mut report = rooms.ok("POST", "/prod/@connections", &body).await;
    let mut gone: Vec<_> = report["gone"].as_array().expect("a list").clone();
    gone.sort_by_key(ToString::to_string);
    report["gone"] = gone.into();
    let mut wanted = [NOBODY, &blue.id];
    wanted.sort_unstable();
    assert_eq!(report, json!({ "delivered": 2, "gone": wanted }));
    for member in [&mut a, &mut b] {
        assert_eq!(member.client.next_text().await, "grüße \u{0}\"");
        member.got_nothing().await;
    }
    silent.got_nothing().await;
    let nobody = rooms.ok("POST", "/prod/@connections", &batch(&[], "x")).await;
    assert_eq!(nobody, json!({ "delivered": 0, "gone": [] }));
    for (body, told) in [
        (&b""[..], "the body is no batch (line 1, column 0)"),
        (b"hello", "the body is no batch (line 1, column 1)"),
        (b"[]", "is no batch"),
        (b"{}", "is no batch"),
        (br#"{"connectionIds": []}"#, "is no batch"),
        (br#"{"data": "x"}"#, "is no batch"),
        (br#"{"connectionIds": "x", "data": "x"}"#, "is no batch"),
        (br#"{"connectionIds": [], "data": {"a": 1}}"#, "is no batch"),
        (br#"{"connectionIds": [], "data": "x", "except": []}"#, "is no batch"),
        (br#"{"connectionIds": [], "data": "x"} x"#, "is no batch"),
        (b"{\"connectionIds\": [], \"data\": \"\xff\"}", "is no batch"),
        (br#"{"connectionIds": ["short"], "data": "x"}"#, "connectionIds: Invalid connectionId"),
    ] {
        let message = assert_bad_request(&rooms.call("POST", "/prod/@connections", body).await);
        assert!(message.contains(told), "{message}");
    }
    a.got_nothing().await;
}

/// Up to 10,000 ids; the message's limit is the data's, not the body's.
#[tokio::test]
async fn a_batch_of_10000_is_taken_and_one_more_refused() {
    const MESSAGE: usize = 128 * 1024;
    let rooms = Rooms::start().await;
    let mut member = rooms.member("").await;
    let others = |count: usize| (0..count).map(|number| format!("nobody{number:09}="));
    let ids: Vec<_> = others(9_999).chain([member.id.clone()]).collect();
    // Every byte written as `\u0000`, the longest way there is, in JSON with all its spaces.
    let escaped = "\\u0061".repeat(MESSAGE);
    let pretty = serde_json::to_string_pretty(&ids).expect("JSON");
    let body = format!("{{\n  \"connectionIds\": {pretty},\n  \"data\": \"{escaped}\"\n}}");
    assert!(body.len() > 1_000_000);
    let report = rooms.ok("POST", "/prod/@connections", body.as_bytes()).await;
    assert_eq!(report["delivered"], 1);
    assert_eq!(report["gone"].as_array().map(Vec::len), Some(9_999));
    assert_eq!(member.client.next_text().await.len(), MESSAGE);

    let ids: Vec<_> = others(10_000).chain([member.id.clone()]).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let refused = rooms.call("POST", "/prod/@connections", &batch(&ids, "x")).await;
    let message = assert_bad_request(&refused);
    assert!(message.contains("10001 connections are named"), "{message}");
    assert!(message.contains("at most 10000"), "{message}");

    let large = batch(&[&member.id], &"x".repeat(MESSAGE + 1));
    let refused = rooms.call("POST", "/prod/@connections", &large).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    assert!(text(&refused.json()["message"]).contains("131072"), "{refused:?}");
    let refused = rooms.call("POST", "/prod/@connections", &vec![b' '; 2_000_000]).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    let labels = [("operation", "batch"), ("status", "413")];
    let name = "tidegate_management_requests_total";
    assert_eq!(rooms.gateway.metric(name, &labels).await, 2.0);
    member.got_nothing().await;
}

/// tidegate, section 4 and 6: `?binary=true`; a batch has its data in base64 then.
#[tokio::test]
async fn audiences_take_binary_messages_where_the_api_does() {
    let rooms = Rooms::start_with(|toml| toml.api("binary", r#""pass""#)).await;
    let mut member = rooms.member("join=red").await;
    for target in ["/prod/@groups/red", "/prod/@broadcast"] {
        let target = format!("{target}?binary=true");
        assert_eq!(rooms.ok("POST", &target, b"\x00\xff").await, sent_to(1));
        assert_eq!(member.client.next_binary().await, &b"\x00\xff"[..]);
    }
    let target = "/prod/@connections?binary=true";
    let report = rooms.ok("POST", target, &batch(&[&member.id], "AP8=")).await;
    assert_eq!(report["delivered"], 1);
    assert_eq!(member.client.next_binary().await, &b"\x00\xff"[..]);
    let refused = rooms.call("POST", target, &batch(&[&member.id], "no base64!")).await;
    assert!(assert_bad_request(&refused).contains("base64"));
    member.got_nothing().await;
}

/// `GET /{stage}/@connections?limit=&cursor=`, over more than a thousand.
#[tokio::test]
async fn open_connections_are_listed_in_pages_while_others_come_and_go() {
    const OPEN: usize = 1_100;
    // No backend stands in the way of so many: the template greets.
    let template = r##"#set($context.responseOverride.header.Tidegate-Reply = $context.connectionId)
{"statusCode": 200}"##;
    let rooms = Rooms::start_with(|toml| {
        with_neighbours(toml)
            .mock("welcome")
            .request_template("welcome", "application/json", template)
            .route("$connect", "welcome")
    })
    .await;
    let open = rooms.members(OPEN, "").await;
    let _other = rooms.member_at("prod", "other.localhost").await;
    let wanted: BTreeSet<_> = open.iter().map(|member| member.id.clone()).collect();
    for (limit, wanted_pages) in [(Some(1000), 2), (Some(550), 2), (Some(333), 4), (None, 11)] {
        let (ids, pages) = rooms.pages("/prod/@connections", limit).await;
        assert_eq!((ids.len(), pages), (OPEN, wanted_pages), "limit {limit:?}");
        assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), wanted, "limit {limit:?}");
    }
    // Whoever stays is listed once, whoever comes or goes meanwhile at most once.
    let listing = rooms.pages("/prod/@connections", Some(20));
    let churning = async {
        for _ in 0..50 {
            let mut passing = rooms.member("").await;
            passing.client.close(1000, "").await;
        }
    };
    let ((ids, _), ()) = tokio::join!(listing, churning);
    let distinct: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(distinct.len(), ids.len(), "nobody is listed twice");
    assert!(distinct.is_superset(&wanted));
    for query in ["limit=0", "limit=1001", "cursor=zzz", "limit=5&cursor="] {
        let target = format!("/prod/@connections?{query}");
        assert_bad_request(&rooms.call("GET", &target, b"").await);
    }
    assert_eq!(ids_of(&rooms.ok("GET", "/blue/@connections", b"").await).len(), 0);
}

/// A call signed by `signer`, or by nobody.
async fn call_as(
    rooms: &Rooms,
    signer: Option<&Signer>,
    method: &str,
    target: &str,
    body: &[u8],
) -> HttpResponse {
    let host = rooms.gateway.address().to_string();
    let mut headers = vec![("Host".to_owned(), host.clone())];
    if let Some(signer) = signer {
        headers.extend(signer.sign(method, target, &[("Host", &host)], body, SystemTime::now()));
    }
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    http_call(&rooms.gateway.http_url(), method, target, &headers, body).await
}

/// Every call of section 6, about a connection.
fn every_call(id: &str) -> Vec<(&'static str, String, Vec<u8>)> {
    let body = || b"x".to_vec();
    // As SDKs write it: what is signed has one spelling.
    let nobody = NOBODY.replace('=', "%3D");
    vec![
        ("POST", "/prod/@groups/red".to_owned(), body()),
        ("POST", format!("/prod/@groups/red?except={nobody}&except=L1SM9cOFvHcCIhw%3D"), body()),
        ("PUT", format!("/prod/@groups/red/connections/{id}"), Vec::new()),
        ("DELETE", format!("/prod/@groups/red/connections/{id}"), Vec::new()),
        ("GET", "/prod/@groups/red".to_owned(), Vec::new()),
        ("GET", "/prod/@groups/a%3Ab/connections?limit=5".to_owned(), Vec::new()),
        ("DELETE", "/prod/@groups/red".to_owned(), Vec::new()),
        ("POST", "/prod/@users/ann%20a".to_owned(), body()),
        ("DELETE", "/prod/@users/ann".to_owned(), Vec::new()),
        ("POST", "/prod/@broadcast".to_owned(), body()),
        ("POST", "/prod/@connections".to_owned(), batch(&[id], "x")),
        ("GET", "/prod/@connections?limit=5".to_owned(), Vec::new()),
    ]
}

/// reliability, line 19: no credentials, no answer but 403, whatever there is.
#[tokio::test]
async fn callers_without_credentials_change_nothing_and_learn_nothing() {
    let rooms = Rooms::start_with(|toml| toml.signed(KEY, SECRET)).await;
    let mut member = rooms.member("join=red").await;
    let signer = Signer::new(KEY, SECRET);
    let stranger = Signer::new("AKIDSTRANGER", SECRET);
    let wrong = Signer::new(KEY, "wrong");
    for signer in [None, Some(&stranger), Some(&wrong)] {
        let mut told = BTreeSet::new();
        let malformed = [
            ("POST", "/prod/@groups/no%20name".to_owned(), b"x".to_vec()),
            ("POST", "/prod/@connections".to_owned(), b"no batch".to_vec()),
            ("GET", "/prod/@groups/none".to_owned(), Vec::new()),
            ("POST", "/nowhere/@broadcast".to_owned(), b"x".to_vec()),
            ("PUT", "/prod/@broadcast".to_owned(), b"x".to_vec()),
            ("GET", "/prod/@groups".to_owned(), Vec::new()),
        ];
        for (method, target, body) in every_call(&member.id).into_iter().chain(malformed) {
            let response = call_as(&rooms, signer, method, &target, &body).await;
            let class = response.header("x-amzn-errortype").unwrap_or_default().to_owned();
            told.insert((response.status, class, response.text().to_owned()));
        }
        assert_eq!(told.len(), 1, "in the same words: {told:?}");
        assert_eq!(told.first().map(|(status, ..)| *status), Some(403));
    }
    member.got_nothing().await;
    let count = call_as(&rooms, Some(&signer), "GET", "/prod/@groups/red", b"").await;
    assert_eq!(json_of(&count), json!({ "connections": 1 }));
    // The same calls, signed. The last that ends the connection is not among them.
    for (method, target, body) in every_call(&member.id) {
        if method == "DELETE" {
            continue;
        }
        let response = call_as(&rooms, Some(&signer), method, &target, &body).await;
        assert!([200, 204].contains(&response.status), "{method} {target}: {response:?}");
    }
    for _ in 0..4 {
        assert_eq!(member.client.next_text().await, "x");
    }
    let left = format!("/prod/@groups/red/connections/{}", member.id);
    assert_done(&call_as(&rooms, Some(&signer), "DELETE", &left, b"").await);
    // What was signed is what is done: another exception is another call.
    let host = rooms.gateway.address().to_string();
    let target = "/prod/@broadcast";
    let signed = signer.sign("POST", target, &[("Host", &host)], b"x", SystemTime::now());
    let headers: Vec<_> = signed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let changed = format!("{target}?except={NOBODY}");
    let url = rooms.gateway.http_url();
    assert_eq!(http_call(&url, "POST", &changed, &headers, b"x").await.status, 403);
    member.got_nothing().await;
}

/// tidegate, section 3: `auth = "none"` takes loopback's word, and no header's.
#[tokio::test]
async fn unsigned_calls_from_this_machine_are_taken_where_auth_is_none() {
    let rooms = Rooms::start().await;
    let member = rooms.member("join=red").await;
    for (method, target, body) in every_call(&member.id) {
        let claim = [("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=203.0.113.9")];
        let response = rooms.call_with(method, &target, &claim, &body).await;
        let expected = if target.contains("connections/") && method == "PUT" {
            [204, 204]
        } else {
            [200, 204]
        };
        if method == "DELETE" && target == "/prod/@groups/red" {
            // It has left by then.
            assert_done(&response);
        } else {
            assert!(expected.contains(&response.status), "{method} {target}: {response:?}");
        }
    }
}

/// websocket-api, 9.6: `execute-api:ManageConnections` names these paths as it does others.
#[tokio::test]
async fn a_policy_says_who_may_send_to_which_group() {
    let key = |id: &str, statements: Value| {
        let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        format!("{{ access_key_id = {id:?}, secret_access_key = {SECRET:?}, policy = {policy:?} }}")
    };
    let on = |tail: &str| {
        json!([{
            "Effect": "Allow", "Action": "execute-api:ManageConnections",
            "Resource": format!("{STAGE_ARN}/{tail}"),
        }])
    };
    let keys = [
        key("AKIDGROUPS", on("POST/@groups/*")),
        key("AKIDRED", on("POST/@groups/red")),
        key("AKIDMEMBERS", on("*/@groups/red/connections/*")),
        key("AKIDUSERS", on("*/@users/*")),
        key("AKIDALL", on("POST/@broadcast")),
        key("AKIDPOSTS", on("POST/@connections/*")),
        key("AKIDANY", on("*")),
    ]
    .join(", ");
    let rooms = Rooms::start_with(|toml| {
        toml.set("management", "auth", r#""sigv4""#).set(
            "management",
            "credentials",
            &format!("[{keys}]"),
        )
    })
    .await;
    let mut member = rooms.member("").await;
    let there = format!("/prod/@groups/red/connections/{}", member.id);
    let calls: [(&str, &str, &[&str]); 12] = [
        ("POST", "/prod/@groups/red", &["AKIDGROUPS", "AKIDRED"]),
        ("POST", "/prod/%40groups/r%65d", &["AKIDGROUPS", "AKIDRED"]),
        ("POST", "/prod//@groups//red", &["AKIDGROUPS", "AKIDRED"]),
        ("POST", "/prod/@groups/blue", &["AKIDGROUPS"]),
        ("GET", "/prod/@groups/red", &[]),
        ("DELETE", "/prod/@groups/red", &[]),
        ("GET", "/prod/@groups/red/connections", &[]),
        ("PUT", &there, &["AKIDMEMBERS"]),
        ("DELETE", &there, &["AKIDMEMBERS"]),
        ("POST", "/prod/@users/ann", &["AKIDUSERS"]),
        ("POST", "/prod/@broadcast", &["AKIDALL"]),
        ("GET", "/prod/@connections", &[]),
    ];
    let all =
        ["AKIDGROUPS", "AKIDRED", "AKIDMEMBERS", "AKIDUSERS", "AKIDALL", "AKIDPOSTS", "AKIDANY"];
    for (method, target, may) in calls {
        for id in all {
            // As SDKs do, runs of slashes are signed as one.
            let host = rooms.gateway.address().to_string();
            let signed = target.replace("//", "/");
            let signer = Signer::new(id, SECRET);
            let added = signer.sign(method, &signed, &[("Host", &host)], b"", SystemTime::now());
            let mut headers = vec![("Host", host.as_str())];
            headers.extend(added.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            let url = rooms.gateway.http_url();
            let response = http_call(&url, method, target, &headers, b"").await;
            if may.contains(&id) || id == "AKIDANY" {
                assert!([200, 204].contains(&response.status), "{id} {target}: {response:?}");
            } else {
                let told = response.header("x-amzn-errortype");
                assert_eq!((response.status, told), (403, Some("AccessDeniedException")), "{id}");
            }
        }
    }
    // Of the broadcasts two were allowed.
    for _ in 0..2 {
        assert_eq!(member.client.next_text().await, "");
    }
    member.got_nothing().await;
    // To post to one is not to post to a list of them.
    let target = "/prod/@connections";
    let signer = Signer::new("AKIDPOSTS", SECRET);
    let body = batch(&[&member.id], "x");
    assert_eq!(call_as(&rooms, Some(&signer), "POST", target, &body).await.status, 403);
    let one = format!("{target}/{}", member.id);
    assert_eq!(call_as(&rooms, Some(&signer), "POST", &one, b"x").await.status, 200);
    assert_eq!(member.client.next_text().await, "x");
}

/// tidegate, section 8: calls by operation, and each recipient's message as one.
#[tokio::test]
async fn metrics_count_calls_by_operation_and_messages_by_recipient() {
    let who = who().await;
    let rooms = Rooms::start_with(|toml| guarded_by(toml, &who.url())).await;
    let members = rooms.members(3, "user=ann&join=red").await;
    let ids: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    let member = format!("/prod/@groups/red/connections/{}", ids[0]);
    let one = format!("/prod/@connections/{}", ids[0]);
    let except = format!("/prod/@groups/red?except={}", ids[0]);
    let calls: [(&str, &str, Vec<u8>, &str, u64); 14] = [
        ("POST", &one, b"12345".into(), "post", 1),
        ("POST", "/prod/@groups/red", b"12345".into(), "group_send", 3),
        ("POST", &except, b"12345".into(), "group_send", 2),
        ("POST", "/prod/@groups/empty", b"12345".into(), "group_send", 0),
        ("POST", "/prod/@users/ann", b"12345".into(), "user_send", 3),
        ("POST", "/prod/@broadcast", b"12345".into(), "broadcast", 3),
        ("POST", "/prod/@connections", batch(&[ids[0], ids[1], NOBODY], "12345"), "batch", 2),
        ("GET", "/prod/@connections", Vec::new(), "list", 0),
        ("PUT", &member, Vec::new(), "group_join", 0),
        ("DELETE", &member, Vec::new(), "group_leave", 0),
        ("GET", "/prod/@groups/red", Vec::new(), "group_count", 0),
        ("GET", "/prod/@groups/red/connections", Vec::new(), "group_list", 0),
        ("DELETE", "/prod/@groups/red", Vec::new(), "group_close", 0),
        ("DELETE", "/prod/@users/ann", Vec::new(), "user_close", 0),
    ];
    let route = [("route", "@connections"), ("direction", "out"), ("stage", "prod")];
    let mut sum = 0;
    for (method, target, body, operation, recipients) in calls {
        let status = if method == "PUT" || method == "DELETE" { "204" } else { "200" };
        let labels = [("operation", operation), ("status", status)];
        let counted =
            async || rooms.gateway.metric("tidegate_management_requests_total", &labels).await;
        let before = counted().await;
        let response = rooms.call(method, target, &body).await;
        assert_eq!(response.status.to_string(), status, "{method} {target}: {response:?}");
        assert_eq!(counted().await, before + 1.0, "{operation}");
        sum += recipients;
        let messages = rooms.gateway.metric("tidegate_messages_total", &route).await;
        assert_eq!(messages, sum as f64, "{operation}");
        let bytes = rooms.gateway.metric("tidegate_message_bytes_total", &route).await;
        assert_eq!(bytes, 5.0 * sum as f64, "{operation}");
    }
    assert_eq!(sum, 14);
    // No group, user or id is a label.
    let text = rooms.gateway.metrics().await;
    for secret in ["\"red\"", "ann", ids[0]] {
        assert!(!text.contains(secret), "{secret}");
    }
}

/// reliability, lines 22 and 25: a slow client of a broadcast is refused its message and stays,
/// where `slow_client` says so; the count tells who took it.
#[tokio::test]
async fn a_client_whose_queue_is_full_is_no_recipient() {
    let toml = GatewayToml::new()
        .echo("echo")
        .two_way("$default", "echo")
        .limit("send_queue_bytes", "262144")
        .limit("slow_client", r#""drop_newest""#);
    let gateway = start(&toml).await;
    let mut quick = Client::connect(&gateway.ws_url("prod")).await;
    let slow = RawClient::connect(&gateway.ws_url("prod")).await;
    let body = vec![b'x'; 100_000];
    let mut sends = 0;
    loop {
        let report = json_of(&gateway.manage("POST", "/prod/@broadcast", &body).await);
        quick.next_text().await;
        sends += 1;
        assert!(sends < 500, "every message was taken");
        if report == sent_to(1) {
            break;
        }
    }
    let list = gateway.manage("GET", "/prod/@connections", b"").await.json();
    let ids = ids_of(&list);
    assert_eq!(ids.len(), 2, "it stays");
    // A full queue is neither delivered nor gone.
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let listed = batch(&ids, &"x".repeat(100_000));
    let report = gateway.manage("POST", "/prod/@connections", &listed).await;
    assert_eq!(report.json(), json!({ "delivered": 1, "gone": [] }));
    slow.cut();
}

/// A connection that another call has ended is answered as one that was never there.
#[tokio::test]
async fn a_delete_of_many_and_a_delete_of_one_agree_on_who_is_gone() {
    let rooms = Rooms::start().await;
    let members = rooms.members(150, "join=red").await;
    let by_group = rooms.call("DELETE", "/prod/@groups/red", b"");
    let one_by_one = stream::iter(&members)
        .map(|member| rooms.gateway.delete_connection("prod", &member.id))
        .buffered(8)
        .map(|response| response.status)
        .collect::<Vec<_>>();
    let (group, statuses) = tokio::join!(by_group, one_by_one);
    assert_done(&group);
    assert!(statuses.iter().all(|status| [204, 410].contains(status)), "{statuses:?}");
    for mut member in members {
        assert_eq!(member.client.next_close().await.0, 1000);
        assert_gone(&rooms.gateway.post_to("prod", &member.id, b"x").await);
    }
    assert_eq!(rooms.function.wait_for_events("DISCONNECT", 150).await.len(), 150);
}
