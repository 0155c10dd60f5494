//! Who may connect, as a function decides it (websocket-api, section 9 and items 98 to 104;
//! reliability, lines 14 and 18).
//!
//! In:  upgrades with and without an identity, functions that answer policies and worse.
//! Out: statuses, what the function was told, what later events say of its answer.
//!
//! Holds always: a refused client is really refused (no 101), never merely slow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_testkit::{
    Answer, Client, DEADLINE, FunctionAnswer, FunctionBackend, GatewayToml, HttpBackend,
    HttpResponse, RecordedRequest, Signer, TestGateway, TokenIssuer, TokenKey, http_call, refused,
    refused_with, run_to_end, wait_until,
};

use crate::{GATEWAY, assert_id, start, text, watched_by};

/// The stage of [`GatewayToml`] as policies name it.
pub(crate) const STAGE_ARN: &str = "arn:aws:execute-api:us-east-1:000000000000:test/prod";

/// What an authorizer answers (websocket-api, 9.3): principal `u1` and these statements.
fn answer(statements: &Value) -> Value {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    json!({ "principalId": "u1", "policyDocument": policy })
}

fn statement(effect: &str, resource: &str) -> Value {
    json!({ "Action": "execute-api:Invoke", "Effect": effect, "Resource": resource })
}

/// Lets everybody in.
pub(crate) fn allow() -> Value {
    answer(&json!([statement("Allow", "*")]))
}

/// The api of `toml` with a REQUEST authorizer `guard`, asked at `uri`.
pub(crate) fn guarded_by(toml: GatewayToml, uri: &str) -> GatewayToml {
    guard(toml.function("who", uri)).guard_key("integration", r#""who""#)
}

/// The api of `toml` with a REQUEST authorizer `guard` that lacks its integration.
fn guard(toml: GatewayToml) -> GatewayToml {
    toml.guard_key("type", r#""request""#).route_key("$connect", "authorizer", r#""guard""#)
}

/// Setting keys of `[apis.test.authorizers.guard]`.
pub(crate) trait GuardKey {
    fn guard_key(self, key: &str, value_toml: &str) -> Self;
}

impl GuardKey for GatewayToml {
    fn guard_key(self, key: &str, value_toml: &str) -> Self {
        self.set("apis.test.authorizers.guard", key, value_toml)
    }
}

/// What `?case=` of an authorizer's event says.
fn case(event: &Value) -> &str {
    event["queryStringParameters"]["case"].as_str().unwrap_or_default()
}

/// Asks for an upgrade; the status, 101 for one that is accepted.
pub(crate) async fn upgrade_status(url: &str, headers: &[(&str, &str)]) -> u16 {
    upgrade_answer(url, headers).await.status
}

/// Asks for an upgrade; the whole answer, accepted or not.
pub(crate) async fn upgrade_answer(url: &str, headers: &[(&str, &str)]) -> HttpResponse {
    let mut all = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.extend(headers);
    let target = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    http_call(url, "GET", target.expect("a URL with a path"), &all, b"").await
}

/// An access log of these variables, a bar between them, `requestId` among them.
pub(crate) fn logging(toml: GatewayToml, names: &[&str]) -> GatewayToml {
    let names: Vec<_> = names.iter().map(|name| format!("$context.{name}")).collect();
    let format = names.join("|") + "|$context.eventType";
    let log = format!("{{ path = \"access.log\", format = {} }}", Value::from(format));
    toml.set(r#"apis.test.stages."prod""#, "access_log", &log)
}

/// The first `count` lines about connects of a log by [`logging`], without the event's type.
pub(crate) async fn connect_lines(gateway: &TestGateway, count: usize) -> Vec<String> {
    let read = || {
        let text = std::fs::read_to_string(gateway.file("access.log")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.strip_suffix("|CONNECT"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    wait_until(DEADLINE, "lines of the access log", async || read().len() >= count).await;
    read()
}

/// Gives the gateway another file and waits until it has taken it, or refused it: `outcome` is
/// `accepted` or `refused`.
pub(crate) async fn reload(gateway: &TestGateway, toml: &GatewayToml, outcome: &str) {
    let labels = [("outcome", outcome)];
    let count = async || gateway.metric("tidegate_reloads_total", &labels).await;
    let before = count().await;
    gateway.reload(&toml.build()).await;
    wait_until(DEADLINE, "the reload", async || count().await == before + 1.0).await;
}

/// The answer in the form of websocket-api, 3.2: status, class, and the message's text.
fn assert_refusal(response: &HttpResponse, status: u16, error_type: &str, message: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some(error_type), "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json();
    assert_eq!(body["message"], message, "{response:?}");
    assert_id(text(&body["connectionId"]));
    assert_eq!(response.header("x-amzn-requestid"), body["requestId"].as_str());
}

/// websocket-api, item 98 and 9.1: each source must be there and not empty, or nobody is asked.
#[tokio::test]
async fn without_its_identity_a_client_is_answered_401_and_the_function_is_not_asked() {
    let who = FunctionBackend::start(|_| allow()).await;
    let sources = r#"["route.request.header.X-Who", "route.request.querystring.token",
        "stageVariables.realm", "context.identity.sourceIp"]"#;
    let toml = guarded_by(GatewayToml::new(), &who.url())
        .guard_key("identity_source", &sources.replace('\n', ""))
        .variable("realm", "test");
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    let there = [("x-who", "me")];
    for (query, headers) in [
        ("", &[][..]),
        ("?token=t", &[]),
        ("", &there),
        ("?token=", &there),
        ("?Token=t", &there),
        ("?token=t", &[("X-Who", "")]),
    ] {
        let response = refused_with(&format!("{url}{query}"), headers, &[]).await;
        assert_refusal(&response, 401, "UnauthorizedException", "Unauthorized");
    }
    assert_eq!(who.http().count(), 0, "nobody was asked");
    Client::connect_with(&format!("{url}?token=t"), &there, &[]).await.ping_pong().await;
    assert_eq!(who.http().count(), 1);
    let outcome = [("api", "test"), ("stage", "prod"), ("outcome", "unauthorized")];
    assert_eq!(gateway.metric("tidegate_connect_total", &outcome).await, 6.0);
    // A stage that lacks the variable lets nobody in.
    let without = toml.unset(r#"apis.test.stages."prod".variables"#, "realm");
    reload(&gateway, &without, "accepted").await;
    assert_eq!(upgrade_status(&format!("{url}?token=t"), &there).await, 401);
    assert_eq!(who.http().count(), 1);
}

/// websocket-api, 9.1: an empty list means that the function is always asked.
#[tokio::test]
async fn without_an_identity_source_the_function_is_always_asked() {
    let who = FunctionBackend::start(|_| allow()).await;
    let gateway = start(&guarded_by(GatewayToml::new(), &who.url())).await;
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
    assert_eq!(who.http().count(), 1);
    // Each connection is authorized by itself: nothing is remembered.
    Client::connect(&gateway.ws_url("prod")).await.ping_pong().await;
    assert_eq!(who.http().count(), 2);
}

/// websocket-api, items 99 and 101, and 9.5.
#[tokio::test]
async fn the_functions_answer_decides_the_status() {
    let who = FunctionBackend::start(|event| -> FunctionAnswer {
        let thrown = |message: &str| {
            let body = json!({ "errorMessage": message, "errorType": "Error" }).to_string();
            Answer::status(500).body(body).into()
        };
        let without = |key: &str| {
            let mut answer = allow();
            answer.as_object_mut().expect("an object").remove(key);
            answer.into()
        };
        match case(&event) {
            "unauthorized" => thrown("Unauthorized"),
            "other" => thrown("unauthorized"),
            "more" => thrown("Unauthorized: no token"),
            "status" => json!({ "statusCode": 401 }).into(),
            "text" => FunctionAnswer::raw("Unauthorized"),
            "principal" => without("principalId"),
            "policy" => without("policyDocument"),
            _ => allow().into(),
        }
    })
    .await;
    let gateway = start(&guarded_by(GatewayToml::new(), &who.url())).await;
    let ask = |case: &str| format!("{}?case={case}", gateway.ws_url("prod"));
    let response = refused(&ask("unauthorized")).await;
    assert_refusal(&response, 401, "UnauthorizedException", "Unauthorized");
    for case in ["other", "more", "status", "text", "principal", "policy"] {
        let response = refused(&ask(case)).await;
        assert_refusal(&response, 500, "InternalServerErrorException", "Internal server error");
    }
    Client::connect(&ask("good")).await.ping_pong().await;
    let outcome = |outcome| [("api", "test"), ("stage", "prod"), ("outcome", outcome)];
    let count = async |name| gateway.metric("tidegate_connect_total", &outcome(name)).await;
    assert_eq!(count("unauthorized").await, 1.0);
    assert_eq!(count("authorizer_error").await, 6.0);
    assert_eq!(count("accepted").await, 1.0);
}

/// websocket-api, item 100 and 9.4.
#[tokio::test]
async fn the_policy_decides_about_connect_of_this_stage() {
    let arn = |tail: &str| format!("{STAGE_ARN}{tail}");
    let with = |member: &str, value: Value| {
        let mut one = statement("Allow", "*");
        one[member] = value;
        json!([one])
    };
    let source = |range: &str| with("Condition", json!({ "IpAddress": { "aws:SourceIp": range } }));
    let allowing = |resource: &str| json!([statement("Allow", resource)]);
    let cases = [
        (101, allowing("*")),
        (101, allowing(&arn("/*"))),
        (101, allowing(&arn("/$connect"))),
        (101, allowing(&arn("/$connec?"))),
        (101, allowing("arn:aws:execute-api:*:*:test/*/$connect")),
        (403, allowing(&arn("/*/*"))),
        (403, allowing(&arn("/$disconnect"))),
        (403, allowing(&arn(""))),
        (403, allowing(&arn("/$connect/"))),
        (403, allowing(&arn("/$CONNECT"))),
        (403, allowing("arn:aws:execute-api:us-east-1:000000000000:test/other/$connect")),
        (403, allowing("arn:aws:execute-api:us-east-1:000000000001:test/prod/$connect")),
        (403, json!([])),
        (403, json!([statement("Deny", "*")])),
        (403, json!([statement("Allow", "*"), statement("Deny", &arn("/$connect"))])),
        (403, json!([statement("Deny", &arn("/*")), statement("Allow", "*")])),
        (101, json!([statement("Allow", "*"), statement("Deny", &arn("/other"))])),
        (101, with("Action", json!("execute-api:*"))),
        (101, with("Action", json!(["s3:GetObject", "execute-api:invoke"]))),
        (403, with("Action", json!("execute-api:ManageConnections"))),
        (101, with("Resource", json!(["arn:aws:s3:::x", arn("/$connect")]))),
        (101, source("127.0.0.0/8")),
        (403, source("10.0.0.0/8")),
    ];
    let statements = cases.clone().map(|(_, statements)| statements);
    let who = FunctionBackend::start(move |event| {
        answer(&statements[case(&event).parse::<usize>().expect("a case")])
    })
    .await;
    let gateway = start(&guarded_by(GatewayToml::new(), &who.url())).await;
    for (index, (status, statements)) in cases.iter().enumerate() {
        let url = format!("{}?case={index}", gateway.ws_url("prod"));
        let response = upgrade_answer(&url, &[]).await;
        assert_eq!(response.status, *status, "{statements}");
        if *status == 403 {
            assert_refusal(&response, 403, "ForbiddenException", "Forbidden");
        }
    }
}

/// What goes wrong with functions that should decide. Each must let nobody in.
fn broken(index: usize) -> FunctionAnswer {
    let with = |key: &str, value: Value| -> FunctionAnswer {
        let mut answer = allow();
        answer[key] = value;
        answer.into()
    };
    let policy = |value: Value| with("policyDocument", value);
    match index % 24 {
        0 => FunctionAnswer::error(),
        1 => FunctionAnswer::stall(),
        2 => Answer::cut().into(),
        3 => FunctionAnswer::raw(""),
        4 => FunctionAnswer::raw("null"),
        5 => FunctionAnswer::raw("true"),
        6 => FunctionAnswer::raw("\"Allow\""),
        7 => FunctionAnswer::raw(json!([allow()]).to_string()),
        8 => FunctionAnswer::raw(allow().to_string() + "}"),
        9 => {
            let text = allow().to_string();
            FunctionAnswer::raw(text[..text.len() - 1].to_owned())
        }
        10 => FunctionAnswer::raw(json!({ "statusCode": 200, "body": allow() }).to_string()),
        11 => Answer::status(201).body(allow().to_string()).into(),
        12 => Answer::status(302).header("Location", "/function").into(),
        13 => with("principalId", json!({})),
        14 => policy(json!("Allow")),
        15 => policy(json!({ "Version": "2012-10-17" })),
        16 => policy(json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow" }] })),
        17 => policy(json!({ "Version": "2012-10-17", "Statement": [statement("allow", "*")] })),
        18 => policy(json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*",
            "Condition": { "Whenever": { "aws:SourceIp": "127.0.0.1" } }
        }] })),
        19 => with("context", json!({ "nested": {} })),
        20 => with("context", json!({ "list": [1] })),
        21 => with("context", json!({ "large": "x".repeat(9000) })),
        22 => FunctionAnswer::raw(vec![0xff; 64]),
        _ => FunctionAnswer::raw("{}"),
    }
}

/// reliability, line 14: an authorizer that errs, hangs or answers nonsense, 1,000 of 1,000.
#[tokio::test]
async fn an_authorizer_that_does_not_work_admits_nobody_in_a_thousand() {
    let asked = AtomicUsize::new(0);
    let who = FunctionBackend::start(move |_| broken(asked.fetch_add(1, SeqCst))).await;
    let function = FunctionBackend::accepting().await;
    let toml = guarded_by(watched_by(&function), &who.url())
        .guard_key("timeout_ms", "100")
        .route("$default", "watcher");
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    let statuses: Vec<u16> = stream::iter(0..1000)
        .map(|_| upgrade_status(&url, &[]))
        .buffer_unordered(32)
        .collect()
        .await;
    assert_eq!(statuses.len(), 1000);
    let odd = statuses.iter().find(|status| **status != 500);
    assert_eq!(odd, None, "all are the authorizer's failure");
    assert_eq!(who.http().count(), 1000, "each was really asked about, once");
    assert_eq!(function.http().count(), 0, "no $connect ran, no $disconnect");
    assert_eq!(gateway.metric("tidegate_connections", &[]).await, 0.0);
    // Strangers cause these by the thousand; the log has one line a second at most.
    let warned = gateway.logs();
    let warned = warned.iter().filter(|l| l["fields"]["message"] == "authorizer failed").count();
    assert!((1..=60).contains(&warned), "{warned} warnings");
}

/// reliability, line 14: nobody there, a name that does not resolve, a socket that is not.
#[tokio::test]
async fn an_authorizer_that_is_not_there_admits_nobody() {
    for uri in ["http://127.0.0.1:1/", "http://tidegate-authorizer.invalid/", "unix:/absent.sock:/"]
    {
        let gateway = start(&guarded_by(GatewayToml::new(), uri)).await;
        for _ in 0..5 {
            assert_eq!(upgrade_status(&gateway.ws_url("prod"), &[]).await, 500, "{uri}");
        }
    }
}

/// websocket-api, 9.5: a call ends at the authorizer's own time limit.
#[tokio::test]
async fn an_authorizer_that_hangs_is_given_up_at_its_timeout() {
    let who = FunctionBackend::start(|_| FunctionAnswer::stall()).await;
    let toml = guarded_by(GatewayToml::new(), &who.url()).guard_key("timeout_ms", "300");
    let gateway = start(&toml).await;
    let began = std::time::Instant::now();
    let response = refused(&gateway.ws_url("prod")).await;
    let took = began.elapsed();
    assert_refusal(&response, 500, "InternalServerErrorException", "Internal server error");
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// reliability, line 14: an authorizer that is not configured is a problem of the file, at the
/// start and at a reload, which keeps the guard that was.
#[tokio::test]
async fn an_authorizer_that_is_not_configured_stops_the_file() {
    let who = FunctionBackend::start(|_| answer(&json!([statement("Deny", "*")]))).await;
    let good = guarded_by(GatewayToml::new(), &who.url());
    let bad = [
        good.clone().route_key("$connect", "authorizer", r#""gaurd""#),
        good.clone().guard_key("integration", r#""nobody""#),
        good.clone().unset("apis.test.authorizers.guard", "integration"),
        good.clone().unset("apis.test.authorizers.guard", "type"),
        good.clone().guard_key("identity_source", r#"["route.request.body.token"]"#),
        // Not a function: its answer could be no policy.
        good.clone().echo("who"),
        good.clone().integration("who", "uri", r#""http://${stageVariables.absent}/""#),
    ];
    let gateway = start(&good).await;
    for toml in bad {
        let text = toml.build();
        let ended = run_to_end(GATEWAY, &["run", "gateway.toml"], &text).await;
        assert_eq!(ended.status.code(), Some(64), "{text}\n{}", ended.stderr);
        reload(&gateway, &toml, "refused").await;
        assert_eq!(upgrade_status(&gateway.ws_url("prod"), &[]).await, 403, "{text}");
    }
}

/// websocket-api, item 102 and 9.3.
#[tokio::test]
async fn the_authorizers_context_is_text_in_all_three_events() {
    let who = FunctionBackend::start(|_| {
        let mut answer = allow();
        answer["context"] = json!({
            "text": "t", "number": 1, "fraction": 1.5, "yes": true, "empty": "",
            "principalId": "somebody else", "integrationLatency": "none"
        });
        answer
    })
    .await;
    let function = FunctionBackend::accepting().await;
    let toml = guarded_by(watched_by(&function), &who.url()).two_way("$default", "watcher");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("hello").await;
    client.next_text().await;
    client.close(1000, "").await;
    for kind in ["CONNECT", "MESSAGE", "DISCONNECT"] {
        let event = function.next_event(kind).await;
        let mut authorizer = event["requestContext"]["authorizer"].clone();
        let latency = authorizer.as_object_mut().expect("an object").remove("integrationLatency");
        assert!(latency.as_ref().is_some_and(Value::is_u64), "{kind}: {event}");
        let wanted = json!({
            "principalId": "u1", "text": "t", "number": "1", "fraction": "1.5", "yes": "true",
            "empty": ""
        });
        assert_eq!(authorizer, wanted, "{kind}");
    }
}

/// websocket-api, item 103 and 9.2.
#[tokio::test]
async fn the_authorizers_event_has_the_method_arn_and_the_hop_headers() {
    let who = FunctionBackend::start(|_| allow()).await;
    let function = FunctionBackend::accepting().await;
    let gateway = start(&guarded_by(watched_by(&function), &who.url())).await;
    let headers = [
        ("Host", "test.localhost"),
        ("X-Own", "1"),
        ("X-Own", "2"),
        ("Tidegate-Principal-Id", "root"),
    ];
    let url = gateway.ws_url("prod") + "?token=abc&token=d%20e";
    let mut client = Client::connect_with(&url, &headers, &[]).await;
    client.ping_pong().await;
    let event = who.next_event("CONNECT").await;
    assert_eq!(event["type"], "REQUEST");
    assert_eq!(event["methodArn"], format!("{STAGE_ARN}/$connect"));
    let header = |name: &str| {
        let headers = event["headers"].as_object().expect("headers");
        let found = headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| text(value).to_owned())
    };
    assert_eq!(header("Upgrade").as_deref(), Some("websocket"));
    assert_eq!(header("Connection").as_deref(), Some("Upgrade"));
    assert_eq!(header("content-length").as_deref(), Some("0"));
    assert_eq!(header("X-Own").as_deref(), Some("2"));
    assert!(header("X-Forwarded-For").is_some());
    assert_eq!(header("Tidegate-Principal-Id"), None, "what only the gateway may say");
    let both = &event["multiValueHeaders"];
    assert_eq!(
        both["X-Own"].as_array().or(both["x-own"].as_array()),
        Some(&vec!["1".into(), "2".into()])
    );
    assert_eq!(event["queryStringParameters"], json!({ "token": "d e" }));
    assert_eq!(event["multiValueQueryStringParameters"], json!({ "token": ["abc", "d e"] }));
    assert_eq!(event["stageVariables"], json!({}));
    for absent in ["version", "resource", "path", "httpMethod", "authorizationToken", "body"] {
        assert!(event.get(absent).is_none(), "{absent}: {event}");
    }
    let context = &event["requestContext"];
    assert_eq!((&context["routeKey"], &context["stage"]), (&json!("$connect"), &json!("prod")));
    assert_eq!(context["domainName"], "test.localhost");
    // The same connection as the integration's.
    let connect = function.next_event("CONNECT").await;
    assert_eq!(context["connectionId"], connect["requestContext"]["connectionId"]);
    assert!(connect["headers"].get("Upgrade").is_none(), "{connect}");
}

/// websocket-api, item 104: the policy is about $connect only.
#[tokio::test]
async fn a_deny_on_a_custom_route_does_not_block_its_messages() {
    let who = FunctionBackend::start(|_| {
        let route = format!("{STAGE_ARN}/send");
        answer(&json!([statement("Allow", "*"), statement("Deny", &route)]))
    })
    .await;
    let toml = guarded_by(GatewayToml::new().echo("echo").two_way("send", "echo"), &who.url());
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"action":"send"}"#).await;
    assert_eq!(client.next_text().await, r#"{"action":"send"}"#);
}

/// The four answers that an authorizer may give, as each form of function gives them.
async fn assert_form_decides(form: &str, gateway: &TestGateway) {
    for (case, status) in [("allow", 101), ("deny", 403), ("unauthorized", 401), ("boom", 500)] {
        let url = format!("{}?case={case}", gateway.ws_url("prod"));
        assert_eq!(upgrade_status(&url, &[]).await, status, "{form}: {case}");
    }
}

/// websocket-api, 9.5, and clients, section 6: a stand-in for Lambda's Invoke API.
#[tokio::test]
async fn a_lambda_function_decides_by_its_answer() {
    let lambda = HttpBackend::start(|request: RecordedRequest| {
        let thrown = |message: &str| {
            let body = json!({ "errorMessage": message, "errorType": "Error" }).to_string();
            Answer::body_of(body).header("X-Amz-Function-Error", "Unhandled")
        };
        let event = request.json();
        std::future::ready(match case(&event) {
            "allow" => Answer::body_of(allow().to_string()),
            "deny" => Answer::body_of(answer(&json!([statement("Deny", "*")])).to_string()),
            "unauthorized" => thrown("Unauthorized"),
            "absent" => Answer::status(404)
                .header("x-amzn-ErrorType", "ResourceNotFoundException")
                .body(r#"{"Message":"no such function"}"#),
            "throttled" => Answer::status(429)
                .header("x-amzn-ErrorType", "TooManyRequestsException")
                .body(r#"{"Message":"Rate exceeded"}"#),
            "forbidden" => Answer::status(403)
                .header("x-amzn-ErrorType", "AccessDeniedException")
                .body(r#"{"Message":"no"}"#),
            _ => thrown("boom"),
        })
    })
    .await;
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:who:live";
    let toml = guarded_by(GatewayToml::new(), arn)
        .set("aws.endpoints", "lambda", &format!("{:?}", lambda.url()))
        .set("aws.credentials.default", "access_key_id", r#""AKIDEXAMPLE""#)
        .set("aws.credentials.default", "secret_access_key", r#""secret""#);
    let gateway = start(&toml).await;
    assert_form_decides("lambda", &gateway).await;
    for case in ["absent", "throttled", "forbidden"] {
        let url = format!("{}?case={case}", gateway.ws_url("prod"));
        let status = upgrade_status(&url, &[]).await;
        assert_eq!(status, 500, "whoever cannot be asked admits nobody: {case}");
    }
    let request = lambda.next_request().await;
    let path = request.path.replace("%3A", ":");
    let function = "arn:aws:lambda:us-east-1:000000000000:function:who";
    assert_eq!(path, format!("/2015-03-31/functions/{function}/invocations"));
    assert_eq!(request.query.as_deref(), Some("Qualifier=live"));
    let signed = request.header("authorization").expect("a signature");
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signed}");
}

/// A Lambda runtime client and an authorizer in one, without any library.
const LOCAL_AUTHORIZER: &str = r#"
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
base = "/2018-06-01/runtime/invocation/"
while True:
    api.request("GET", base + "next")
    answer = api.getresponse()
    event = json.loads(answer.read())
    place = base + answer.headers["Lambda-Runtime-Aws-Request-Id"]
    case = event["queryStringParameters"].get("case")
    if case in ("allow", "deny"):
        result = {"principalId": "u1", "context": {"pid": os.getpid()}, "policyDocument": {
            "Version": "2012-10-17", "Statement": [{"Action": "execute-api:Invoke",
            "Effect": case.capitalize(), "Resource": event["methodArn"]}]}}
        api.request("POST", place + "/response", json.dumps(result))
    elif case == "exit":
        os._exit(1)
    else:
        error = {"errorMessage": case.capitalize(), "errorType": "Exception"}
        api.request("POST", place + "/error", json.dumps(error))
    api.getresponse().read()
"#;

/// tidegate, section 4: a local function decides; one that ends in the middle admits nobody, and
/// the next client finds a worker again.
#[tokio::test]
async fn a_local_function_decides_by_its_answer() {
    let folder = TempDir::with_prefix("tidegate-authorizer-").expect("a folder");
    std::fs::write(folder.path().join("who.py"), LOCAL_AUTHORIZER).expect("a file of ours");
    let directory = Value::from(folder.path().to_str().expect("UTF-8")).to_string();
    let function = FunctionBackend::accepting().await;
    let toml = guard(watched_by(&function))
        .guard_key("integration", r#""who""#)
        .integration("who", "type", r#""aws_proxy""#)
        .integration("who", "function", r#""who""#)
        .set("functions.who", "command", r#"["python3", "who.py"]"#)
        .set("functions.who", "directory", &directory);
    let gateway = start(&toml).await;
    assert_form_decides("local", &gateway).await;
    let event = function.next_event("CONNECT").await;
    let pid = &event["requestContext"]["authorizer"]["pid"];
    assert!(pid.as_str().is_some_and(|pid| pid.parse::<u32>().is_ok()), "{event}");
    let ask = |case: &str| format!("{}?case={case}", gateway.ws_url("prod"));
    assert_eq!(upgrade_status(&ask("exit"), &[]).await, 500);
    wait_until(DEADLINE, "a worker that decides again", async || {
        upgrade_status(&ask("allow"), &[]).await == 101
    })
    .await;
}

/// tidegate, section 4: a web server is a function.
#[tokio::test]
async fn a_web_server_decides_by_its_answer() {
    let who = FunctionBackend::start(|event| -> FunctionAnswer {
        match case(&event) {
            "allow" => allow().into(),
            "deny" => answer(&json!([statement("Deny", "*")])).into(),
            "unauthorized" => Answer::status(500).body(r#"{"errorMessage":"Unauthorized"}"#).into(),
            _ => FunctionAnswer::error(),
        }
    })
    .await;
    let gateway = start(&guarded_by(GatewayToml::new(), &who.url())).await;
    assert_form_decides("web server", &gateway).await;
}

/// websocket-api, 9.1: "Changing the authorizer does not affect open connections".
#[tokio::test]
async fn an_open_connection_outlives_a_change_of_its_authorizer() {
    let who = FunctionBackend::start(|_| allow()).await;
    let function = FunctionBackend::accepting().await;
    let toml = guarded_by(watched_by(&function), &who.url()).two_way("$default", "watcher");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let strict = FunctionBackend::start(|_| answer(&json!([statement("Deny", "*")]))).await;
    reload(&gateway, &guarded_by(toml, &strict.url()), "accepted").await;
    assert_eq!(upgrade_status(&gateway.ws_url("prod"), &[]).await, 403, "the new one decides");
    client.send_text("still here").await;
    client.next_text().await;
    let event = function.next_event("MESSAGE").await;
    assert_eq!(event["requestContext"]["authorizer"]["principalId"], "u1", "as it was let in");
    client.close(1000, "").await;
    let event = function.next_event("DISCONNECT").await;
    assert_eq!(event["requestContext"]["authorizer"]["principalId"], "u1");
}

/// tidegate, section 4: HTTP backends read who it is in a header that no client can set.
#[tokio::test]
async fn backends_read_the_principal_in_a_header_that_no_client_can_set() {
    let who = FunctionBackend::start(|_| allow()).await;
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let routes = GatewayToml::new()
        .http_proxy("backend", &backend.url())
        .route("$connect", "backend")
        .two_way("$default", "backend");
    let open = start(&routes).await;
    let forged = [("Tidegate-Principal-Id", "root"), ("tidegate-principal-id", "admin")];
    let mut client = Client::connect_with(&open.ws_url("prod"), &forged, &[]).await;
    client.send_text("hello").await;
    client.next_text().await;
    for request in backend.wait_for_requests(2).await {
        assert_eq!(request.header("tidegate-principal-id"), None, "{request:?}");
    }
    let guarded = start(&guarded_by(routes, &who.url())).await;
    let mut client = Client::connect_with(&guarded.ws_url("prod"), &forged, &[]).await;
    client.send_text("hello").await;
    client.next_text().await;
    for request in &backend.wait_for_requests(4).await[2..] {
        let sent: Vec<_> = request
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("tidegate-principal-id"))
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(sent, ["u1"]);
    }
}

/// websocket-api, 13.1: what the access log says of an authorizer and its refusals.
#[tokio::test]
async fn the_access_log_tells_how_the_authorizer_decided() {
    let who = FunctionBackend::start(|event| -> FunctionAnswer {
        let mut good = allow();
        good["context"] = json!({ "tier": "gold" });
        match case(&event) {
            "allow" => good.into(),
            "deny" => answer(&json!([statement("Deny", "*")])).into(),
            _ => FunctionAnswer::error(),
        }
    })
    .await;
    let names = [
        "requestId",
        "status",
        "authorizer.principalId",
        "authorizer.tier",
        "authorizer.status",
        "authorizer.integrationStatus",
        "authorizer.latency",
        "authorizer.integrationLatency",
        "authorizer.error",
        "authorize.status",
        "authorize.error",
        "error.message",
        "error.responseType",
    ];
    let toml = guarded_by(GatewayToml::new(), &who.url())
        .guard_key("identity_source", r#"["route.request.querystring.case"]"#);
    let gateway = start(&logging(toml, &names)).await;
    let url = gateway.ws_url("prod");
    for query in ["?case=allow", "?case=deny", "?case=boom", ""] {
        upgrade_status(&format!("{url}{query}"), &[]).await;
    }
    let lines = connect_lines(&gateway, 4).await;
    let parsed: Vec<Vec<&str>> = lines.iter().map(|line| line.split('|').collect()).collect();
    let value = |line: usize, name: &str| {
        parsed[line][names.iter().position(|own| *own == name).expect("a name of the format")]
    };
    let numbers = |line: usize, name: &str| value(line, name).parse::<u64>().is_ok();
    for (line, status) in ["200", "403", "500", "401"].into_iter().enumerate() {
        assert_eq!(value(line, "status"), status, "{lines:?}");
        assert_eq!(value(line, "authorizer.status"), status, "{lines:?}");
        assert!(numbers(line, "authorizer.latency"), "{lines:?}");
        assert_eq!(value(line, "authorizer.error") == "-", line == 0, "{lines:?}");
        assert_eq!(value(line, "authorize.status"), status, "{lines:?}");
        assert_eq!(value(line, "authorize.error"), value(line, "authorizer.error"));
    }
    assert_eq!(value(0, "authorizer.principalId"), "u1");
    assert_eq!(value(0, "authorizer.tier"), "gold");
    assert_eq!(value(0, "authorizer.integrationStatus"), "200");
    assert!(numbers(0, "authorizer.integrationLatency"));
    assert_eq!(value(0, "error.responseType"), "-");
    for (line, message, kind) in [
        (1, "Forbidden", "ACCESS_DENIED"),
        (2, "Internal server error", "AUTHORIZER_FAILURE"),
        (3, "Unauthorized", "UNAUTHORIZED"),
    ] {
        assert_eq!(value(line, "authorizer.principalId"), "-", "{lines:?}");
        assert_eq!(value(line, "error.message"), message);
        assert_eq!(value(line, "error.responseType"), kind);
    }
}

/// websocket-api, 3.1: throttle, then key, then authorizer, then the authorizer's key, then
/// declared parameters, then $connect. Whoever fails several is told of the first.
#[tokio::test]
async fn checks_run_in_their_order_and_the_first_failure_is_told() {
    let decided = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&decided);
    let who = FunctionBackend::start(move |event| {
        count.fetch_add(1, SeqCst);
        match case(&event) {
            "deny" => answer(&json!([statement("Deny", "*")])),
            _ => allow(),
        }
    })
    .await;
    let function = FunctionBackend::accepting().await;
    let key = "key-of-twenty-characters";
    let toml = guarded_by(watched_by(&function), &who.url())
        .guard_key("identity_source", r#"["route.request.querystring.case"]"#)
        .route_key("$connect", "api_key_required", "true")
        .route_key("$connect", "throttle", "{ rate = 0.001, burst = 4 }")
        .set(
            r#"apis.test.routes."$connect".request_parameters"#,
            "route.request.header.X-Needed",
            "{ required = true }",
        )
        .set("api_keys.k", "value", &format!("{key:?}"))
        .set("usage_plans.p", "api_keys", r#"["k"]"#)
        .set("usage_plans.p", "stages", r#"["test/prod"]"#);
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    let has_key = ("X-Api-Key", key);
    let asked = || decided.load(SeqCst);
    // Four tokens: no key, no identity, a deny, no parameter.
    assert_eq!(upgrade_status(&url, &[]).await, 403, "the key before the identity");
    assert_eq!(asked(), 0);
    assert_eq!(upgrade_status(&url, &[has_key]).await, 401, "the identity before the parameter");
    assert_eq!(asked(), 0);
    assert_eq!(upgrade_status(&format!("{url}?case=deny"), &[has_key]).await, 403);
    assert_eq!(asked(), 1, "the authorizer before the parameter");
    assert_eq!(upgrade_status(&format!("{url}?case=allow"), &[has_key]).await, 400);
    assert_eq!(asked(), 2);
    assert_eq!(function.http().count(), 0, "$connect comes last");
    assert_eq!(upgrade_status(&url, &[]).await, 429, "the throttle before everything");
    assert_eq!(asked(), 2);
}

/// reliability, line 18, for all that says who somebody is: what clients bring, what authorizers
/// answer, what is configured.
#[tokio::test]
async fn nothing_that_lets_somebody_in_is_in_logs_metrics_or_error_bodies() {
    let key = TokenKey::new("k1");
    let issuer = TokenIssuer::start(&[&key]).await;
    let who = FunctionBackend::start(|event| -> FunctionAnswer {
        let mut good = allow();
        good["context"] = json!({ "session": "context-of-the-client" });
        good["usageIdentifierKey"] = json!("api-key-of-the-authorizer");
        match case(&event) {
            "allow" => good.into(),
            "deny" => answer(&json!([statement("Deny", "token-of-the-policy")])).into(),
            "nonsense" => FunctionAnswer::raw(r#"{"token":"token-of-the-answer"}"#),
            _ => Answer::status(500)
                .body(r#"{"errorMessage":"token-of-the-error","errorType":"token-of-the-type x"}"#)
                .into(),
        }
    })
    .await;
    let log = r#"{ path = "access.log", format = "$context.requestId $context.status $context.identity.apiKey $context.identity.apiKeyId $context.authorizer.error $context.authorize.error $context.authenticate.error $context.error.message $context.identity.user" }"#;
    let base = GatewayToml::new()
        .set(r#"apis.test.stages."prod""#, "access_log", log)
        .set("api_keys.named", "value", r#""api-key-of-the-authorizer""#)
        .set("usage_plans.p", "api_keys", r#"["named"]"#)
        .set("usage_plans.p", "stages", r#"["test/prod"]"#);
    let asked = guarded_by(base.clone(), &who.url())
        .guard_key("identity_source", r#"["route.request.querystring.token"]"#)
        .api("api_key_selection_expression", r#""$context.authorizer.usageIdentifierKey""#)
        .route_key("$connect", "api_key_required", "true");
    let by_token = base
        .clone()
        .guard_key("type", r#""jwt""#)
        .guard_key("issuer", &format!("{:?}", issuer.url()))
        .guard_key("audiences", r#"["chat"]"#)
        .guard_key("token_source", r#"["route.request.header.Authorization", "subprotocol"]"#)
        .route_key("$connect", "authorizer", r#""guard""#);
    let signed = base
        .guard_key("type", r#""iam""#)
        .guard_key(
            "credentials",
            r#"[{ access_key_id = "AKID", secret_access_key = "secret-of-the-key", session_token = "session-of-the-key" }]"#,
        )
        .route_key("$connect", "authorizer", r#""guard""#);
    let environment = [("TIDEGATE_LOG", "trace")];
    let cookie = ("Cookie", "session=cookie-of-the-client");
    let mut told = Vec::new();
    let mut secrets = vec!["-of-the-".to_owned()];
    let mut end = async |gateway: TestGateway, mut bodies: Vec<String>| {
        let log = std::fs::read_to_string(gateway.file("access.log")).expect("an access log");
        assert!(!log.is_empty());
        bodies.push(log);
        bodies.push(gateway.metrics().await);
        bodies.push(gateway.terminate(DEADLINE).await.stderr);
        told.extend(bodies);
    };

    let gateway = TestGateway::start_with(GATEWAY, &asked.build(), &environment).await;
    let url = gateway.ws_url("prod");
    let mut bodies = Vec::new();
    for (case, status) in [("allow", 101), ("deny", 403), ("nonsense", 500), ("boom", 500)] {
        let url = format!("{url}?case={case}&token=token-of-the-client");
        let response = upgrade_answer(&url, &[cookie, ("X-Api-Key", "key-of-the-client")]).await;
        assert_eq!(response.status, status, "{case}");
        bodies.push(format!("{response:?}"));
    }
    end(gateway, bodies).await;

    let gateway = TestGateway::start_with(GATEWAY, &by_token.build(), &environment).await;
    let url = gateway.ws_url("prod");
    let mut bodies = Vec::new();
    let mut foreign = issuer.claims(60);
    foreign["aud"] = json!("other");
    let stranger = TokenKey::new("k1");
    for (token, status) in [
        (key.sign(&issuer.claims(60)), 101),
        (key.sign(&foreign), 403),
        (key.sign(&issuer.claims(-600)), 403),
        (stranger.sign(&issuer.claims(60)), 403),
        ("not-a-token-of-the-client".to_owned(), 403),
    ] {
        let bearer = format!("Bearer {token}");
        let response = upgrade_answer(&url, &[cookie, ("Authorization", &bearer)]).await;
        assert_eq!(response.status, status);
        bodies.push(format!("{response:?}"));
        let offer = format!("chat, bearer.{token}");
        let response = upgrade_answer(&url, &[cookie, ("Sec-WebSocket-Protocol", &offer)]).await;
        assert_eq!(response.status, status);
        bodies.push(format!("{response:?}"));
        // Each part by itself, too.
        secrets.extend(token.split('.').map(str::to_owned));
    }
    end(gateway, bodies).await;

    let gateway = TestGateway::start_with(GATEWAY, &signed.build(), &environment).await;
    let host = gateway.address().to_string();
    let mut bodies = Vec::new();
    for (secret, token, status) in [
        ("secret-of-the-key", "session-of-the-key", 101),
        ("secret-of-the-key", "session-of-the-client", 403),
        ("secret-of-the-client", "session-of-the-key", 403),
    ] {
        let signer =
            Signer { session_token: Some(token.to_owned()), ..Signer::new("AKID", secret) };
        let now = std::time::SystemTime::now();
        let target = signer.presign("GET", "/prod", &[("Host", &host)], 60, now);
        let signature = target.rsplit('=').next().expect("a signature").to_owned();
        let url = format!("ws://{host}{target}");
        let response = upgrade_answer(&url, &[cookie]).await;
        assert_eq!(response.status, status, "{secret} {token}");
        bodies.push(format!("{response:?}"));
        secrets.push(signature);
    }
    end(gateway, bodies).await;

    for secret in &secrets {
        for text in &told {
            let found = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(found, None, "{secret}");
        }
    }
}
