//! Who may connect and who may call the management API, by a signature and the policy of its key
//! (websocket-api, 9.6 and item 105; reliability, lines 15 and 19).
//!
//! In:  upgrades and calls, signed as SDKs and browsers sign, and then changed.
//! Out: statuses, what events and logs say of whose signature it was.
//!
//! Holds always: whatever a signature covers is changed in every place, one byte at a time.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidegate_testkit::{
    Client, FunctionBackend, GatewayToml, HttpClient, HttpResponse, Signer, TestGateway, http_call,
};

use crate::{
    access_log::{connect_lines, logging},
    authorizers::{GuardKey, STAGE_ARN},
    connection_id,
    reloads::reload,
    start, text,
    upgrade::{upgrade_answer, upgrade_status},
    watched_by,
};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "an example's secret/+=";

/// One access key as TOML.
fn key(id: &str, secret: &str, more: &str) -> String {
    format!("{{ access_key_id = {id:?}, secret_access_key = {secret:?}{more} }}")
}

/// A policy of an access key, as it stands behind the others of its keys.
fn policy(statements: &Value) -> String {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    format!(", policy = {policy:?}")
}

/// The api of `toml` with an IAM authorizer that has these keys.
fn signed_by(toml: GatewayToml, keys: &[String]) -> GatewayToml {
    toml.guard_key("type", r#""iam""#)
        .guard_key("credentials", &format!("[{}]", keys.join(", ")))
        .route_key("$connect", "authorizer", r#""guard""#)
}

fn signer() -> Signer {
    Signer::new(KEY, SECRET)
}

fn with_token(token: &str) -> Signer {
    Signer { session_token: Some(token.to_owned()), ..signer() }
}

/// An upgrade of `target` with the signature in headers.
async fn by_header(
    gateway: &TestGateway,
    signer: &Signer,
    target: &str,
    at: SystemTime,
) -> HttpResponse {
    let host = gateway.address().to_string();
    let added = signer.sign("GET", target, &[("Host", &host)], b"", at);
    let headers: Vec<_> = added.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    upgrade_answer(&format!("ws://{host}{target}"), &headers).await
}

/// An upgrade of `target` with the signature in the query, as a browser sends it.
async fn by_query(
    gateway: &TestGateway,
    signer: &Signer,
    target: &str,
    expires_s: u32,
    at: SystemTime,
) -> HttpResponse {
    let host = gateway.address().to_string();
    let signed = signer.presign("GET", target, &[("Host", &host)], expires_s, at);
    upgrade_answer(&format!("ws://{host}{signed}"), &[]).await
}

/// websocket-api, item 105 and 4.2: whose signature it was is in all three events.
#[tokio::test]
async fn a_signed_upgrade_is_accepted_and_events_say_whose_it_was() {
    let function = FunctionBackend::accepting().await;
    let toml = signed_by(watched_by(&function), &[key(KEY, SECRET, r#", user = "alice""#)])
        .two_way("$default", "watcher");
    let gateway = start(&toml).await;
    let now = SystemTime::now();
    let host = gateway.address().to_string();
    let headers = signer().sign("GET", "/prod?room=a%20b", &[("Host", &host)], b"", now);
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let url = format!("ws://{host}/prod?room=a%20b");
    let mut client = Client::connect_with(&url, &headers, &[]).await;
    client.send_text("hello").await;
    client.next_text().await;
    client.close(1000, "").await;
    for kind in ["CONNECT", "MESSAGE", "DISCONNECT"] {
        let event = function.next_event(kind).await;
        let identity = &event["requestContext"]["identity"];
        assert_eq!(identity["accessKey"], KEY, "{kind}: {event}");
        assert_eq!(identity["accountId"], "000000000000");
        assert_eq!(identity["userArn"], "arn:aws:iam::000000000000:user/alice");
        assert!(text(&identity["user"]).contains("alice"), "{identity}");
        assert!(identity["caller"].is_string(), "{identity}");
        assert!(event["requestContext"].get("authorizer").is_none(), "{kind}: {event}");
    }
    let signed = signer().presign("GET", "/prod", &[("Host", &host)], 60, now);
    Client::connect(&format!("ws://{host}{signed}")).await.ping_pong().await;
    assert_eq!(gateway.metric("tidegate_connect_total", &[("outcome", "accepted")]).await, 2.0);
}

/// websocket-api, 3.2 and 9.6: unsigned, or not signed by anybody known.
#[tokio::test]
async fn an_upgrade_that_is_not_signed_by_a_known_key_is_answered_403() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&signed_by(watched_by(&function), &[key(KEY, SECRET, "")])).await;
    let url = gateway.ws_url("prod");
    let now = SystemTime::now();
    let unsigned = upgrade_answer(&url, &[]).await;
    assert_eq!(unsigned.status, 403);
    assert_eq!(
        unsigned.header("x-amzn-errortype"),
        Some("MissingAuthenticationTokenException"),
        "{unsigned:?}"
    );
    let mut told = Vec::new();
    for stranger in [Signer::new(KEY, "wrong"), Signer::new("AKIDSTRANGER", SECRET)] {
        for response in [
            by_header(&gateway, &stranger, "/prod", now).await,
            by_query(&gateway, &stranger, "/prod", 60, now).await,
        ] {
            assert_eq!(response.status, 403, "{response:?}");
            let message = text(&response.json()["message"]).to_owned();
            assert!(message.starts_with("The request signature we calculated"), "{message}");
            told.push((message, response.header("x-amzn-errortype").map(str::to_owned)));
        }
    }
    told.dedup();
    assert_eq!(told.len(), 1, "who is known and who is not is told in the same words");
    let other = Signer { service: "s3".to_owned(), ..signer() };
    assert_eq!(by_header(&gateway, &other, "/prod", now).await.status, 403);
    for headers in [
        [("Authorization", "Basic dTpw")],
        [("Authorization", "AWS4-HMAC-SHA256")],
        [("Authorization", "AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature=")],
    ] {
        assert_eq!(upgrade_status(&url, &headers).await, 403, "{headers:?}");
    }
    assert_eq!(function.http().count(), 0);
}

/// reliability, line 15: 5 minutes either way; a presigned url until it expires.
#[tokio::test]
async fn a_signature_is_good_for_five_minutes_either_way() {
    let gateway = start(&signed_by(GatewayToml::new(), &[key(KEY, SECRET, "")])).await;
    let now = SystemTime::now();
    for (offset_s, status) in [(-330, 403), (-290, 101), (0, 101), (290, 101), (330, 403)] {
        let offset = Duration::from_secs(i32::unsigned_abs(offset_s).into());
        let at = if offset_s < 0 { now - offset } else { now + offset };
        let response = by_header(&gateway, &signer(), "/prod", at).await;
        assert_eq!(response.status, status, "header, {offset_s} s: {response:?}");
        let response = by_query(&gateway, &signer(), "/prod", 300, at).await;
        assert_eq!(response.status, status, "query, {offset_s} s: {response:?}");
    }
    let at = now - Duration::from_secs(20);
    assert_eq!(by_query(&gateway, &signer(), "/prod", 10, at).await.status, 403, "its own expiry");
    let at = now - Duration::from_secs(3000);
    assert_eq!(by_query(&gateway, &signer(), "/prod", 3600, at).await.status, 101);
    for expires_s in [0, 604_801] {
        let response = by_query(&gateway, &signer(), "/prod", expires_s, now).await;
        assert_eq!(response.status, 403, "X-Amz-Expires={expires_s}");
    }
}

/// Another byte of the same kind, so that the request stays one that can be read.
fn other(byte: u8) -> u8 {
    match byte {
        b'9' => b'0',
        b'z' => b'a',
        b'Z' => b'A',
        b if b.is_ascii_alphanumeric() => b + 1,
        _ => b'x',
    }
}

/// Sends a request head as it is; the answer's status.
async fn status_of(gateway: &TestGateway, head: &str) -> u16 {
    let mut client = HttpClient::connect(&gateway.http_url()).await;
    client.send_bytes(head.as_bytes()).await;
    client.read_response(false).await.status
}

/// The rest of an upgrade request, which no signature here covers.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Changes each byte of `head` from `range` and fails when one of them changes nothing. `covered`
/// says whether a place counts.
async fn assert_each_byte_counts(
    gateway: &TestGateway,
    head: &str,
    covered: impl Fn(usize) -> bool,
) -> usize {
    assert_eq!(status_of(gateway, &format!("{head}{UPGRADE}")).await, 101, "as it was signed");
    let mut tried = 0;
    for place in (0..head.len()).filter(|place| covered(*place)) {
        let mut bytes = head.as_bytes().to_vec();
        bytes[place] = other(bytes[place]);
        let changed = String::from_utf8(bytes).expect("ASCII stays ASCII");
        let status = status_of(gateway, &format!("{changed}{UPGRADE}")).await;
        assert_eq!(status, 403, "byte {place} of\n{head}\nas in\n{changed}");
        tried += 1;
    }
    tried
}

/// websocket-api, item 105; reliability, line 15: a tampered byte anywhere.
#[tokio::test]
async fn a_tampered_byte_anywhere_is_answered_403() {
    let keys = [key(KEY, SECRET, r#", session_token = "the session's token""#)];
    let gateway = start(&signed_by(GatewayToml::new(), &keys)).await;
    let host = gateway.address().to_string();
    let now = SystemTime::now();
    let signer = with_token("the session's token");

    let signed = [("Host", host.as_str()), ("X-Signed", "a signed value")];
    let target = "/prod/sub?room=a%20b&b=c";
    let added = signer.sign("GET", target, &signed, b"", now);
    let mut head = format!("GET {target} HTTP/1.1\r\n");
    let mut values = Vec::new();
    values.push(4..4 + target.len());
    let own = signed.iter().map(|(name, value)| (*name, *value));
    for (name, value) in own.chain(added.iter().map(|(n, v)| (n.as_str(), v.as_str()))) {
        head += &format!("{name}: ");
        values.push(head.len()..head.len() + value.len());
        head += &format!("{value}\r\n");
    }
    let covered = |place: usize| values.iter().any(|value| value.contains(&place));
    let tried = assert_each_byte_counts(&gateway, &head, covered).await;
    assert!(tried > 250, "{tried} places");

    let target = signer.presign("GET", target, &[("Host", &host)], 300, now);
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
    let query = 4..4 + target.len();
    let host_value = head.len() - 2 - host.len()..head.len() - 2;
    let covered = |place: usize| query.contains(&place) || host_value.contains(&place);
    let tried = assert_each_byte_counts(&gateway, &head, covered).await;
    assert!(tried > 350, "{tried} places");
}

/// reliability, line 15: what is taken away, added or doubled counts as much as what is changed.
#[tokio::test]
async fn a_signed_upgrade_with_something_more_or_less_is_answered_403() {
    let gateway = start(&signed_by(GatewayToml::new(), &[key(KEY, SECRET, "")])).await;
    let host = gateway.address().to_string();
    let now = SystemTime::now();
    let target = signer().presign("GET", "/prod?a=b", &[("Host", &host)], 300, now);
    let upgrade = async |target: &str| upgrade_status(&format!("ws://{host}{target}"), &[]).await;
    assert_eq!(upgrade(&target).await, 101);
    let parameters: Vec<&str> = target.split(['?', '&']).skip(1).collect();
    for parameter in &parameters {
        let without: Vec<&str> = parameters.iter().copied().filter(|p| p != parameter).collect();
        let without = format!("/prod?{}", without.join("&"));
        assert_eq!(upgrade(&without).await, 403, "without {parameter}");
        assert_eq!(upgrade(&format!("{target}&{parameter}")).await, 403, "twice {parameter}");
    }
    for changed in [
        format!("{target}&c=d"),
        target.replace("/prod?", "/prod/?"),
        target.replace("/prod?", "/prod/x?"),
        target.replace("/prod?", "/%70rod?"),
    ] {
        assert_eq!(upgrade(&changed).await, 403, "{changed}");
    }
    // Both forms at once: two readings, so none.
    let added = signer().sign("GET", &target, &[("Host", &host)], b"", now);
    let headers: Vec<_> = added.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(upgrade_status(&format!("ws://{host}{target}"), &headers).await, 403);
}

/// websocket-api, 9.6: a temporary key works only with its session token, in either form.
#[tokio::test]
async fn a_temporary_key_needs_its_session_token() {
    let keys = [key(KEY, SECRET, r#", session_token = "tok/en+=""#), key("AKIDPLAIN", SECRET, "")];
    let gateway = start(&signed_by(GatewayToml::new(), &keys)).await;
    let now = SystemTime::now();
    for (signer, status) in [
        (with_token("tok/en+="), 101),
        (with_token("tok/en+"), 403),
        (with_token(""), 403),
        (signer(), 403),
        (Signer::new("AKIDPLAIN", SECRET), 101),
    ] {
        for response in [
            by_header(&gateway, &signer, "/prod", now).await,
            by_query(&gateway, &signer, "/prod", 60, now).await,
        ] {
            assert_eq!(response.status, status, "{:?}: {response:?}", signer.session_token);
        }
    }
}

/// websocket-api, 9.6: `execute-api:Invoke` on `$connect` of the stage, with conditions.
#[tokio::test]
async fn an_access_key_connects_where_its_policy_says() {
    let on = |resource: &str| {
        policy(&json!([{
            "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource
        }]))
    };
    let from = |range: &str| {
        policy(&json!([{
            "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*",
            "Condition": { "IpAddress": { "aws:SourceIp": range } }
        }]))
    };
    let posts = policy(&json!([{
        "Effect": "Allow", "Action": "execute-api:ManageConnections", "Resource": "*"
    }]));
    let but = policy(&json!([
        { "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": "execute-api:Invoke", "Resource": format!("{STAGE_ARN}/*") }
    ]));
    let cases = [
        ("AKIDPROD", on(&format!("{STAGE_ARN}/$connect")), 101, 403),
        ("AKIDANY", on("*"), 101, 101),
        ("AKIDHERE", from("127.0.0.0/8"), 101, 101),
        ("AKIDTHERE", from("203.0.113.0/24"), 403, 403),
        ("AKIDPOSTS", posts, 403, 403),
        ("AKIDBUT", but, 403, 101),
        ("AKIDALL", String::new(), 101, 101),
    ];
    let keys: Vec<_> = cases.iter().map(|(id, policy, ..)| key(id, SECRET, policy)).collect();
    let gateway = start(&signed_by(GatewayToml::new().stage("dev"), &keys)).await;
    let now = SystemTime::now();
    for (id, _, prod, dev) in &cases {
        let signer = Signer::new(id, SECRET);
        for (target, status) in [("/prod", *prod), ("/dev", *dev)] {
            let response = by_header(&gateway, &signer, target, now).await;
            assert_eq!(response.status, status, "{id} {target}: {response:?}");
            let response = by_query(&gateway, &signer, target, 60, now).await;
            assert_eq!(response.status, status, "{id} {target}: {response:?}");
        }
    }
}

/// websocket-api, 13.1: `authenticate.*` is the signature, `authorize.*` the policy.
#[tokio::test]
async fn the_access_log_tells_the_signature_from_the_policy() {
    let names = [
        "requestId",
        "status",
        "identity.user",
        "authenticate.status",
        "authenticate.error",
        "authorize.status",
        "authorize.error",
        "authorizer.status",
        "error.message",
        "error.responseType",
    ];
    let never = policy(&json!([{ "Effect": "Deny", "Action": "*", "Resource": "*" }]));
    let keys = [
        key(KEY, SECRET, r#", user = "alice""#),
        key("AKIDNEVER", SECRET, &format!("{never}, user = \"bob\"")),
    ];
    let toml = signed_by(GatewayToml::new(), &keys);
    let gateway = start(&logging(toml, &names)).await;
    let now = SystemTime::now();
    for (id, secret, status) in
        [(KEY, SECRET, 101), (KEY, "wrong", 403), ("AKIDNEVER", SECRET, 403)]
    {
        let response = by_header(&gateway, &Signer::new(id, secret), "/prod", now).await;
        assert_eq!(response.status, status);
    }
    assert_eq!(upgrade_status(&gateway.ws_url("prod"), &[]).await, 403);
    let lines = connect_lines(&gateway, 4).await;
    let shown: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split('|').enumerate().filter(|(i, _)| *i != 0).map(|(_, v)| v).collect())
        .collect();
    let mismatch = "the signature does not match the request";
    let denied = "the access key's policy denies it";
    let missing = "the request is not signed";
    assert_eq!(shown[0], ["200", "alice", "200", "-", "200", "-", "-", "-", "-"]);
    assert_eq!(shown[1][..7], ["403", "-", "403", mismatch, "-", "-", "-"]);
    assert_eq!(shown[2][..7], ["403", "-", "200", "-", "403", denied, "-"]);
    assert_eq!(shown[3][..7], ["403", "-", "403", missing, "-", "-", "-"]);
    for refused in &shown[1..] {
        assert_ne!(refused[7], "-", "{refused:?}");
        assert_eq!(refused[8], "ACCESS_DENIED");
    }
}

/// tidegate, section 1 (reload); design, decision 4: keys go and come, connections stay.
#[tokio::test]
async fn a_reload_changes_the_keys_and_leaves_connections_alone() {
    let toml = |keys: &[String]| {
        signed_by(GatewayToml::new().echo("echo"), keys).two_way("$default", "echo")
    };
    let gateway = start(&toml(&[key(KEY, SECRET, "")])).await;
    let host = gateway.address().to_string();
    let now = SystemTime::now();
    let target = signer().presign("GET", "/prod", &[("Host", &host)], 300, now);
    let url = format!("ws://{host}{target}");
    let mut client = Client::connect(&url).await;
    reload(&gateway, &toml(&[key("AKIDNEXT", "next", "")]), "accepted").await;
    assert_eq!(upgrade_status(&url, &[]).await, 403, "the old key is gone");
    let next = Signer::new("AKIDNEXT", "next");
    assert_eq!(by_query(&gateway, &next, "/prod", 60, now).await.status, 101);
    // The same id with another secret: what was derived from the old one is of no use.
    reload(&gateway, &toml(&[key(KEY, "another", "")]), "accepted").await;
    assert_eq!(upgrade_status(&url, &[]).await, 403);
    client.send_text("still here").await;
    assert_eq!(client.next_text().await, "still here");
}

/// One signed management call.
async fn manage(
    gateway: &TestGateway,
    signer: &Signer,
    method: &str,
    target: &str,
) -> HttpResponse {
    let host = gateway.address().to_string();
    let added = signer.sign(method, target, &[("Host", &host)], b"", SystemTime::now());
    let mut headers = vec![("Host", host.as_str())];
    headers.extend(added.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    http_call(&gateway.http_url(), method, target, &headers, b"").await
}

/// The gateway of `toml` whose management API has these keys.
fn managed_by(toml: GatewayToml, keys: &[String]) -> GatewayToml {
    toml.set("management", "auth", r#""sigv4""#).set(
        "management",
        "credentials",
        &format!("[{}]", keys.join(", ")),
    )
}

/// websocket-api, 9.6: `execute-api:ManageConnections`, in each way that policies name it.
#[tokio::test]
async fn a_management_key_does_what_its_policy_says() {
    let allowing = |resource: &str| {
        policy(&json!([{
            "Effect": "Allow", "Action": "execute-api:ManageConnections", "Resource": resource
        }]))
    };
    let on = |tail: &str| allowing(&format!("{STAGE_ARN}/{tail}"));
    let invoke = policy(&json!([{
        "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"
    }]));
    let from_afar = policy(&json!([{
        "Effect": "Allow", "Action": "execute-api:*", "Resource": "*",
        "Condition": { "IpAddress": { "aws:SourceIp": "203.0.113.0/24" } }
    }]));
    let not_delete = policy(&json!([
        { "Effect": "Allow", "Action": "execute-api:*", "Resource": "*" },
        { "Effect": "Deny", "Action": "*", "Resource": format!("{STAGE_ARN}/DELETE/*") }
    ]));
    // Key, policy, and whether it may POST, GET and DELETE.
    let cases = [
        ("AKIDPOST", on("POST/@connections"), [true, false, false]),
        ("AKIDPOSTALL", on("POST/@connections/*"), [true, false, false]),
        ("AKIDGET", on("GET/@connections/*"), [false, true, false]),
        ("AKIDEVERY", on("*/@connections/*"), [true, true, true]),
        ("AKIDSTAGE", on("*"), [true, true, true]),
        ("AKIDDEV", allowing(&STAGE_ARN.replace("prod", "dev/*")), [false; 3]),
        ("AKIDINVOKE", invoke, [false; 3]),
        ("AKIDAFAR", from_afar, [false; 3]),
        ("AKIDKEEP", not_delete, [true, true, false]),
        ("AKIDFREE", String::new(), [true, true, true]),
    ];
    let keys: Vec<_> = cases.iter().map(|(id, policy, _)| key(id, SECRET, policy)).collect();
    let function = FunctionBackend::accepting().await;
    let gateway = start(&managed_by(watched_by(&function).stage("dev"), &keys)).await;
    for (id, _, may) in &cases {
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        let connection = connection_id(&function).await;
        let signer = Signer::new(id, SECRET);
        for spelling in ["@connections", "%40connections"] {
            let target = format!("/prod/{spelling}/{}", connection.replace('=', "%3D"));
            for (method, may) in [("POST", may[0]), ("GET", may[1])] {
                let response = manage(&gateway, &signer, method, &target).await;
                let wanted = if may { 200 } else { 403 };
                assert_eq!(response.status, wanted, "{id} {method} {target}: {response:?}");
                if !may {
                    let told = response.header("x-amzn-errortype");
                    assert_eq!(told, Some("AccessDeniedException"), "{response:?}");
                }
                if may && method == "POST" {
                    assert_eq!(client.next_text().await, "");
                }
            }
        }
        client.ping_pong().await; // nothing else came
        let target = format!("/prod/@connections/{connection}");
        let response = manage(&gateway, &signer, "DELETE", &target).await;
        assert_eq!(response.status, if may[2] { 204 } else { 403 }, "{id}: {response:?}");
        if may[2] {
            assert_eq!(client.next_close().await.0, 1000);
        } else {
            client.ping_pong().await;
        }
    }
}

/// reliability, line 19: a key that may not learns nothing about what there is.
#[tokio::test]
async fn a_management_key_without_leave_learns_nothing() {
    let posts = policy(&json!([{
        "Effect": "Allow", "Action": "execute-api:ManageConnections",
        "Resource": format!("{STAGE_ARN}/POST/@connections")
    }]));
    let function = FunctionBackend::accepting().await;
    let keys = [key(KEY, SECRET, &posts)];
    let gateway = start(&managed_by(watched_by(&function), &keys)).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let there = connection_id(&function).await;
    let mut told = Vec::new();
    for id in [there.as_str(), "L0SM9cOFvHcCIhw=", "malformed"] {
        let target = format!("/prod/@connections/{id}");
        let response = manage(&gateway, &signer(), "GET", &target).await;
        told.push((response.status, response.body));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "there, not there, malformed: {told:?}");
    assert_eq!(told[0].0, 403);
    client.ping_pong().await;
}

/// websocket-api, 11.1 and 11.2: calls have a bucket of their own, and 429 is told in the SDKs'
/// class. Strangers take nothing out of it.
#[tokio::test]
async fn management_calls_are_throttled_after_their_caller_is_known() {
    let function = FunctionBackend::accepting().await;
    let toml = managed_by(watched_by(&function), &[key(KEY, SECRET, "")]).set(
        "management",
        "throttle",
        "{ rate = 0.001, burst = 3 }",
    );
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let target = format!("/prod/@connections/{}", connection_id(&function).await);
    for _ in 0..10 {
        let stranger = Signer::new(KEY, "wrong");
        assert_eq!(manage(&gateway, &stranger, "POST", &target).await.status, 403);
    }
    for _ in 0..3 {
        assert_eq!(manage(&gateway, &signer(), "POST", &target).await.status, 200);
        assert_eq!(client.next_text().await, "");
    }
    for method in ["POST", "GET", "DELETE"] {
        let response = manage(&gateway, &signer(), method, &target).await;
        assert_eq!(response.status, 429, "{response:?}");
        assert_eq!(response.header("x-amzn-errortype"), Some("LimitExceededException"));
    }
    client.ping_pong().await; // neither posted to nor closed
    // Clients have their own: messages and connects go on.
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
}
