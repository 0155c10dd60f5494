//! Authorizers that cannot decide (reliability, line 14; websocket-api, 9.5).
//!
//! In:  functions that err, hang, answer nonsense or are not there; files without the function.
//! Out: the status of each upgrade; that such a file is not served.
//!
//! Holds always: nobody is let in, not one of a thousand.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tidegate_testkit::{Answer, FunctionAnswer, FunctionBackend, GatewayToml, refused, run_to_end};

use crate::{
    GATEWAY,
    authorizers::{GuardKey, allow, answer, guarded_by, statement},
    reloads::reload,
    start,
    upgrade::{assert_refusal, upgrade_status},
    watched_by,
};

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
    assert_eq!(
        assert_refusal(&response, 500, "InternalServerErrorException"),
        "Internal server error"
    );
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
