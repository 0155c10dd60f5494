//! Who may connect, as a token says it (tidegate, section 3; reliability, lines 14, 16 and 18).
//!
//! In:  upgrades with good tokens and bad ones, in each place where a token may stand.
//! Out: statuses, what backends and events see of the token's claims, when connections end.
//!
//! Holds always: no test sees anybody admitted by a token that its issuer did not sign for us.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tidegate_testkit::{
    Answer, Client, FunctionBackend, GatewayToml, HttpBackend, TestGateway, TokenIssuer, TokenKey,
    refused, refused_with, run_to_end, shared_secret_token, unsecured_token,
};

use crate::{
    GATEWAY,
    access_log::{connect_lines, logging},
    authorizers::GuardKey,
    reloads::reload,
    start, text,
    upgrade::{upgrade_answer, upgrade_status},
    watched_by,
};

/// The api of `toml` with a JWT authorizer that trusts `issuer` for audience `chat`.
fn trusting(toml: GatewayToml, issuer: &str) -> GatewayToml {
    toml.guard_key("type", r#""jwt""#)
        .guard_key("issuer", &format!("{issuer:?}"))
        .guard_key("audiences", r#"["chat"]"#)
        .guard_key("leeway_s", "0")
        .route_key("$connect", "authorizer", r#""guard""#)
}

const EVERYWHERE: &str =
    r#"["route.request.header.Authorization", "route.request.querystring.token", "subprotocol"]"#;

async fn one_issuer() -> (TokenIssuer, TokenKey) {
    let key = TokenKey::new("k1");
    (TokenIssuer::start(&[&key]).await, key)
}

/// The status of an upgrade with this token.
async fn status_with(gateway: &TestGateway, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    upgrade_status(&gateway.ws_url("prod"), &[("Authorization", &bearer)]).await
}

/// Claims with one changed; taken out where `value` is null.
fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    let all = claims.as_object_mut().expect("an object");
    if value.is_null() {
        all.remove(name);
    } else {
        all.insert(name.to_owned(), value);
    }
    claims
}

/// websocket-api, 4.2 and 9.3, for a token in place of a function.
#[tokio::test]
async fn a_tokens_claims_are_in_all_three_events_and_sub_is_the_principal() {
    let (issuer, key) = one_issuer().await;
    let function = FunctionBackend::accepting().await;
    let toml = trusting(watched_by(&function), &issuer.url()).two_way("$default", "watcher");
    let gateway = start(&toml).await;
    let mut claims = issuer.claims(3600);
    claims["scope"] = json!("chat.use chat.read");
    claims["groups"] = json!(["a", "b"]);
    claims["level"] = json!(7);
    let bearer = format!("Bearer {}", key.sign(&claims));
    let headers = [("Authorization", bearer.as_str())];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    client.send_text("hello").await;
    client.next_text().await;
    client.close(1000, "").await;
    for kind in ["CONNECT", "MESSAGE", "DISCONNECT"] {
        let event = function.next_event(kind).await;
        let authorizer = &event["requestContext"]["authorizer"];
        assert_eq!(authorizer["principalId"], "u1", "{kind}: {event}");
        assert_eq!(authorizer["sub"], "u1");
        assert_eq!(authorizer["iss"], issuer.url());
        assert_eq!(authorizer["scope"], "chat.use chat.read");
        assert_eq!(authorizer["groups"], r#"["a","b"]"#);
        assert_eq!(authorizer["level"], "7", "all values are text, as an authorizer's");
    }
}

/// tidegate, section 4.
#[tokio::test]
async fn backends_read_the_tokens_subject_in_a_header() {
    let (issuer, key) = one_issuer().await;
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let toml = GatewayToml::new()
        .http_proxy("backend", &backend.url())
        .route("$connect", "backend")
        .two_way("$default", "backend");
    let gateway = start(&trusting(toml, &issuer.url())).await;
    let bearer = format!("Bearer {}", key.sign(&issuer.claims(3600)));
    let headers = [("Authorization", bearer.as_str()), ("Tidegate-Principal-Id", "root")];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    client.send_text("hello").await;
    client.next_text().await;
    for request in backend.wait_for_requests(2).await {
        let sent: Vec<_> = request
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("tidegate-principal-id"))
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(sent, ["u1"], "{request:?}");
    }
}

/// websocket-api, 3.2: 401 for whoever brings nothing, 403 for whoever brings something bad.
#[tokio::test]
async fn a_missing_token_is_answered_401_and_a_bad_one_403() {
    let (issuer, key) = one_issuer().await;
    let function = FunctionBackend::accepting().await;
    let toml = trusting(watched_by(&function), &issuer.url()).guard_key("token_source", EVERYWHERE);
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    for (query, headers) in [
        ("", &[][..]),
        ("?token=", &[]),
        ("?other=x", &[("Cookie", "token=x")]),
        ("", &[("Authorization", "")]),
        ("", &[("Authorization", "Bearer ")]),
    ] {
        let response = refused_with(&format!("{url}{query}"), headers, &[]).await;
        assert_eq!(response.status, 401, "{query} {headers:?}: {response:?}");
        assert_eq!(response.header("x-amzn-errortype"), Some("UnauthorizedException"));
        assert_eq!(response.json()["message"], "Unauthorized");
    }
    let offered = refused_with(&url, &[], &["chat"]).await;
    assert_eq!(offered.status, 401, "{offered:?}");
    let bad = refused(&format!("{url}?token=x")).await;
    assert_eq!(bad.status, 403, "{bad:?}");
    assert_eq!(bad.header("x-amzn-errortype"), Some("ForbiddenException"));
    assert_eq!(bad.json()["message"], "Forbidden");
    let token = key.sign(&issuer.claims(60));
    let twice = format!("{url}?token={token}&token={token}");
    assert_eq!(refused(&twice).await.status, 403, "which of two counts is not ours to guess");
    assert_eq!(function.http().count(), 0);
}

/// reliability, line 16: each token that must not be taken, and the good one they were made of.
#[tokio::test]
async fn a_token_that_is_not_the_issuers_for_us_now_is_answered_403() {
    let (issuer, key) = one_issuer().await;
    let (foreign, foreign_key) = one_issuer().await;
    let function = FunctionBackend::accepting().await;
    let toml = trusting(watched_by(&function), &issuer.url())
        .guard_key("required_scopes", r#"["chat.use"]"#)
        .guard_key("required_claims", r#"{ tenant = "t1" }"#);
    let gateway = start(&toml).await;
    let mut good = issuer.claims(3600);
    good["scope"] = json!("chat.read chat.use");
    good["tenant"] = json!(["t0", "t1"]);
    assert_eq!(status_with(&gateway, &key.sign(&good)).await, 101);

    let header = |algorithm: &str| json!({ "typ": "JWT", "alg": algorithm, "kid": "k1" });
    let jwk = key.jwk().to_string();
    let now_s = good["iat"].as_i64().expect("a time");
    let mut bad = vec![
        ("alg none", unsecured_token(&header("none"), &good)),
        ("alg None", unsecured_token(&header("None"), &good)),
        ("alg none, signed", key.sign_with(&header("none"), &good)),
        ("alg of another curve", key.sign_with(&header("ES384"), &good)),
        ("alg of another family", key.sign_with(&header("RS256"), &good)),
        ("alg unknown", key.sign_with(&header("ES999"), &good)),
        ("no alg", key.sign_with(&json!({ "kid": "k1" }), &good)),
        ("unsecured under ES256", unsecured_token(&header("ES256"), &good)),
        ("another key under its name", TokenKey::new("k1").sign(&good)),
        (
            "critical extensions",
            key.sign_with(
                &json!({ "alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": true }),
                &good,
            ),
        ),
        ("its own key in its header", {
            let own = TokenKey::new("k1");
            own.sign_with(&json!({ "alg": "ES256", "kid": "k1", "jwk": own.jwk() }), &good)
        }),
        ("a foreign issuer", foreign_key.sign(&with(&good, "iss", json!(foreign.url())))),
        ("a foreign issuer, our key", key.sign(&with(&good, "iss", json!(foreign.url())))),
        ("an issuer with a slash", key.sign(&with(&good, "iss", json!(issuer.url() + "/")))),
        ("no issuer", key.sign(&with(&good, "iss", Value::Null))),
        ("a foreign audience", key.sign(&with(&good, "aud", json!("mail")))),
        ("foreign audiences", key.sign(&with(&good, "aud", json!(["mail", "Chat"])))),
        ("no audience", key.sign(&with(&good, "aud", Value::Null))),
        ("expired", key.sign(&with(&good, "exp", json!(now_s - 1)))),
        ("no end", key.sign(&with(&good, "exp", Value::Null))),
        ("an end that is text", key.sign(&with(&good, "exp", json!("9999999999")))),
        ("not yet valid", key.sign(&with(&good, "nbf", json!(now_s + 600)))),
        ("issued in the future", key.sign(&with(&good, "iat", json!(now_s + 600)))),
        ("no subject", key.sign(&with(&good, "sub", Value::Null))),
        ("an empty subject", key.sign(&with(&good, "sub", json!("")))),
        ("no scope", key.sign(&with(&good, "scope", Value::Null))),
        ("part of a scope", key.sign(&with(&good, "scope", json!("chat.used chat.us")))),
        ("another tenant", key.sign(&with(&good, "tenant", json!("t2")))),
        ("no tenant", key.sign(&with(&good, "tenant", Value::Null))),
    ];
    // The classic: what everybody can read of the key, taken for a shared secret.
    let pem = spki_pem(key.public_key());
    for secret in [key.public_key(), &key.public_key()[1..], jwk.as_bytes(), pem.as_bytes(), b""] {
        bad.push((
            "HS256 with the public key",
            shared_secret_token(&header("HS256"), &good, secret),
        ));
    }
    // Each part cut, doubled, or taken from another token.
    let token = key.sign(&good);
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else { panic!("a token has three parts") };
    let other = key.sign(&with(&good, "sub", json!("u2")));
    let other: Vec<&str> = other.split('.').collect();
    for text in [
        format!("{head}.{claims}"),
        format!("{head}.{claims}."),
        format!("{head}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{token}.{signature}"),
        format!("{head}.{}.{signature}", other[1]),
        format!("{head}.{claims}.{}", other[2]),
        format!("{}.{claims}.{signature}", head.to_uppercase()),
        "..".to_owned(),
        "a.b.c".to_owned(),
    ] {
        bad.push(("parts", text));
    }
    for (what, token) in &bad {
        let status = status_with(&gateway, token).await;
        assert_eq!(status, 403, "{what}: {token}");
    }
    assert_eq!(function.events_of("CONNECT").len(), 1, "only the good one came through");
    assert_eq!(foreign.http().count(), 0, "nobody asks an issuer that a token names");
    let outcome = [("outcome", "forbidden")];
    let count = gateway.metric("tidegate_connect_total", &outcome).await;
    assert_eq!(count, f64::from(u32::try_from(bad.len()).expect("not that many")));
    assert_eq!(status_with(&gateway, &token).await, 101, "and the good one still does");
}

/// A P-256 point as the PEM file that `openssl` would write of it.
fn spki_pem(point: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    const PREFIX: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let text = STANDARD.encode([&PREFIX, point].concat());
    let (first, rest) = text.split_at(64);
    format!("-----BEGIN PUBLIC KEY-----\n{first}\n{rest}\n-----END PUBLIC KEY-----\n")
}

/// reliability, line 16: a changed byte anywhere in the token.
#[tokio::test]
async fn a_token_with_a_changed_byte_anywhere_is_answered_403() {
    let (issuer, key) = one_issuer().await;
    let gateway = start(&trusting(GatewayToml::new(), &issuer.url())).await;
    let token = key.sign(&issuer.claims(3600));
    assert_eq!(status_with(&gateway, &token).await, 101);
    // An unknown key id makes its token wait for the keys to be read again; those go together.
    let changed = (0..token.len()).map(|place| {
        let mut bytes = token.clone().into_bytes();
        // Four letters on, so that the last one of a part, which has spare bits, changes too.
        bytes[place] = match bytes[place] {
            b'.' => b'x',
            b'w'..=b'z' | b'W'..=b'Z' => bytes[place] - 20,
            b'6'..=b'9' => bytes[place] - 6,
            b'-' | b'_' => b'A',
            byte => byte + 4,
        };
        String::from_utf8(bytes).expect("ASCII stays ASCII")
    });
    let statuses: Vec<_> = stream::iter(changed)
        .map(async |token| (status_with(&gateway, &token).await, token))
        .buffer_unordered(64)
        .collect()
        .await;
    assert_eq!(statuses.len(), token.len());
    let admitted = statuses.iter().find(|(status, _)| *status != 403);
    assert_eq!(admitted, None, "of\n{token}");
}

/// reliability, line 16: a key that the issuer does not publish; one that it publishes now is
/// taken without a restart, and one that it withdrew is not taken any more.
#[tokio::test]
async fn an_unknown_key_is_refused_until_its_issuer_publishes_it() {
    let (issuer, first) = one_issuer().await;
    let gateway = start(&trusting(GatewayToml::new(), &issuer.url())).await;
    assert_eq!(status_with(&gateway, &first.sign(&issuer.claims(3600))).await, 101);
    let second = TokenKey::new("k2");
    let token = second.sign(&issuer.claims(3600));
    let asked = issuer.http().count();
    let refused: Vec<u16> = stream::iter(0..200)
        .map(|_| status_with(&gateway, &token))
        .buffer_unordered(200)
        .collect()
        .await;
    assert_eq!(refused, vec![403; 200]);
    let asked = issuer.http().count() - asked;
    assert!(asked <= 8, "{asked} requests to the issuer for 200 unknown keys");
    issuer.publish(&[&second]);
    assert_eq!(status_with(&gateway, &token).await, 101, "published, so taken");
    let withdrawn = first.sign(&issuer.claims(3600));
    assert_eq!(status_with(&gateway, &withdrawn).await, 403, "withdrawn, so refused");
    assert_eq!(status_with(&gateway, &token).await, 101);
}

/// reliability, line 14: an issuer that is away, or that publishes nonsense, admits nobody.
#[tokio::test]
async fn an_issuer_that_gives_no_keys_admits_nobody() {
    let key = TokenKey::new("k1");
    let (honest, _) = one_issuer().await;
    let answers = [
        Answer::status(500),
        Answer::status(302).header("Location", &honest.url()),
        Answer::cut(),
        Answer::body_of("<html>"),
        Answer::body_of("{}"),
        // Another issuer's document.
        Answer::body_of(json!({ "issuer": honest.url(), "jwks_uri": honest.url() }).to_string()),
    ];
    let mut issuers = vec!["http://127.0.0.1:1".to_owned()];
    let mut servers = Vec::new();
    for answer in answers {
        let server = HttpBackend::answering(answer).await;
        issuers.push(server.url());
        servers.push(server);
    }
    let checks = issuers.into_iter().map(async |issuer| {
        let gateway = start(&trusting(GatewayToml::new(), &issuer)).await;
        let claims = with(&honest.claims(3600), "iss", json!(issuer));
        let statuses: Vec<u16> = stream::iter(0..100)
            .map(|_| async { status_with(&gateway, &key.sign(&claims)).await })
            .buffer_unordered(100)
            .collect()
            .await;
        assert_eq!(statuses, vec![500; 100], "{issuer}: nobody can know");
        // What no key could make good is refused at once.
        let expired = with(&claims, "exp", json!(1));
        assert_eq!(status_with(&gateway, &key.sign(&expired)).await, 403, "{issuer}");
        assert_eq!(upgrade_status(&gateway.ws_url("prod"), &[]).await, 401, "{issuer}");
    });
    futures_util::future::join_all(checks).await;
}

/// tidegate, section 3: header, query, subprotocol, in the order of the configuration.
#[tokio::test]
async fn a_token_is_taken_from_each_place_that_is_configured_and_no_other() {
    let (issuer, key) = one_issuer().await;
    let token = key.sign(&issuer.claims(3600));
    let everywhere = trusting(GatewayToml::new(), &issuer.url());
    let gateway = start(&everywhere.clone().guard_key("token_source", EVERYWHERE)).await;
    let url = gateway.ws_url("prod");
    for (query, name, value) in [
        (String::new(), "Authorization", format!("Bearer {token}")),
        (String::new(), "authorization", token.clone()),
        (format!("?token={token}"), "X-Other", "x".to_owned()),
        (String::new(), "Sec-WebSocket-Protocol", format!("chat, bearer.{token}")),
        (String::new(), "Sec-WebSocket-Protocol", format!("bearer.{token}")),
    ] {
        let status = upgrade_status(&format!("{url}{query}"), &[(name, &value)]).await;
        assert_eq!(status, 101, "{query} {name}");
    }
    // The first place that has one decides, not the best.
    let bad = ("Authorization", "Bearer a.b.c");
    assert_eq!(upgrade_status(&format!("{url}?token={token}"), &[bad]).await, 403);
    let gateway = start(&everywhere).await;
    let url = gateway.ws_url("prod");
    assert_eq!(upgrade_status(&format!("{url}?token={token}"), &[]).await, 401);
    let offer = format!("bearer.{token}");
    assert_eq!(upgrade_status(&url, &[("Sec-WebSocket-Protocol", &offer)]).await, 401);
}

/// reliability, line 18: the subprotocol that carries the token is seen by the gateway alone.
#[tokio::test]
async fn a_token_among_the_subprotocols_is_neither_passed_on_nor_echoed() {
    let (issuer, key) = one_issuer().await;
    let token = key.sign(&issuer.claims(3600));
    // It would echo everything it is offered.
    let function = FunctionBackend::start(|event| {
        let offered = event["headers"]["Sec-WebSocket-Protocol"].clone();
        match offered {
            Value::Null => json!({ "statusCode": 200 }),
            offered => json!({
                "statusCode": 200, "headers": { "Sec-WebSocket-Protocol": offered }
            }),
        }
    })
    .await;
    let toml = trusting(watched_by(&function), &issuer.url())
        .guard_key("token_source", r#"["subprotocol"]"#);
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    let bearer = format!("bearer.{token}");
    let client = Client::connect_with(&url, &[], &["chat", &bearer]).await;
    assert_eq!(client.subprotocol(), Some("chat"), "as a browser wants it");
    let event = function.next_event("CONNECT").await;
    assert_eq!(event["headers"]["Sec-WebSocket-Protocol"], "chat");
    assert_eq!(event["multiValueHeaders"]["Sec-WebSocket-Protocol"], json!(["chat"]));
    assert!(!event.to_string().contains(&token), "{event}");
    let answer = upgrade_answer(&url, &[("Sec-WebSocket-Protocol", &bearer)]).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, None));
    let event = function.next_event("CONNECT").await;
    assert!(event["headers"].get("Sec-WebSocket-Protocol").is_none(), "{event}");
    assert!(!event.to_string().contains(&token), "{event}");
    // As headers of its own, a client may part the list.
    let parted = [("Sec-WebSocket-Protocol", "v2"), ("Sec-WebSocket-Protocol", bearer.as_str())];
    assert_eq!(upgrade_answer(&url, &parted).await.status, 101);
    let event = function.next_event("CONNECT").await;
    assert!(!event.to_string().contains(&token), "{event}");
}

/// tidegate, section 3: `on_expiry = "close"`.
#[tokio::test]
async fn a_connection_ends_with_its_token() {
    let (issuer, key) = one_issuer().await;
    let function = FunctionBackend::accepting().await;
    let toml = trusting(watched_by(&function), &issuer.url()).two_way("$default", "watcher");
    let gateway = start(&toml).await;
    let bearer = format!("Bearer {}", key.sign(&issuer.claims(3)));
    let headers = [("Authorization", bearer.as_str())];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    // Activity does not prolong it.
    client.send_text("hello").await;
    client.next_text().await;
    assert_eq!(client.next_close().await, (1008, "token expired".to_owned()));
    let event = function.next_event("DISCONNECT").await;
    let context = &event["requestContext"];
    assert_eq!(context["disconnectStatusCode"], 1008);
    assert_eq!(context["disconnectReason"], "token expired");
    assert_eq!(context["authorizer"]["principalId"], "u1");
    let cause = [("cause", "token_expired")];
    assert_eq!(gateway.metric("tidegate_disconnect_total", &cause).await, 1.0);
    assert_eq!(status_with(&gateway, &bearer["Bearer ".len()..]).await, 403, "nor does it open");
}

/// tidegate, section 3: `on_expiry = "keep"`; and leeway prolongs a token's life.
#[tokio::test]
async fn a_connection_outlives_its_token_where_it_is_kept() {
    let (issuer, key) = one_issuer().await;
    let function = FunctionBackend::accepting().await;
    let toml = trusting(watched_by(&function), &issuer.url()).two_way("$default", "watcher");
    let keep = start(&toml.clone().guard_key("on_expiry", r#""keep""#)).await;
    let lenient = start(&toml.guard_key("leeway_s", "60")).await;
    let token = key.sign(&issuer.claims(2));
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let mut kept = Client::connect_with(&keep.ws_url("prod"), &headers, &[]).await;
    let mut within = Client::connect_with(&lenient.ws_url("prod"), &headers, &[]).await;
    // The token's end is known by its being refused where there is no leeway.
    tidegate_testkit::wait_until(Duration::from_secs(20), "the token's end", async || {
        status_with(&keep, &token).await == 403
    })
    .await;
    for client in [&mut kept, &mut within] {
        client.send_text("still here").await;
        client.next_text().await;
    }
    assert_eq!(status_with(&lenient, &token).await, 101);
}

/// websocket-api, 13.1: `authenticate.*` is whose token it is, `authorize.*` what it allows.
#[tokio::test]
async fn the_access_log_tells_a_bad_token_from_one_that_is_not_enough() {
    let (issuer, key) = one_issuer().await;
    let names = [
        "requestId",
        "status",
        "authorizer.principalId",
        "authorizer.scope",
        "authorizer.status",
        "authenticate.status",
        "authenticate.error",
        "authorize.status",
        "authorize.error",
        "error.responseType",
    ];
    let toml =
        trusting(GatewayToml::new(), &issuer.url()).guard_key("required_scopes", r#"["chat.use"]"#);
    let gateway = start(&logging(toml, &names)).await;
    let enough = with(&issuer.claims(3600), "scope", json!("chat.use"));
    let expired = with(&enough, "exp", json!(1));
    assert_eq!(status_with(&gateway, &key.sign(&enough)).await, 101);
    assert_eq!(status_with(&gateway, &key.sign(&expired)).await, 403);
    assert_eq!(status_with(&gateway, &key.sign(&issuer.claims(3600))).await, 403);
    assert_eq!(upgrade_status(&gateway.ws_url("prod"), &[]).await, 401);
    let lines = connect_lines(&gateway, 4).await;
    let shown: Vec<Vec<&str>> = lines.iter().map(|line| line.split('|').collect()).collect();
    let late = "the token has expired";
    let scope = "the token has no scope `chat.use`";
    let none = "there is no token where the authorizer looks for one";
    let denied = "ACCESS_DENIED";
    assert_eq!(shown[0][1..], ["200", "u1", "chat.use", "200", "200", "-", "200", "-", "-"]);
    assert_eq!(shown[1][1..], ["403", "-", "-", "403", "403", late, "-", "-", denied]);
    assert_eq!(shown[2][1..], ["403", "-", "-", "403", "200", "-", "403", scope, denied]);
    assert_eq!(shown[3][1..], ["401", "-", "-", "401", "401", none, "-", "-", "UNAUTHORIZED"]);
}

/// Keys by `jwks_uri`, without a discovery document.
#[tokio::test]
async fn keys_may_be_named_by_their_own_address() {
    let (issuer, key) = one_issuer().await;
    let jwks = format!("\"{}/jwks\"", issuer.url());
    let toml = trusting(GatewayToml::new(), "https://id.example.com").guard_key("jwks_uri", &jwks);
    let gateway = start(&toml).await;
    let claims = with(&issuer.claims(3600), "iss", json!("https://id.example.com"));
    assert_eq!(status_with(&gateway, &key.sign(&claims)).await, 101);
    assert_eq!(status_with(&gateway, &key.sign(&issuer.claims(3600))).await, 403);
    let asked = issuer.http().requests();
    assert!(asked.iter().all(|request| request.path == "/jwks"), "{asked:?}");
}

/// websocket-api, 9.1; tidegate, section 1: a reload with other rules.
#[tokio::test]
async fn a_reload_changes_the_rules_and_leaves_connections_alone() {
    let (issuer, key) = one_issuer().await;
    let function = FunctionBackend::accepting().await;
    let toml = trusting(watched_by(&function), &issuer.url()).two_way("$default", "watcher");
    let gateway = start(&toml).await;
    let token = key.sign(&issuer.claims(3600));
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    let asked = issuer.http().count();
    reload(&gateway, &toml.clone().guard_key("required_scopes", r#"["admin"]"#), "accepted").await;
    assert_eq!(status_with(&gateway, &token).await, 403);
    reload(&gateway, &toml.clone().guard_key("audiences", r#"["mail"]"#), "accepted").await;
    assert_eq!(status_with(&gateway, &token).await, 403);
    reload(&gateway, &toml, "accepted").await;
    assert_eq!(status_with(&gateway, &token).await, 101);
    assert_eq!(issuer.http().count(), asked, "the issuer's keys outlive a reload");
    // An open api again: the connection still says who it was.
    let open = toml.unset(r#"apis.test.routes."$connect""#, "authorizer");
    reload(&gateway, &open, "accepted").await;
    assert_eq!(upgrade_status(&gateway.ws_url("prod"), &[]).await, 101);
    client.send_text("still here").await;
    client.next_text().await;
    let event = function.next_event("MESSAGE").await;
    assert_eq!(text(&event["requestContext"]["authorizer"]["principalId"]), "u1");
}

/// reliability, line 14: rules that could let strangers in stop the file.
#[tokio::test]
async fn a_jwt_authorizer_without_issuer_or_audience_stops_the_file() {
    let good = trusting(GatewayToml::new(), "https://id.example.com");
    for toml in [
        good.clone().unset("apis.test.authorizers.guard", "issuer"),
        good.clone().unset("apis.test.authorizers.guard", "audiences"),
        good.clone().guard_key("audiences", "[]"),
        good.clone().guard_key("algorithms", r#"["none"]"#),
        good.clone().guard_key("algorithms", r#"["HS256"]"#),
        good.clone().guard_key("algorithms", "[]"),
        good.clone().guard_key("token_source", "[]"),
        good.clone().guard_key("issuer", r#""id.example.com""#),
        good.clone().guard_key("leeway_s", "3600"),
    ] {
        let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &toml.build()).await;
        assert_eq!(ended.status.code(), Some(64), "{}\n{}", toml.build(), ended.stdout);
        assert!(ended.stderr.contains("guard"), "{}", ended.stderr);
    }
    let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &good.build()).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}
