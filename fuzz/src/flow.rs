//! Targets for `tidegate-model` and `tidegate-flow`.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tidegate_flow::{
    authorizer_response,
    json::{self, Document},
    jwt::{self, TokenClaims, TokenHeader},
    policy::{self, AccessRequest, Decision},
    proxy_response,
    route_selection::{self, Candidate},
    sigv4::{self, SignedRequest, SigningKeys},
    trace_context::{TraceContext, trace_state},
};
use tidegate_model::{
    AccessLogFormat, AccessLogPiece, BodyPath, JwtAlgorithm, JwtAuthorizer, JwtKeys, OnExpiry,
    Secret, SelectionExpression, TokenSource, UriTemplate, policy::Effect,
};

/// The first line is a selection expression, the rest a message: no panic, and the client never
/// selects `$connect` or `$disconnect`.
pub fn selection_expression(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (expression, message) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(expression) = SelectionExpression::parse(expression) else { return };
    let again = SelectionExpression::parse(expression.as_str()).expect("it parsed before");
    assert_eq!(expression.parts().len(), again.parts().len());
    let _ = expression.check_route_selection();
    let candidate = route_selection::candidate(&expression, message);
    if json::is_strict_json(message) {
        assert_ne!(candidate, Candidate::NotJson);
    }
    route_selection::select(&expression, message, |key| -> Option<()> {
        assert!(key != "$connect" && key != "$disconnect");
        assert!(key == "$default" || matches!(&candidate, Candidate::Value(value) if value == key));
        None
    });
}

/// A message: what `serde_json` takes, the relaxed parser takes too, and a value found in one pass
/// is the one that the parsed document has.
pub fn relaxed_json(input: &[u8]) {
    let Ok(message) = std::str::from_utf8(input) else { return };
    let document = Document::relaxed(message);
    let is_strict = json::is_strict_json(message);
    assert!(!is_strict || document.is_some());
    for path in ["", ".action", ".a.b", "[0].a", "[-1]"] {
        let path = BodyPath::parse(path).expect("it is well formed");
        let BodyPath::Steps(steps) = &path else { panic!("it is definite") };
        let built = document.as_ref().map(|document| document.text_at(&path));
        if let Ok(found) = json::text_at(message, steps) {
            assert!(is_strict);
            assert_eq!(Some(found), built);
        }
    }
    if let (Some(document), Ok(query)) = (document, BodyPath::parse("..a")) {
        document.text_at(&query);
    }
}

/// The first line is a uri, the rest what its stage variables `a` and `b` stand for, a line each:
/// whatever expands is fit for a request line and a `Host` header.
pub fn uri_template(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let Ok(template) = UriTemplate::parse(lines.next().unwrap_or_default()) else { return };
    let named = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let variables: BTreeMap<_, _> = ["a", "b"].into_iter().zip(lines).map(named).collect();
    let Ok(uri) = template.expand(&variables) else { return };
    assert!(uri.path.starts_with('/') && !uri.path.contains(['?', '#']));
    let sent = [uri.authority.as_str(), &uri.path, uri.query.as_deref().unwrap_or_default()];
    assert!(sent.iter().all(|text| text.bytes().all(|b| b.is_ascii_graphic())));
    assert!(!uri.authority.contains(['@', '/', '?', '#']));
    uri.has_path_parameters();
}

/// A function's answer: what is taken has a status that HTTP knows.
pub fn proxy_response(input: &[u8]) {
    if let Ok(response) = proxy_response::parse(input) {
        assert!((100..600).contains(&response.status));
        assert!(std::str::from_utf8(input).is_ok());
    }
}

/// A `traceparent`, and `tracestate`s a line each: what is read is written so that it is read as
/// the same, and what is passed on may stand in a header.
pub fn trace_context(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let parent = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    if let Some(context) = parent.and_then(TraceContext::parse) {
        assert_eq!(TraceContext::parse(&context.traceparent()), Some(context));
        assert!(context.amazon_trace_id().is_ascii());
    }
    if let Some(state) = trace_state(lines) {
        assert!(!state.contains(['\r', '\n', '\0']) && state.len() <= 512);
    }
}

/// A request as text: method, target, headers a line each, an empty line, the body. Nobody knows
/// the secret, so nothing verifies.
pub fn signed_request(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.split('\n');
    let method = lines.next().unwrap_or_default();
    let target = lines.next().unwrap_or_default();
    let (raw_path, raw_query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(&str, &[u8])> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.as_bytes()))
        .collect();
    let request =
        SignedRequest { method, raw_path, raw_query, headers: &headers, body: body.as_bytes() };
    let secret = Secret::new("a secret that no input can have signed with".to_owned());
    let mut keys = SigningKeys::new();
    let verdict = sigv4::verify(&request, |_| Some(&secret), &mut keys, 1_440_938_160);
    assert!(verdict.is_err());
}

/// An access log's format: its pieces put together again are the format.
pub fn access_log_format(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(format) = AccessLogFormat::parse(text) else { return };
    let again: String = format
        .pieces()
        .iter()
        .map(|piece| match piece {
            AccessLogPiece::Literal(literal) => literal.clone(),
            AccessLogPiece::Context(name) => format!("$context.{name}"),
        })
        .collect();
    assert_eq!(again, text);
}

/// The first line is a token, the second a token's header and the rest its payload, not encoded:
/// what is accepted has a principal, an end in the future and a context within bounds.
pub fn jwt(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.splitn(3, '\n');
    let token = lines.next().unwrap_or_default();
    let _ = TokenHeader::parse(token);
    let _ = TokenClaims::unverified(token);

    let [header, payload] = [lines.next(), lines.next()].map(Option::unwrap_or_default);
    let [encoded_header, encoded_payload] = [header, payload].map(|p| URL_SAFE_NO_PAD.encode(p));
    let token = format!("{encoded_header}.{encoded_payload}.c2lnbmF0dXJl");
    let fits = token.len() <= jwt::MAX_TOKEN_BYTES;
    assert!(fits || TokenHeader::parse(&token).is_err());
    let unverified = TokenClaims::unverified(&token);
    let Ok(claims) = TokenClaims::parse(payload.as_bytes()) else {
        assert!(unverified.is_err());
        return;
    };
    assert_eq!(unverified.is_ok(), fits);
    let keys = UriTemplate::parse("https://id.example.com/jwks").expect("it is well formed");
    let rules = JwtAuthorizer {
        issuer: "i".to_owned(),
        audiences: vec!["a".to_owned()],
        keys: JwtKeys::Jwks(keys.expand(&BTreeMap::new()).expect("it has no variables")),
        algorithms: vec![JwtAlgorithm::ES256],
        token_source: vec![TokenSource::Subprotocol],
        required_scopes: Vec::new(),
        required_claims: BTreeMap::new(),
        on_expiry: OnExpiry::Close,
        leeway: Duration::from_secs(5),
    };
    let now_ms = 1_700_000_000_000;
    let Ok(accepted) = jwt::check(&claims, &rules, now_ms) else { return };
    assert!(!accepted.principal.is_empty() && accepted.expires_at_ms > now_ms);
    let bytes = |(name, value): &(String, String)| name.len() + value.len();
    assert!(accepted.context.iter().map(bytes).sum::<usize>() <= jwt::MAX_CONTEXT_BYTES);
    let named = |name: &str| accepted.context.iter().any(|(known, _)| known == name);
    assert!(named("iss") && !named("principalId") && !named("integrationLatency"));
    // Rules more are never more let in.
    let stricter = JwtAuthorizer { required_scopes: vec!["s".to_owned()], ..rules.clone() };
    if let Ok(scoped) = jwt::check(&claims, &stricter, now_ms) {
        assert_eq!(scoped, accepted);
    }
    let late = jwt::check(&claims, &rules, accepted.expires_at_ms);
    assert_eq!(late, Err(jwt::Refused::Expired));
}

/// An authorizer's answer: its policy says the same whatever the order of its statements, a statement
/// that denies by itself denies with the others, and no context value takes the gateway's names.
pub fn policy(input: &[u8]) {
    let Ok(mut answer) = authorizer_response::parse(input) else { return };
    assert!(input.len() <= authorizer_response::MAX_ANSWER_BYTES);
    let own = ["principalId", "integrationLatency"];
    assert!(answer.context.iter().all(|(name, _)| !own.contains(&name.as_str())));
    let request = AccessRequest {
        action: "execute-api:Invoke",
        resource: "arn:aws:execute-api:us-east-1:000000000000:chat/prod/$connect",
        alias: None,
        source_ip: [192, 0, 2, 1].into(),
        secure_transport: false,
        user_agent: Some("fuzz"),
        referer: None,
        principal: None,
        now_s: 1_440_938_160,
    };
    let decision = policy::evaluate(&answer.policy, &request);
    answer.policy.statements.reverse();
    assert_eq!(policy::evaluate(&answer.policy, &request), decision);
    answer.policy.statements.retain(|statement| statement.effect == Effect::Deny);
    let denied = policy::evaluate(&answer.policy, &request) == Decision::Deny;
    assert_eq!(denied, decision == Decision::Deny);
}
