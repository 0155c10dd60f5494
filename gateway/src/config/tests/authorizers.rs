//! Who may connect.

use tidegate_model::{
    AuthorizerKind, JwtAlgorithm, JwtAuthorizer, JwtKeys, OnExpiry, ParameterSource,
    RequestAuthorizer, TokenSource,
};

use super::*;

/// The small example whose `$connect` asks the authorizer `who`, its keys being `text`.
fn authorizer(text: &str) -> Result<Loaded, Problems> {
    let connect = "routes.\"$connect\"]\n";
    let named = SMALL.replace(connect, &format!("{connect}authorizer = \"who\"\n"));
    let text = format!(
        "{named}[apis.chat.integrations.decide]\ntype = \"aws_proxy\"\nuri = \"http://a/\"\n\
         [apis.chat.authorizers.who]\n{text}\n"
    );
    parse(&text, Path::new("."), "gateway.toml")
}

fn kind(text: &str) -> AuthorizerKind {
    let configuration = loaded(authorizer(text)).configuration;
    let api = &configuration.apis[0];
    let connect = api.routes.iter().find(|route| route.key.as_str() == "$connect").unwrap();
    api.authorizers[connect.authorizer.unwrap()].kind.clone()
}

fn request(text: &str) -> RequestAuthorizer {
    match kind(text) {
        AuthorizerKind::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn jwt(text: &str) -> JwtAuthorizer {
    match kind(text) {
        AuthorizerKind::Jwt(jwt) => *jwt,
        other => panic!("{other:?}"),
    }
}

/// The key below the authorizer, and the message.
fn bad(text: &str) -> (String, String) {
    let (key, message) = problem(authorizer(text));
    let key = key.strip_prefix("apis.chat.authorizers.who.").unwrap_or_else(|| panic!("{key}"));
    (key.to_owned(), message)
}

const REQUEST: &str = "type = \"request\"\nintegration = \"decide\"";
const JWT: &str = "type = \"jwt\"\nissuer = \"https://id.example.com/\"\naudiences = [\"chat\"]";
const IAM: &str = "type = \"iam\"\n[[apis.chat.authorizers.who.credentials]]\n\
                   access_key_id = \"AKID\"\nsecret_access_key = \"hunter2\"";

#[test]
fn a_request_authorizer_asks_a_function_for_what_its_sources_bring() {
    let plain = request(REQUEST);
    assert_eq!(plain.timeout, Duration::from_secs(10));
    assert!(plain.identity_source.is_empty());
    // Integrations stand in the order of their names: `backend`, `decide`.
    assert_eq!(plain.integration, 1);
    let full = request(&format!(
        "{REQUEST}\ntimeout_ms = 50\nidentity_source = [\"route.request.header.Auth\", \
         \"route.request.querystring.t\", \"context.stage\", \"stageVariables.a\"]"
    ));
    assert_eq!(full.timeout, Duration::from_millis(50));
    assert!(matches!(&full.identity_source[0], ParameterSource::Header(name) if name == "Auth"));
    assert_eq!(full.identity_source.len(), 4);
}

#[test]
fn a_request_authorizer_needs_a_function_and_good_sources() {
    assert_eq!(bad("type = \"request\"").0, "integration");
    let (key, message) = bad("type = \"request\"\nintegration = \"decid\"");
    assert_eq!(key, "integration");
    assert_eq!(message, "there is no integration \"decid\", did you mean `decide`?");
    let (key, message) = bad("type = \"request\"\nintegration = \"backend\"");
    assert_eq!(key, "integration");
    assert!(message.starts_with("integration \"backend\" is of type \"http_proxy\""), "{message}");
    for source in ["$request.header.X", "route.request.body.a", "'x'", ""] {
        let (key, _) = bad(&format!("{REQUEST}\nidentity_source = [\"{source}\"]"));
        assert_eq!(key, "identity_source[0]", "{source}");
    }
    for timeout in ["49", "10001"] {
        assert_eq!(bad(&format!("{REQUEST}\ntimeout_ms = {timeout}")).0, "timeout_ms");
    }
}

#[test]
fn a_jwt_authorizer_has_safe_defaults() {
    let jwt = jwt(JWT);
    assert_eq!(jwt.issuer, "https://id.example.com/", "as written: `iss` must equal it");
    assert!(
        matches!(&jwt.keys, JwtKeys::Discovery(uri) if uri.path == "/.well-known/openid-configuration"),
        "{:?}",
        jwt.keys
    );
    assert_eq!(jwt.algorithms.len(), 9);
    assert_eq!(jwt.token_source, [TokenSource::Header("Authorization".to_owned())]);
    assert_eq!(jwt.on_expiry, OnExpiry::Close);
    assert_eq!(jwt.leeway, Duration::from_mins(1));
    assert!(jwt.required_scopes.is_empty() && jwt.required_claims.is_empty());
}

#[test]
fn a_jwt_authorizer_takes_what_is_written() {
    let jwt = jwt(&format!(
        "{JWT}\njwks_uri = \"https://id.example.com/keys?a=1\"\nalgorithms = [\"ES256\", \"EdDSA\"]\n\
         token_source = [\"subprotocol\", \"route.request.querystring.token\", \"route.request.header.X-Token\"]\n\
         required_scopes = [\"chat.use\"]\nrequired_claims = {{ tenant = \"acme\" }}\n\
         on_expiry = \"keep\"\nleeway_s = 0"
    ));
    assert!(matches!(&jwt.keys, JwtKeys::Jwks(uri) if uri.path == "/keys"));
    assert_eq!(jwt.algorithms, [JwtAlgorithm::ES256, JwtAlgorithm::EdDSA]);
    assert_eq!(
        jwt.token_source,
        [
            TokenSource::Subprotocol,
            TokenSource::QueryString("token".to_owned()),
            TokenSource::Header("X-Token".to_owned()),
        ]
    );
    assert_eq!(jwt.required_scopes, ["chat.use"]);
    assert_eq!(jwt.required_claims["tenant"], "acme");
    assert_eq!((jwt.on_expiry, jwt.leeway), (OnExpiry::Keep, Duration::ZERO));
}

#[test]
fn a_jwt_authorizer_refuses_what_would_let_anyone_in_or_no_one() {
    assert_eq!(bad("type = \"jwt\"\naudiences = [\"chat\"]").0, "issuer");
    assert_eq!(bad("type = \"jwt\"\nissuer = \"https://a\"").0, "audiences");
    assert_eq!(bad("type = \"jwt\"\nissuer = \"https://a\"\naudiences = []").0, "audiences");
    for (text, key) in [
        ("audiences = [\"\"]", "audiences[0]"),
        ("issuer = \"id.example.com\"", "issuer"),
        ("issuer = \"unix:/run/id.sock\"", "issuer"),
        ("issuer = \"https://a/?b\"", "issuer"),
    ] {
        let name = text.split(' ').next().unwrap();
        let others: Vec<_> = JWT.lines().filter(|line| !line.starts_with(name)).collect();
        assert_eq!(bad(&format!("{}\n{text}", others.join("\n"))).0, key, "{text}");
    }
    for (text, key) in [
        ("algorithms = []", "algorithms"),
        ("algorithms = [\"HS256\"]", "algorithms[0]"),
        ("algorithms = [\"none\"]", "algorithms[0]"),
        ("token_source = []", "token_source"),
        ("token_source = [\"header.X\"]", "token_source[0]"),
        ("token_source = [\"context.stage\"]", "token_source[0]"),
        ("required_scopes = [\"\"]", "required_scopes[0]"),
        ("required_claims = { \"\" = \"a\" }", "required_claims.\"\""),
        ("required_claims = { admin = true }", "required_claims.admin"),
        ("on_expiry = \"stay\"", "on_expiry"),
        ("leeway_s = 301", "leeway_s"),
        ("jwks_uri = \"keys.json\"", "jwks_uri"),
    ] {
        assert_eq!(bad(&format!("{JWT}\n{text}")).0, key, "{text}");
    }
}

#[test]
fn keys_over_plain_http_are_a_warning_beyond_this_machine() {
    let warned = |issuer: &str| {
        let text = JWT.replace("https://id.example.com/", issuer);
        loaded(authorizer(&text)).warnings.iter().any(|one| one.contains("plain http"))
    };
    assert!(warned("http://id.example.com"));
    for near in ["http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost:9000"] {
        assert!(!warned(near), "{near}");
    }
}

#[test]
fn an_iam_authorizer_has_access_keys() {
    let AuthorizerKind::Iam(keys) = kind(&format!(
        "{IAM}\nsession_token = \"t\"\nuser = \"ann\"\n\
         policy = {{ Statement = [{{ Effect = \"Allow\", Action = \"execute-api:Invoke\", Resource = \"*\" }}] }}"
    )) else {
        panic!("an iam authorizer");
    };
    assert_eq!(keys[0].access_key_id, "AKID");
    assert_eq!(keys[0].user.as_deref(), Some("ann"));
    assert!(keys[0].session_token.is_some() && keys[0].policy.is_some());
    let AuthorizerKind::Iam(keys) = kind(IAM) else { panic!("an iam authorizer") };
    assert!(keys[0].session_token.is_none() && keys[0].user.is_none() && keys[0].policy.is_none());
    assert_eq!(bad("type = \"iam\"").0, "credentials");
    for (text, key) in [
        ("user = \"\"", "user"),
        ("policy = \"{\"", "policy"),
        ("policy = {}", "policy"),
        ("policy = { Statement = 1979-05-27 }", "policy.Statement"),
        ("session_token = { env = \"NOT_SET\" }", "session_token"),
        ("usr = \"ann\"", "usr"),
    ] {
        assert_eq!(bad(&format!("{IAM}\n{text}")).0, format!("credentials[0].{key}"), "{text}");
    }
}

#[test]
fn management_credentials_take_a_policy_too() {
    let management = |text: &str| with(&format!("{KEY}\"s\"\n{text}"));
    let policy = "policy = '{\"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"execute-api:ManageConnections\", \"Resource\": \"*\"}]}'";
    match loaded(management(&format!("user = \"poster\"\n{policy}"))).configuration.management {
        Management::SigV4(keys) => assert!(keys[0].policy.is_some() && keys[0].user.is_some()),
        Management::LoopbackOnly => panic!("sigv4 is the default"),
    }
    assert_eq!(problem(management("policy = \"[]\"")).0, "management.credentials[0].policy");
}

#[test]
fn a_key_of_another_type_is_refused_and_says_whose_it_is() {
    for (text, key, of) in [
        (format!("{REQUEST}\nissuer = \"https://a\""), "issuer", "jwt"),
        (format!("{REQUEST}\nleeway_s = 60"), "leeway_s", "jwt"),
        (format!("{REQUEST}\ncredentials = []"), "credentials", "iam"),
        (format!("{JWT}\nintegration = \"decide\""), "integration", "request"),
        (format!("{JWT}\nidentity_source = []"), "identity_source", "request"),
        (IAM.replace("\n[[", "\ntimeout_ms = 50\n[["), "timeout_ms", "request"),
        (IAM.replace("\n[[", "\non_expiry = \"keep\"\n[["), "on_expiry", "jwt"),
    ] {
        let expected = (key.to_owned(), format!("is for type {of:?} only"));
        assert_eq!(bad(&text), expected, "{text}");
    }
    assert_eq!(bad("type = \"cognito\"").0, "type");
}

#[test]
fn a_route_names_an_authorizer_on_connect_only() {
    let named = |route: &str, name: &str| {
        let header = format!("routes.\"{route}\"]\n");
        let text = SMALL.replace(&header, &format!("{header}authorizer = \"{name}\"\n"));
        parse(&format!("{text}[apis.chat.authorizers.who]\n{JWT}"), Path::new("."), "f")
    };
    let (key, message) = problem(named("$connect", "whoo"));
    assert_eq!(key, "apis.chat.routes.\"$connect\".authorizer");
    assert_eq!(message, "there is no authorizer \"whoo\", did you mean `who`?");
    let (key, message) = problem(named("$default", "who"));
    assert_eq!(key, "apis.chat.routes.\"$default\".authorizer");
    assert_eq!(message, "is for $connect only: who may connect is decided once");
    let warnings = loaded(and(&format!("[apis.chat.authorizers.who]\n{JWT}"))).warnings;
    assert!(warnings.iter().any(|one| one.contains("authorizers.who: no route uses it")));
}
