use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_model::{JwtAuthorizer, JwtKeys, OnExpiry, TokenSource, UriTemplate};

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;
const NOW_S: u64 = NOW_MS / 1000;

fn rules() -> JwtAuthorizer {
    let keys = UriTemplate::parse("https://id.example.com/keys").unwrap();
    JwtAuthorizer {
        issuer: "https://id.example.com".to_owned(),
        audiences: vec!["chat".to_owned(), "chat-admin".to_owned()],
        keys: JwtKeys::Jwks(keys.expand(&BTreeMap::new()).unwrap()),
        algorithms: vec![JwtAlgorithm::RS256],
        token_source: vec![TokenSource::Subprotocol],
        required_scopes: Vec::new(),
        required_claims: BTreeMap::new(),
        on_expiry: OnExpiry::Close,
        leeway: Duration::from_secs(5),
    }
}

/// Claims that satisfy [`rules`], with `changes` on top; a `null` takes a claim away.
fn claims(changes: &Value) -> TokenClaims {
    let mut all = json!({
        "iss": "https://id.example.com",
        "aud": "chat",
        "sub": "u1",
        "exp": NOW_S + 60,
    });
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    TokenClaims::parse(all.to_string().as_bytes()).unwrap()
}

fn verdict(changes: &Value) -> Result<Accepted, Refused> {
    check(&claims(changes), &rules(), NOW_MS)
}

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

fn header(text: &str) -> Result<TokenHeader, Refused> {
    TokenHeader::parse(&token(text, "{}"))
}

#[test]
fn a_header_names_algorithm_and_key() {
    let parsed = header(r#"{"alg":"ES256","kid":"k/1","typ":"JWT","jku":"https://evil"}"#).unwrap();
    assert_eq!(parsed.algorithm, JwtAlgorithm::ES256);
    assert_eq!(parsed.key_id.as_deref(), Some("k/1"));
    assert_eq!(header(r#"{"alg":"EdDSA"}"#).unwrap().key_id, None);
    for kind in ["jwt", "at+jwt", "application/AT+JWT"] {
        assert!(header(&json!({"alg": "PS512", "typ": kind}).to_string()).is_ok(), "{kind}");
    }
}

/// reliability, 16: `alg` none or of another family.
#[test]
fn no_signature_and_a_shared_secrets_signature_are_refused() {
    for name in ["none", "None", "NONE", "HS256", "HS512", "rs256", "RS256 ", "", "ES512"] {
        let refused = header(&json!({ "alg": name }).to_string());
        assert_eq!(refused, Err(Refused::Algorithm), "{name}");
    }
}

#[test]
fn a_header_that_two_readers_could_read_differently_is_refused() {
    for bad in [
        r#"{"alg":"none","alg":"RS256"}"#,
        r#"{"alg":"RS256","\u0061lg":"none"}"#,
        r#"{"alg":"RS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"RS256"} {}"#,
        r#"["RS256"]"#,
        r#"{"alg":["RS256"]}"#,
        r#"{"alg":null}"#,
        r#"{"alg":"RS256","kid":1}"#,
        r#"{"alg":"RS256","typ":null}"#,
        "{}",
        "",
        "{",
    ] {
        assert!(matches!(header(bad), Err(Refused::Malformed(_))), "{bad}");
    }
}

/// RFC 7515, 4.1.11; RFC 8725, 3.11.
#[test]
fn what_must_be_understood_and_what_is_no_access_token_is_refused() {
    assert_eq!(header(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#), Err(Refused::Critical));
    assert_eq!(header(r#"{"alg":"RS256","crit":[]}"#), Err(Refused::Critical));
    for kind in ["logout+jwt", "secevent+jwt", "dpop+jwt", ""] {
        let refused = header(&json!({"alg": "RS256", "typ": kind}).to_string());
        assert_eq!(refused, Err(Refused::Type), "{kind}");
    }
}

#[test]
fn a_token_has_three_parts_of_base64url_and_at_most_16_kib() {
    let good = token(r#"{"alg":"RS256"}"#, "{}");
    assert!(TokenHeader::parse(&good).is_ok());
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    for bad in [unsigned, &format!("{good}.x"), &format!("{good}.x.y"), "", "..", "a", "!.a.b"] {
        assert!(matches!(TokenHeader::parse(bad), Err(Refused::Malformed(_))), "{bad}");
    }
    // Padding, and bits that no byte owns: one token must have one spelling.
    let padded = good.replacen('.', "=.", 1);
    assert!(matches!(TokenHeader::parse(&padded), Err(Refused::Malformed(_))), "{padded}");
    assert!(matches!(TokenHeader::parse("e31.e30.x"), Err(Refused::Malformed(_))));
    let long = format!("{good}{}", "A".repeat(MAX_TOKEN_BYTES));
    assert_eq!(TokenHeader::parse(&long), Err(Refused::TooLong));
    assert_eq!(TokenClaims::unverified(&long).unwrap_err(), Refused::TooLong);
}

#[test]
fn claims_that_come_twice_are_refused() {
    for bad in [r#"{"sub":"a","sub":"b"}"#, r#"{"exp":1,"\u0065xp":9}"#, "[]", "\"x\"", "{", ""] {
        let refused = TokenClaims::parse(bad.as_bytes()).unwrap_err();
        assert!(matches!(refused, Refused::Malformed(_)), "{bad}");
    }
    assert!(TokenClaims::parse(b"{\"sub\":\"\xff\"}").is_err(), "no UTF-8");
}

/// reliability, 16.
#[test]
fn each_rule_refuses_the_token_that_breaks_it() {
    use Refused::*;
    let cases = [
        (json!({"iss": null}), Missing("iss")),
        (json!({"iss": "https://id.example.com/"}), Issuer),
        (json!({"iss": "https://ID.example.com"}), Issuer),
        (json!({"iss": ["https://id.example.com"]}), WrongType("iss")),
        (json!({"aud": null}), Missing("aud")),
        (json!({"aud": "cha"}), Audience),
        (json!({"aud": ""}), Audience),
        (json!({"aud": []}), Audience),
        (json!({"aud": ["mail", "Chat"]}), Audience),
        (json!({"aud": 1}), WrongType("aud")),
        (json!({"aud": ["chat", 1]}), WrongType("aud")),
        (json!({"aud": {"chat": true}}), WrongType("aud")),
        // The client's id stands for an audience only where there is none.
        (json!({"aud": "mail", "client_id": "chat"}), Audience),
        (json!({"aud": null, "client_id": "mail"}), Audience),
        (json!({"aud": null, "client_id": ["chat"]}), WrongType("client_id")),
        (json!({"exp": null}), Missing("exp")),
        (json!({"exp": "9999999999"}), WrongType("exp")),
        (json!({"exp": -1}), WrongType("exp")),
        (json!({"exp": [9_999_999_999_u64]}), WrongType("exp")),
        (json!({"exp": 0}), Expired),
        (json!({"exp": NOW_S - 5}), Expired),
        (json!({"exp": NOW_S as f64 - 5.001}), Expired),
        (json!({"nbf": NOW_S + 6}), NotYetValid),
        (json!({"nbf": 1e300}), NotYetValid),
        (json!({"nbf": "1"}), WrongType("nbf")),
        (json!({"iat": NOW_S + 6}), IssuedInFuture),
        (json!({"iat": true}), WrongType("iat")),
        (json!({"sub": null}), Missing("sub")),
        (json!({"sub": ""}), Missing("sub")),
        (json!({"sub": 7}), WrongType("sub")),
        (json!({"big": "x".repeat(MAX_CONTEXT_BYTES)}), ContextTooLarge),
    ];
    for (changes, refused) in cases {
        assert_eq!(verdict(&changes), Err(refused), "{changes}");
    }
}

#[test]
fn what_is_allowed_is_allowed() {
    for changes in [
        json!({}),
        json!({"aud": ["mail", "chat-admin"]}),
        json!({"aud": null, "client_id": "chat"}),
        json!({"exp": NOW_S - 4}),
        json!({"exp": NOW_S as f64 + 0.5}),
        json!({"exp": 1e300}),
        json!({"nbf": NOW_S + 5, "iat": NOW_S + 5}),
        json!({"nbf": 0, "iat": 0}),
    ] {
        assert!(verdict(&changes).is_ok(), "{changes}");
    }
}

#[test]
fn no_audience_in_the_rules_lets_nobody_in() {
    let rules = JwtAuthorizer { audiences: Vec::new(), ..rules() };
    assert_eq!(check(&claims(&json!({})), &rules, NOW_MS), Err(Refused::Audience));
}

#[test]
fn a_token_ends_with_its_exp_and_the_leeway() {
    let accepted = verdict(&json!({})).unwrap();
    assert_eq!(accepted.expires_at_ms, NOW_MS + 65_000);
    let claims = claims(&json!({}));
    assert!(check(&claims, &rules(), accepted.expires_at_ms - 1).is_ok());
    assert_eq!(check(&claims, &rules(), accepted.expires_at_ms), Err(Refused::Expired));
    assert_eq!(verdict(&json!({"exp": 1e300})).unwrap().expires_at_ms, u64::MAX);
}

#[test]
fn each_required_scope_must_be_granted_as_a_whole_word() {
    let rules = JwtAuthorizer {
        required_scopes: vec!["chat.use".to_owned(), "chat.read".to_owned()],
        ..rules()
    };
    let verdict = |changes: &Value| check(&claims(changes), &rules, NOW_MS).map(drop);
    for granted in [
        json!({"scope": "openid chat.read chat.use"}),
        json!({"scp": ["chat.use", "chat.read"]}),
        json!({"scp": "chat.use chat.read"}),
        json!({"scope": "chat.use", "scp": ["chat.read"]}),
        json!({"scope": ["chat.use", "chat.read"]}),
    ] {
        assert_eq!(verdict(&granted), Ok(()), "{granted}");
    }
    let missing = |name: &str| Err(Refused::Scope(name.to_owned()));
    assert_eq!(verdict(&json!({})), missing("chat.use"));
    assert_eq!(verdict(&json!({"scope": "chat.use"})), missing("chat.read"));
    assert_eq!(verdict(&json!({"scope": "chat.user chat.read"})), missing("chat.use"));
    assert_eq!(verdict(&json!({"scope": "chat.use,chat.read"})), missing("chat.use"));
    assert_eq!(verdict(&json!({"scope": {"chat.use": 1}})), Err(Refused::WrongType("scope")));
}

#[test]
fn a_required_claim_is_that_text_or_a_list_with_it() {
    let rules = |required: &str| JwtAuthorizer {
        required_claims: BTreeMap::from([("role".to_owned(), required.to_owned())]),
        ..rules()
    };
    let holds = |value: Value, required: &str| {
        let verdict = check(&claims(&json!({ "role": value })), &rules(required), NOW_MS);
        assert!(verdict.is_ok() || verdict == Err(Refused::Claim("role".to_owned())));
        verdict.is_ok()
    };
    assert!(holds(json!("admin"), "admin") && holds(json!(["user", "admin"]), "admin"));
    assert!(holds(json!(true), "true") && holds(json!(12), "12") && holds(json!([12]), "12"));
    assert!(!holds(json!("admins"), "admin") && !holds(json!(["admins"]), "admin"));
    assert!(!holds(json!(null), "null") && !holds(json!({"admin": 1}), "admin"));
    assert!(!holds(json!([["admin"]]), "admin") && !holds(json!([]), ""));
}

#[test]
fn claims_become_context_in_their_order_and_as_they_were_written() {
    let payload = format!(
        r#"{{"iss":"https://id.example.com","aud":["chat"],"exp":{},"sub":"u1","n":1.50,"b":true,
            "big":123456789012345678901234567890,"o":{{"z":1,"a":[null]}},"none":null,
            "principalId":"root","integrationLatency":1,"name":"Zo\u00eb"}}"#,
        NOW_S + 60
    );
    let accepted = check(&TokenClaims::parse(payload.as_bytes()).unwrap(), &rules(), NOW_MS);
    let accepted = accepted.unwrap();
    assert_eq!(accepted.principal, "u1");
    let context: Vec<_> =
        accepted.context.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        context,
        [
            ("iss", "https://id.example.com"),
            ("aud", r#"["chat"]"#),
            ("exp", "1700000060"),
            ("sub", "u1"),
            ("n", "1.50"),
            ("b", "true"),
            ("big", "123456789012345678901234567890"),
            ("o", r#"{"z":1,"a":[null]}"#),
            ("name", "Zoë"),
        ]
    );
}

#[test]
fn a_refusal_says_nothing_of_the_token() {
    let secret = "s3cr3t";
    let bad = [json!({"iss": secret}), json!({"aud": secret}), json!({"exp": secret})];
    for changes in bad {
        let refused = verdict(&changes).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains(secret), "{refused:?}");
    }
    let refused = header(&json!({"alg": secret}).to_string()).unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains(secret), "{refused:?}");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..200_u64).prop_map(|offset| Value::from(NOW_S - 100 + offset)),
        "[a-c ]{0,4}".prop_map(Value::from),
        Just(json!("https://id.example.com")),
        Just(json!("chat")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

/// Mostly claims that would do, so that the rules behind the first are reached.
fn any_claims() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "iss",
        "aud",
        "client_id",
        "exp",
        "nbf",
        "iat",
        "sub",
        "scope",
        "scp",
        "role",
        "x",
    ]);
    prop::collection::btree_map(name, any_value(), 0..4).prop_map(|changes| json!(changes))
}

proptest! {
    #[test]
    fn whoever_is_let_in_satisfies_every_rule(
        changes in any_claims(),
        scoped in any::<bool>(),
        now_s in NOW_S - 200..NOW_S + 200,
    ) {
        let required = |some: &str| if scoped { vec![some.to_owned()] } else { Vec::new() };
        let rules = JwtAuthorizer { required_scopes: required("a"), ..rules() };
        let now_ms = now_s * 1000;
        let Ok(accepted) = check(&claims(&changes), &rules, now_ms) else { return Ok(()) };
        let claim = |name: &str| match (&changes[name], name) {
            (Value::Null, "iss") if changes.get(name).is_none() => json!("https://id.example.com"),
            (Value::Null, "aud") if changes.get(name).is_none() => json!("chat"),
            (Value::Null, "sub") if changes.get(name).is_none() => json!("u1"),
            (Value::Null, "exp") if changes.get(name).is_none() => json!(NOW_S + 60),
            (value, _) => value.clone(),
        };
        prop_assert_eq!(claim("iss"), json!("https://id.example.com"));
        prop_assert_eq!(claim("sub"), json!(&accepted.principal));
        prop_assert!(!accepted.principal.is_empty());
        let audience = if claim("aud").is_null() { claim("client_id") } else { claim("aud") };
        let chat = json!("chat");
        prop_assert!(audience == chat || audience.as_array().is_some_and(|list| list.contains(&chat)));
        let now = now_s as f64;
        prop_assert!(claim("exp").as_f64().is_some_and(|exp| exp + 5.0 > now));
        for name in ["nbf", "iat"] {
            let at = claim(name);
            prop_assert!(at.is_null() || at.as_f64().is_some_and(|at| at < now + 5.001));
        }
        prop_assert!(accepted.expires_at_ms > now_ms);
        if scoped {
            let texts = format!("{} {}", claim("scope"), claim("scp"));
            prop_assert!(texts.split(|c: char| !c.is_alphanumeric()).any(|word| word == "a"));
        }
    }

    /// A later moment never lets in whom an earlier one found expired, and the end that is told is
    /// the very moment of the change.
    #[test]
    fn a_token_is_let_in_until_its_end_and_never_after(exp in 0.0..4e9_f64, ahead_ms in 0..9_u64) {
        let claims = claims(&json!({ "exp": exp }));
        let at = |now_ms| check(&claims, &rules(), now_ms);
        let end_ms = at(0).unwrap().expires_at_ms;
        prop_assert!(at(end_ms.saturating_sub(1 + ahead_ms)).is_ok());
        prop_assert_eq!(at(end_ms + ahead_ms), Err(Refused::Expired));
    }

    #[test]
    fn no_text_panics(text in any::<String>(), header in any::<String>(), payload in any::<Vec<u8>>()) {
        let _ = TokenHeader::parse(&text);
        let _ = TokenHeader::parse(&token(&header, "{}"));
        if let Ok(claims) = TokenClaims::parse(&payload) {
            let _ = check(&claims, &rules(), NOW_MS);
        }
    }
}
