//! Which api and which stage a request means (tidegate, section 2; websocket-api, 3.1, 3.2, 12.3,
//! 12.4 and item 118).
//!
//! In:  upgrades and calls with hosts and paths of every form.
//! Out: the api and the stage that took them, or 403.
//!
//! Holds always: nothing is served under a host or a path that leads to no stage.

use tidegate_testkit::{Client, FunctionBackend, GatewayToml, TestGateway, http_call, refused};

use crate::{
    connection_id, start, text,
    upgrade::{UPGRADE, assert_refusal},
    watched_by,
};

/// Which of two apis took the upgrade with this `Host`; `None` for a refusal with 403.
async fn api_of(gateway: &TestGateway, function: &FunctionBackend, host: &str) -> Option<String> {
    let headers = [&UPGRADE[..], &[("Host", host)]].concat();
    let response = http_call(&gateway.http_url(), "GET", "/prod", &headers, b"").await;
    if response.status == 101 {
        let event = function.next_event("CONNECT").await;
        assert_eq!(event["requestContext"]["domainName"], host);
        return Some(text(&event["requestContext"]["apiId"]).to_owned());
    }
    assert_refusal(&response, 403, "ForbiddenException");
    None
}

/// tidegate, section 2: exact domains, then wildcards, `.execute-api.`, `.localhost`.
#[tokio::test]
async fn the_host_decides_which_api_is_meant() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .api("domains", r#"["chat.example.com", "x.example.org"]"#)
        .section(&format!(
            r#"
[apis.other]
protocol = "websocket"
route_selection_expression = "$request.body.action"
domains = ["*.example.org", "*.localhost"]
[apis.other.stages.prod]
[apis.other.integrations.watcher]
type = "aws_proxy"
uri = "{}"
[apis.other.routes."$connect"]
integration = "watcher"
"#,
            function.url()
        ));
    let gateway = start(&toml).await;
    for (host, api) in [
        ("chat.example.com", Some("test")),
        ("CHAT.Example.com", Some("test")),
        ("chat.example.com:8443", Some("test")),
        ("a.example.org", Some("other")),
        ("x.example.org", Some("test")),
        ("a.b.example.org", None),
        ("example.org", None),
        ("test.execute-api.us-east-1.amazonaws.com", Some("test")),
        ("other.execute-api.eu-west-1.amazonaws.com", Some("other")),
        ("third.execute-api.eu-west-1.amazonaws.com", None),
        // The wildcard comes before the api's own name.
        ("test.localhost", Some("other")),
        ("localhost", None),
        ("127.0.0.1", None),
        ("evil-chat.example.com", None),
        ("chat.example.com.evil.com", None),
    ] {
        assert_eq!(api_of(&gateway, &function, host).await.as_deref(), api, "{host}");
    }
}

/// tidegate, section 2: `{api id}.localhost`, and the only api in the file.
#[tokio::test]
async fn the_only_api_answers_to_every_host() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function)).await;
    for host in ["127.0.0.1:1", "test.localhost", "other.localhost", "example.com", "[::1]:8080"] {
        assert_eq!(api_of(&gateway, &function, host).await.as_deref(), Some("test"), "{host}");
    }
}

/// websocket-api, 12.3, 12.4 and item 118: a key of a custom domain stands in the stage's place, in
/// upgrades and in calls of the management API; a mapping without a key takes the rest.
#[tokio::test]
async fn api_mappings_serve_a_stage_under_a_domain_of_its_own() {
    let function = FunctionBackend::accepting().await;
    let mappings = r#"[
        { domain = "d.example.com", key = "v1", stage = "prod" },
        { domain = "*.example.com", stage = "beta" },
        { domain = "d.example.com", key = "V2", stage = "beta" },
    ]"#;
    let toml = watched_by(&function).stage("beta").api("api_mappings", mappings);
    let gateway = start(&toml).await;
    for (host, path, stage) in [
        ("d.example.com", "/v1", Some("prod")),
        ("D.example.com:443", "/v1/", Some("prod")),
        ("d.example.com", "/V2/sub", Some("beta")),
        // An exact host that is mapped serves its keys, and nothing of the wildcard's.
        ("d.example.com", "/v2", None),
        ("d.example.com", "/prod", None),
        ("d.example.com", "/", None),
        ("x.example.com", "/", Some("beta")),
        ("x.example.com", "/prod", Some("beta")),
        ("elsewhere.example.org", "/v1", None),
        ("elsewhere.example.org", "/prod", Some("prod")),
    ] {
        let headers = [&UPGRADE[..], &[("Host", host)]].concat();
        let response = http_call(&gateway.http_url(), "GET", path, &headers, b"").await;
        let Some(stage) = stage else {
            assert_refusal(&response, 403, "ForbiddenException");
            continue;
        };
        assert_eq!(response.status, 101, "{host}{path}");
        let event = function.next_event("CONNECT").await;
        assert_eq!(event["requestContext"]["stage"], stage, "{host}{path}");
        assert_eq!(event["requestContext"]["domainName"], host);
    }
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let mut beta = Client::connect(&gateway.ws_url("beta")).await;
    let id = connection_id(&function).await;
    let of_beta = connection_id(&function).await;
    let post = |host: &'static str, path: String| {
        let url = gateway.http_url();
        async move { http_call(&url, "POST", &path, &[("Host", host)], b"pushed").await.status }
    };
    assert_eq!(post("d.example.com", format!("/v1/@connections/{id}")).await, 200);
    assert_eq!(client.next_text().await, "pushed");
    assert_eq!(post("x.example.com", format!("/@connections/{of_beta}")).await, 200);
    assert_eq!(beta.next_text().await, "pushed");
    assert_eq!(post("d.example.com", format!("/prod/@connections/{id}")).await, 403);
    assert_eq!(post("d.example.com", format!("/@connections/{id}")).await, 403);
    assert_eq!(post("d.example.com", format!("/V2/@connections/{id}")).await, 410);
}

/// tidegate, section 2: sub paths and a trailing slash are tolerated; websocket-api, 3.1.
#[tokio::test]
async fn a_trailing_slash_a_query_and_sub_paths_are_tolerated() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    for path in ["prod/", "prod?a=b", "prod/?a=b", "prod/any/sub/path", "%70rod"] {
        Client::connect(&gateway.ws_url(path)).await.ping_pong().await;
    }
}

/// websocket-api, 3.2: unknown stage; with and without an upgrade.
#[tokio::test]
async fn an_unknown_stage_is_answered_403() {
    let gateway = start(&GatewayToml::new().route_key("$default", "reply", "false")).await;
    for path in ["test", "PROD", "prods", "", "%2Fprod", "..%2fprod"] {
        let response = refused(&gateway.ws_url(path)).await;
        assert_eq!(assert_refusal(&response, 403, "ForbiddenException"), "Forbidden", "{path:?}");
        let response = gateway.manage("GET", &format!("/{path}"), b"").await;
        assert_refusal(&response, 403, "ForbiddenException");
    }
}
