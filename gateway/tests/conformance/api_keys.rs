//! API keys and usage plans (websocket-api, 11.3 and items 116 and 117).
//!
//! In:  upgrades with keys in the header, or whose authorizer names one.
//! Out: 101, 403 or 429; whose key it was, in events and the access log.
//!
//! Holds always: periods are far longer than a test, except where the clock is asked at both ends.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tidegate_testkit::{
    Client, DEADLINE, FunctionAnswer, FunctionBackend, GatewayToml, TestGateway, run_to_end,
    wait_until,
};

use crate::{
    GATEWAY,
    authorizers::{GuardKey, allow, guarded_by},
    reloads::reload,
    start,
    upgrade::{upgrade_answer, upgrade_status},
    watched_by,
};

const ALICE: &str = "alices-key-of-20-or-more";
const BOB: &str = "bobs-key-of-20-or-more-1";

/// An api whose `$connect` wants a key, with Alice's and Bob's in plan `plan` of stage `prod`.
fn keyed(toml: GatewayToml) -> GatewayToml {
    toml.route_key("$connect", "api_key_required", "true")
        .set("api_keys.alice", "value", &format!("{ALICE:?}"))
        .set("api_keys.bob", "value", &format!("{BOB:?}"))
        .set("usage_plans.plan", "api_keys", r#"["alice", "bob"]"#)
        .set("usage_plans.plan", "stages", r#"["test/prod"]"#)
}

async fn status_with(gateway: &TestGateway, stage: &str, key: &str) -> u16 {
    upgrade_status(&gateway.ws_url(stage), &[("x-api-key", key)]).await
}

/// websocket-api, item 116 and 11.3: missing, unknown, disabled, and without a plan.
#[tokio::test]
async fn a_key_that_opens_nothing_is_answered_403() {
    let function = FunctionBackend::accepting().await;
    let toml = keyed(watched_by(&function).stage("dev"))
        .set("api_keys.off", "value", r#""disabled-key-of-20-or-more""#)
        .set("api_keys.off", "enabled", "false")
        .set("api_keys.alone", "value", r#""key-without-a-plan-20-or-more""#)
        .set("usage_plans.plan", "api_keys", r#"["alice", "bob", "off"]"#);
    let gateway = start(&toml).await;
    let mut told = Vec::new();
    for (stage, key) in [
        ("prod", None),
        ("prod", Some("")),
        ("prod", Some("unknown-key-of-20-or-more")),
        ("prod", Some("disabled-key-of-20-or-more")),
        ("prod", Some("key-without-a-plan-20-or-more")),
        ("prod", Some(&ALICE[..ALICE.len() - 1])),
        ("prod", Some(&ALICE.to_uppercase())),
        ("dev", Some(ALICE)),
    ] {
        let headers: Vec<_> = key.map(|key| ("X-API-Key", key)).into_iter().collect();
        let response = upgrade_answer(&gateway.ws_url(stage), &headers).await;
        assert_eq!(response.status, 403, "{stage} {key:?}: {response:?}");
        assert_eq!(response.header("x-amzn-errortype"), Some("ForbiddenException"));
        told.push(response.json()["message"].clone());
    }
    told.dedup();
    assert_eq!(told, [json!("Forbidden")], "which of them it was is nobody's business");
    // In the query a key is none: it would stand in every log on its way.
    let url = format!("{}?x-api-key={ALICE}", gateway.ws_url("prod"));
    assert_eq!(upgrade_status(&url, &[]).await, 403);
    assert_eq!(function.http().count(), 0);
    assert_eq!(status_with(&gateway, "prod", ALICE).await, 101);
}

/// websocket-api, 4.2 and 4.3: the key in events, which are the backend's, and in the access log,
/// which is not.
#[tokio::test]
async fn events_say_whose_key_it_was_and_the_access_log_keeps_its_value_back() {
    let function = FunctionBackend::accepting().await;
    let log = r#"{ path = "access.log", format = "$context.requestId $context.eventType $context.identity.apiKeyId [$context.identity.apiKey]" }"#;
    let toml = keyed(watched_by(&function)).two_way("$default", "watcher").set(
        r#"apis.test.stages."prod""#,
        "access_log",
        log,
    );
    let gateway = start(&toml).await;
    let headers = [("x-api-key", ALICE)];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    client.send_text("hello").await;
    client.next_text().await;
    client.close(1000, "").await;
    for kind in ["CONNECT", "MESSAGE", "DISCONNECT"] {
        let event = function.next_event(kind).await;
        let identity = &event["requestContext"]["identity"];
        assert_eq!((&identity["apiKey"], &identity["apiKeyId"]), (&json!(ALICE), &json!("alice")));
        if kind == "CONNECT" {
            assert_eq!(event["headers"]["x-api-key"], ALICE);
        }
    }
    let read = || std::fs::read_to_string(gateway.file("access.log")).unwrap_or_default();
    wait_until(DEADLINE, "three lines", async || read().lines().count() == 3).await;
    for (line, kind) in read().lines().zip(["CONNECT", "MESSAGE", "DISCONNECT"]) {
        assert!(line.ends_with(&format!(" {kind} alice [****]")), "{line}");
    }
}

/// websocket-api, item 116: an exhausted quota; each key has its own.
#[tokio::test]
async fn an_exhausted_quota_is_answered_429() {
    let toml = keyed(GatewayToml::new()).set(
        "usage_plans.plan",
        "quota",
        r#"{ limit = 3, period = "month" }"#,
    );
    let gateway = start(&toml).await;
    for _ in 0..3 {
        assert_eq!(status_with(&gateway, "prod", ALICE).await, 101);
    }
    let response = upgrade_answer(&gateway.ws_url("prod"), &[("x-api-key", ALICE)]).await;
    assert_eq!(response.status, 429, "{response:?}");
    assert_eq!(response.json()["message"], "Limit Exceeded");
    assert_eq!(response.header("x-amzn-errortype"), Some("LimitExceededException"));
    assert_eq!(status_with(&gateway, "prod", BOB).await, 101);
    let throttled = [("outcome", "throttled")];
    assert_eq!(gateway.metric("tidegate_connect_total", &throttled).await, 1.0);
}

/// websocket-api, 11.1 (4): rate and burst of a key.
#[tokio::test]
async fn a_key_faster_than_its_plan_is_answered_429() {
    let toml = keyed(GatewayToml::new()).set(
        "usage_plans.plan",
        "throttle",
        "{ rate = 0.001, burst = 2 }",
    );
    let gateway = start(&toml).await;
    for _ in 0..2 {
        assert_eq!(status_with(&gateway, "prod", ALICE).await, 101);
    }
    let response = upgrade_answer(&gateway.ws_url("prod"), &[("x-api-key", ALICE)]).await;
    assert_eq!(response.status, 429, "{response:?}");
    assert_eq!(response.json()["message"], "Too Many Requests");
    assert_eq!(response.header("x-amzn-errortype"), Some("TooManyRequestsException"));
    assert_eq!(status_with(&gateway, "prod", BOB).await, 101);
}

/// 11.1: a quota is exact across cores: of many at once, just as many pass as it has.
#[tokio::test]
async fn of_many_connects_at_once_as_many_pass_as_the_quota_has() {
    let toml = keyed(GatewayToml::new()).set(
        "usage_plans.plan",
        "quota",
        r#"{ limit = 50, period = "month" }"#,
    );
    let gateway = start(&toml).await;
    let statuses: Vec<u16> = stream::iter(0..200)
        .map(|_| status_with(&gateway, "prod", ALICE))
        .buffer_unordered(64)
        .collect()
        .await;
    assert_eq!(statuses.iter().filter(|status| **status == 101).count(), 50);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 150);
}

/// websocket-api, 11.3; design, decision 4: what was used stays used, what a reload changes counts
/// at once, and open connections stay.
#[tokio::test]
async fn quotas_are_kept_over_a_reload_and_keys_may_change() {
    let toml = keyed(GatewayToml::new().echo("echo").two_way("$default", "echo")).set(
        "usage_plans.plan",
        "quota",
        r#"{ limit = 2, period = "month" }"#,
    );
    let gateway = start(&toml).await;
    let headers = [("x-api-key", ALICE)];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    assert_eq!(status_with(&gateway, "prod", ALICE).await, 101);
    assert_eq!(status_with(&gateway, "prod", ALICE).await, 429);
    reload(&gateway, &toml, "accepted").await;
    assert_eq!(status_with(&gateway, "prod", ALICE).await, 429, "a reload fills nothing up");
    let more = toml.clone().set("usage_plans.plan", "quota", r#"{ limit = 3, period = "month" }"#);
    reload(&gateway, &more, "accepted").await;
    assert_eq!(status_with(&gateway, "prod", ALICE).await, 101, "one more");
    assert_eq!(status_with(&gateway, "prod", ALICE).await, 429);
    // Another value for the same key: the old one opens nothing, the count stays.
    let next = "alices-next-key-of-20-or-more";
    let rotated = more.set("api_keys.alice", "value", &format!("{next:?}"));
    reload(&gateway, &rotated, "accepted").await;
    assert_eq!(status_with(&gateway, "prod", ALICE).await, 403);
    assert_eq!(status_with(&gateway, "prod", next).await, 429);
    let without = rotated.set("api_keys.bob", "enabled", "false");
    assert_eq!(status_with(&gateway, "prod", BOB).await, 101);
    reload(&gateway, &without, "accepted").await;
    assert_eq!(status_with(&gateway, "prod", BOB).await, 403);
    client.send_text("still here").await;
    assert_eq!(client.next_text().await, "still here");
}

/// websocket-api, item 117 and 9.3.
#[tokio::test]
async fn the_authorizer_may_name_the_key() {
    let who = FunctionBackend::start(|event| -> FunctionAnswer {
        let mut answer = allow();
        match event["queryStringParameters"]["user"].as_str() {
            Some("alice") => answer["usageIdentifierKey"] = json!(ALICE),
            Some("stranger") => answer["usageIdentifierKey"] = json!("unknown-key-of-20-or-more"),
            Some("number") => answer["usageIdentifierKey"] = json!(1),
            _ => {}
        }
        answer.into()
    })
    .await;
    let function = FunctionBackend::accepting().await;
    let toml = keyed(guarded_by(watched_by(&function), &who.url()))
        .api("api_key_selection_expression", r#""$context.authorizer.usageIdentifierKey""#)
        .set("usage_plans.plan", "quota", r#"{ limit = 1, period = "month" }"#);
    let gateway = start(&toml).await;
    let url = |user: &str| format!("{}?user={user}", gateway.ws_url("prod"));
    assert_eq!(upgrade_status(&url("stranger"), &[]).await, 403);
    assert_eq!(upgrade_status(&url("nobody"), &[]).await, 403);
    assert_eq!(upgrade_status(&url("number"), &[]).await, 500, "no answer of an authorizer");
    // The header is not the source, whatever is in it.
    assert_eq!(upgrade_status(&url("nobody"), &[("x-api-key", ALICE)]).await, 403);
    assert_eq!(function.http().count(), 0);
    assert_eq!(upgrade_status(&url("alice"), &[]).await, 101);
    assert_eq!(upgrade_status(&url("alice"), &[]).await, 429, "and its plan counts");
    let event = function.next_event("CONNECT").await;
    let identity = &event["requestContext"]["identity"];
    assert_eq!((&identity["apiKey"], &identity["apiKeyId"]), (&json!(ALICE), &json!("alice")));
    let authorizer = event["requestContext"]["authorizer"].as_object().expect("facts");
    let shown: Vec<&Value> = authorizer.values().filter(|value| **value == ALICE).collect();
    assert!(shown.is_empty(), "the key is no part of the context: {authorizer:?}");
}

/// websocket-api, 11.3: with the header as source, what the authorizer names does not count.
#[tokio::test]
async fn the_header_is_the_source_unless_the_api_says_otherwise() {
    let who = FunctionBackend::start(|_| {
        let mut answer = allow();
        answer["usageIdentifierKey"] = json!(ALICE);
        answer
    })
    .await;
    let gateway = start(&keyed(guarded_by(GatewayToml::new(), &who.url()))).await;
    assert_eq!(upgrade_status(&gateway.ws_url("prod"), &[]).await, 403);
    assert_eq!(who.http().count(), 0, "the key of the header comes first");
    assert_eq!(status_with(&gateway, "prod", ALICE).await, 101);
    assert_eq!(who.http().count(), 1);
}

/// reliability, line 14: what could let strangers in, or nobody, stops the file.
#[tokio::test]
async fn keys_and_plans_that_make_no_sense_stop_the_file() {
    let good = keyed(GatewayToml::new());
    let by_authorizer = r#""$context.authorizer.usageIdentifierKey""#;
    for (what, toml) in [
        ("short", good.clone().set("api_keys.alice", "value", r#""short""#)),
        ("a value twice", good.clone().set("api_keys.bob", "value", &format!("{ALICE:?}"))),
        ("no value", good.clone().unset("api_keys.bob", "value")),
        ("an unknown key", good.clone().set("usage_plans.plan", "api_keys", r#"["carol"]"#)),
        ("an unknown stage", good.clone().set("usage_plans.plan", "stages", r#"["test/x"]"#)),
        (
            "two plans of a stage",
            good.clone().set("usage_plans.other", "api_keys", r#"["alice"]"#).set(
                "usage_plans.other",
                "stages",
                r#"["test/prod"]"#,
            ),
        ),
        (
            "a key for a message route",
            good.clone().echo("e").two_way("x", "e").route_key("x", "api_key_required", "true"),
        ),
        (
            "nobody who could name it",
            good.clone().api("api_key_selection_expression", by_authorizer),
        ),
        (
            "an authorizer that names none",
            good.clone()
                .api("api_key_selection_expression", by_authorizer)
                .guard_key("type", r#""jwt""#)
                .guard_key("issuer", r#""https://id.example.com""#)
                .guard_key("audiences", r#"["chat"]"#)
                .route_key("$connect", "authorizer", r#""guard""#),
        ),
        (
            "another source",
            good.clone().api("api_key_selection_expression", r#""$request.header.authorization""#),
        ),
    ] {
        let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &toml.build()).await;
        assert_eq!(ended.status.code(), Some(64), "{what}: {}{}", ended.stdout, ended.stderr);
        assert!(!ended.stderr.contains(ALICE), "{what}: {}", ended.stderr);
    }
    let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &good.build()).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains(ALICE), "{}", ended.stdout);
}
