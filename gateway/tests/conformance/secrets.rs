//! That no secret is told (reliability, line 18; tidegate, section 3).
//!
//! In:  secrets in every place where one may stand: the file, the environment, what clients bring,
//!      what authorizers and backends answer.
//! Out: all that the gateway says: logs of every level, metrics, access logs, answers, output.
//!
//! Holds always: a secret is really used before it is looked for, and looked for in everything.

use serde_json::{Value, json};
use tidegate_testkit::{
    Answer, Client, DEADLINE, FunctionAnswer, FunctionBackend, GatewayToml, Signer, TestGateway,
    TokenIssuer, TokenKey, http_call, run_to_end,
};

use crate::{
    GATEWAY,
    authorizers::{GuardKey, allow, answer, case, guarded_by, statement},
    connection_id, echo, reply,
    signed_calls::signed_call,
    upgrade::upgrade_answer,
    watched_by,
};

/// reliability, line 18; tidegate, section 3: no secret, token, cookie or payload in logs at any
/// level, in metrics, in error bodies.
#[tokio::test]
async fn nothing_secret_is_in_logs_metrics_or_error_bodies() {
    let function =
        FunctionBackend::start(|event| match event["body"].as_str().unwrap_or_default() {
            body if body.contains("fail") => FunctionAnswer::error(),
            body if body.contains("nonsense") => FunctionAnswer::raw("payload-of-the-answer"),
            _ => reply("payload-of-the-reply").into(),
        })
        .await;
    let toml = watched_by(&function)
        .two_way("$default", "watcher")
        .http_proxy("down", "http://127.0.0.1:1/?token=token-of-the-uri")
        .two_way("down", "down")
        .set("management", "auth", r#""sigv4""#)
        .section(
            r#"[[management.credentials]]
access_key_id = "AKIDEXAMPLE"
secret_access_key = { env = "TIDEGATE_TEST_SECRET" }
"#,
        );
    let environment = [("TIDEGATE_TEST_SECRET", "secret-of-the-key"), ("TIDEGATE_LOG", "trace")];
    let gateway = TestGateway::start_with(GATEWAY, &toml.build(), &environment).await;
    let headers = [
        ("Cookie", "session=cookie-of-the-client"),
        ("Authorization", "Bearer bearer-of-the-client"),
        ("X-Api-Key", "apikey-of-the-client"),
    ];
    let url = gateway.ws_url("prod") + "?token=token-of-the-query";
    let mut client = Client::connect_with(&url, &headers, &[]).await;
    let id = connection_id(&function).await;
    let mut bodies = Vec::new();
    for message in [
        r#"{"action":"x","payload":"payload-of-the-message"}"#,
        r#"{"action":"x","payload":"payload-of-the-message fail"}"#,
        r#"{"action":"x","payload":"payload-of-the-message nonsense"}"#,
        r#"{"action":"down","payload":"payload-of-the-message"}"#,
    ] {
        client.send_text(message).await;
        let answer = client.next_text().await;
        if answer != "payload-of-the-reply" {
            bodies.push(answer);
        }
    }
    assert_eq!(bodies.len(), 3, "three error frames");
    let signer = Signer::new("AKIDEXAMPLE", "secret-of-the-key");
    let host = gateway.address().to_string();
    for (target, good) in [
        (format!("/prod/@connections/{id}"), true),
        ("/prod/@connections/token-of-the-path".to_owned(), true),
        (format!("/prod/@connections/{id}?x=token-of-the-query"), false),
    ] {
        let now = std::time::SystemTime::now();
        let added = signer.sign("POST", &target, &[("Host", &host)], b"payload-of-the-post", now);
        let mut all = vec![("Host", host.as_str())];
        all.extend(added.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let body: &[u8] = if good { b"payload-of-the-post" } else { b"payload-of-another" };
        let url = gateway.http_url();
        let response = http_call(&url, "POST", &target, &all, body).await;
        if response.status != 400 {
            // A malformed id is named to its caller, as on Amazon.
            bodies.push(response.text().to_owned());
        }
    }
    assert_eq!(client.next_text().await, "payload-of-the-post");
    client.send_binary(b"payload-of-binary").await;
    client.next_close().await;
    function.next_event("DISCONNECT").await;
    let metrics = gateway.metrics().await;
    let ended = gateway.terminate(DEADLINE).await;
    let told = [ended.stderr, metrics, bodies.join("\n")];
    for secret in ["-of-the-", "payload-of-"] {
        for text in &told {
            let found = text.lines().find(|line| line.contains(secret));
            assert_eq!(found, None, "{secret}");
        }
    }
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

/// tidegate, section 3: secrets from the environment and from files; a missing one is said by its
/// name only.
#[tokio::test]
async fn a_secret_may_come_from_a_file_and_is_never_printed() {
    let directory = tempfile::TempDir::with_prefix("tidegate-secret-").expect("a folder");
    let path = directory.path().join("secret");
    std::fs::write(&path, "secret-of-the-file\n").expect("a file of ours");
    let with = |secret: &str| {
        echo()
            .set("management", "auth", r#""sigv4""#)
            .section(&format!(
                "[[management.credentials]]\naccess_key_id = \"AKIDEXAMPLE\"\n\
                 secret_access_key = {secret}\n"
            ))
            .build()
    };
    let file = Value::from(path.to_str().expect("UTF-8")).to_string();
    let toml = with(&format!("{{ file = {file} }}"));
    let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &toml).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(!format!("{ended:?}").contains("secret-of-the-file"), "{ended:?}");
    let gateway = TestGateway::start(GATEWAY, &toml).await;
    let signer = Signer::new("AKIDEXAMPLE", "secret-of-the-file");
    let target = "/prod/@connections/L0SM9cOFvHcCIhw=";
    let response = signed_call(&gateway, &signer, "GET", target, b"").await;
    assert_eq!(response.status, 410, "signed with the file's secret: {response:?}");
    for missing in [r#"{ env = "TIDEGATE_TEST_ABSENT" }"#, r#"{ file = "absent-secret" }"#] {
        let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &with(missing)).await;
        assert_eq!(ended.status.code(), Some(64), "{ended:?}");
        let key = "management.credentials";
        assert!(ended.stderr.contains(key), "{ended:?}");
    }
}
