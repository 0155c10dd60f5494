//! Who may connect, as a function decides it (websocket-api, section 9 and items 98 to 104, 3.1;
//! tidegate, section 4).
//!
//! In:  upgrades with and without an identity, functions that answer policies.
//! Out: statuses, what the function was told, what later events say of its answer.
//!
//! Holds always: a refused client is really refused (no 101), never merely slow. What such a
//! function may be is in `authorizer_functions`, how it fails in `failing_authorizers`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use serde_json::{Value, json};
use tidegate_testkit::{
    Answer, Client, FunctionAnswer, FunctionBackend, GatewayToml, HttpBackend, refused,
    refused_with,
};

use crate::{
    reloads::reload,
    start, text,
    upgrade::{assert_refusal, upgrade_answer, upgrade_status},
    watched_by,
};

/// The stage of [`GatewayToml`] as policies name it.
pub(crate) const STAGE_ARN: &str = "arn:aws:execute-api:us-east-1:000000000000:test/prod";

/// What an authorizer answers (websocket-api, 9.3): principal `u1` and these statements.
pub(crate) fn answer(statements: &Value) -> Value {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    json!({ "principalId": "u1", "policyDocument": policy })
}

pub(crate) fn statement(effect: &str, resource: &str) -> Value {
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
pub(crate) fn guard(toml: GatewayToml) -> GatewayToml {
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
pub(crate) fn case(event: &Value) -> &str {
    event["queryStringParameters"]["case"].as_str().unwrap_or_default()
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
        assert_eq!(assert_refusal(&response, 401, "UnauthorizedException"), "Unauthorized");
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
    assert_eq!(assert_refusal(&response, 401, "UnauthorizedException"), "Unauthorized");
    for case in ["other", "more", "status", "text", "principal", "policy"] {
        let response = refused(&ask(case)).await;
        assert_eq!(
            assert_refusal(&response, 500, "InternalServerErrorException"),
            "Internal server error"
        );
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
            assert_eq!(assert_refusal(&response, 403, "ForbiddenException"), "Forbidden");
        }
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
