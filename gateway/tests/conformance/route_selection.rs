//! Which route a message runs (websocket-api, section 2 and 17.2).
//!
//! In:  a route selection expression, route keys, messages.
//! Out: the key of the route whose integration ran, told by the backend in its reply.
//!
//! Holds always: each route has an integration with a path of its own, so the reply shows what
//! really ran; the event's `routeKey` is compared with it.

use serde_json::json;
use tidegate_testkit::{
    Answer, Client, FunctionBackend, GatewayToml, HttpBackend, RecordedRequest, TestGateway,
};

use crate::{assert_error_frame, connection_id, reply, start, text, watched_by};

/// A gateway whose every route replies with its own key.
struct Telling {
    client: Client,
    /// Kept: they end with their values.
    _gateway: TestGateway,
    _backend: HttpBackend,
}

impl Telling {
    async fn start(expression: &str, routes: &[&str]) -> Self {
        let keys: Vec<String> = routes.iter().map(|&key| key.to_owned()).collect();
        let backend = HttpBackend::start(move |request: RecordedRequest| {
            let index: usize = request.path[1..].parse().expect("the path is a route's number");
            let event = request.json();
            assert_eq!(event["requestContext"]["routeKey"], keys[index].as_str());
            std::future::ready(Answer::body_of(reply(&keys[index]).to_string()))
        })
        .await;
        let mut toml = GatewayToml::new().expression(expression);
        for (index, key) in routes.iter().enumerate() {
            let name = format!("integration-{index}");
            toml = toml.function(&name, &format!("{}/{index}", backend.url()));
            toml = toml.two_way(key, &name);
        }
        let gateway = start(&toml).await;
        let client = Client::connect(&gateway.ws_url("prod")).await;
        Self { client, _gateway: gateway, _backend: backend }
    }

    /// The key of the route that ran for a message.
    async fn route_of(&mut self, message: &str) -> String {
        self.client.send_text(message).await;
        self.client.next_text().await
    }
}

/// websocket-api, item 18.
#[tokio::test]
async fn a_bare_and_a_wrapped_variable_select_the_same_route() {
    for expression in ["$request.body.action", "${request.body.action}"] {
        let mut api = Telling::start(expression, &["join", "$default"]).await;
        assert_eq!(api.route_of(r#"{"action":"join"}"#).await, "join", "{expression}");
    }
}

/// websocket-api, item 19.
#[tokio::test]
async fn variables_and_literal_text_mix_in_one_expression() {
    let expression = "${request.body.service}/${request.body.action}";
    let mut api = Telling::start(expression, &["chat/join", "chat", "join", "$default"]).await;
    let message = r#"{"service":"chat","action":"join","data":{"room":"r1"}}"#;
    assert_eq!(api.route_of(message).await, "chat/join");
}

/// websocket-api, item 20.
#[tokio::test]
async fn a_missing_variable_is_the_empty_string() {
    let expression = "${request.body.action}-${request.body.nope}";
    let mut api = Telling::start(expression, &["join-", "join", "$default"]).await;
    assert_eq!(api.route_of(r#"{"action":"join"}"#).await, "join-");
}

/// websocket-api, item 21.
#[tokio::test]
async fn a_nested_path_selects() {
    let mut api = Telling::start("$request.body.service.do", &["add", "$default"]).await;
    assert_eq!(api.route_of(r#"{"service":{"do":"add"},"do":"sub"}"#).await, "add");
}

/// websocket-api, item 22.
#[tokio::test]
async fn an_array_index_in_the_path_selects() {
    let mut api =
        Telling::start("$request.body.items[0].kind", &["book", "film", "$default"]).await;
    assert_eq!(api.route_of(r#"{"items":[{"kind":"book"},{"kind":"film"}]}"#).await, "book");
    assert_eq!(api.route_of(r#"{"items":[]}"#).await, "$default");
}

/// websocket-api, 2.1 (decision): a bare path runs over `-`, as in `detail-type`.
#[tokio::test]
async fn a_hyphen_belongs_to_a_bare_path() {
    let mut api = Telling::start("$request.body.detail-type", &["order", "$default"]).await;
    assert_eq!(api.route_of(r#"{"detail-type":"order","detail":"no"}"#).await, "order");
}

/// websocket-api, item 23.
#[tokio::test]
async fn an_escaped_dollar_sends_everything_to_default() {
    let mut api = Telling::start(r"\$default", &["join", "$default"]).await;
    for message in [r#"{"action":"join"}"#, "not JSON", "{}"] {
        assert_eq!(api.route_of(message).await, "$default", "{message}");
    }
}

/// websocket-api, 2.3: a pure literal is the key of every message.
#[tokio::test]
async fn a_literal_expression_selects_the_route_of_that_name() {
    let mut api = Telling::start("action", &["action", "$default"]).await;
    assert_eq!(api.route_of(r#"{"action":"join"}"#).await, "action");
}

/// websocket-api, items 24, 25 and 26.
#[tokio::test]
async fn what_matches_no_route_goes_to_default() {
    let mut api = Telling::start("$request.body.action", &["join", "$default"]).await;
    let unmatched = [
        "hi",                    // item 24: no JSON
        "",                      // nor is this
        r#"{"action":"join""#,   // nor this
        r#"{"other":"join"}"#,   // item 25: no such key
        r#"{"action":"leave"}"#, // item 26: no such route
        r#"{"action":null}"#,    // 2.4: null is ""
        r#"{"action":""}"#,
        r#"["join"]"#, // 2.4: JSON, but without the path
        r#""join""#,
        r#"{"action":" join"}"#,
        r#"{"action":"$default"}"#, // 2.4: matches the route of that name
    ];
    for message in unmatched {
        assert_eq!(api.route_of(message).await, "$default", "{message:?}");
    }
    assert_eq!(api.route_of(r#"{"action":"join"}"#).await, "join");
}

/// websocket-api, item 27.
#[tokio::test]
async fn without_default_an_unmatched_message_gets_a_forbidden_frame_and_the_socket_stays_open() {
    let function = FunctionBackend::start(|_| reply("joined")).await;
    let toml = watched_by(&function).two_way("join", "watcher");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    let mut request_ids = Vec::new();
    for message in ["hi", "{}", r#"{"action":"leave"}"#, r#"{"action":"$default"}"#] {
        client.send_text(message).await;
        let frame = client.next_text().await;
        request_ids.push(assert_error_frame(&frame, "Forbidden", &id));
    }
    request_ids.dedup();
    assert_eq!(request_ids.len(), 4, "each message has a request id of its own");
    assert_eq!(function.events_of("MESSAGE").len(), 0, "nothing is invoked");
    client.send_text(r#"{"action":"join"}"#).await;
    assert_eq!(client.next_text().await, "joined", "the socket is still of use");
}

/// websocket-api, item 28.
#[tokio::test]
async fn an_api_without_default_serves_its_custom_routes() {
    let mut api = Telling::start("$request.body.action", &["join", "leave"]).await;
    assert_eq!(api.route_of(r#"{"action":"leave"}"#).await, "leave");
    assert_eq!(api.route_of(r#"{"action":"join"}"#).await, "join");
}

/// websocket-api, item 29.
#[tokio::test]
async fn an_array_value_is_written_with_comma_and_space_and_no_quotes() {
    let mut api = Telling::start("$request.body.action", &["[a, b]", "$default"]).await;
    assert_eq!(api.route_of(r#"{"action":["a","b"]}"#).await, "[a, b]");
}

/// websocket-api, 2.4 (decision): Java map style.
#[tokio::test]
async fn an_object_value_is_written_as_a_java_map() {
    let mut api = Telling::start("$request.body.action", &["{k=v, k2=v2}", "$default"]).await;
    assert_eq!(api.route_of(r#"{"action":{"k":"v","k2":"v2"}}"#).await, "{k=v, k2=v2}");
}

/// websocket-api, item 30 and 2.4.
#[tokio::test]
async fn numbers_and_booleans_match_by_their_json_text() {
    let mut api = Telling::start("$request.body.action", &["1", "true", "$default"]).await;
    assert_eq!(api.route_of(r#"{"action":1}"#).await, "1");
    assert_eq!(api.route_of(r#"{"action":"1"}"#).await, "1");
    assert_eq!(api.route_of(r#"{"action":true}"#).await, "true");
    assert_eq!(api.route_of(r#"{"action":2}"#).await, "$default");
}

/// websocket-api, item 31.
#[tokio::test]
async fn matching_is_case_sensitive() {
    let mut api = Telling::start("$request.body.action", &["join", "JOIN", "$default"]).await;
    assert_eq!(api.route_of(r#"{"action":"join"}"#).await, "join");
    assert_eq!(api.route_of(r#"{"action":"JOIN"}"#).await, "JOIN");
    assert_eq!(api.route_of(r#"{"action":"Join"}"#).await, "$default");
    assert_eq!(api.route_of(r#"{"Action":"join"}"#).await, "$default");
}

/// websocket-api, 2.4 (decision): unquoted keys and single quotes are read for selection only;
/// the backend gets the text as it was.
#[tokio::test]
async fn relaxed_json_selects_and_reaches_the_backend_unchanged() {
    let function = FunctionBackend::start(|event| reply(text(&event["body"]))).await;
    let toml = GatewayToml::new().function("f", &function.url()).two_way("join", "f");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let messages = [r#"{action: "join"}"#, r#"{'action':'join'}"#, r#"{"action":"join", b:"x"}"#];
    for message in messages {
        client.send_text(message).await;
        assert_eq!(client.next_text().await, message);
    }
}

/// websocket-api, item 32 and 2.4 (decision): as no match.
#[tokio::test]
async fn a_message_cannot_run_connect_or_disconnect() {
    for with_default in [false, true] {
        let function =
            FunctionBackend::start(|event| reply(text(&event["requestContext"]["routeKey"]))).await;
        let mut toml = watched_by(&function);
        if with_default {
            toml = toml.two_way("$default", "watcher");
        }
        let gateway = start(&toml).await;
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        let id = connection_id(&function).await;
        for key in ["$connect", "$disconnect"] {
            client.send_text(&json!({ "action": key }).to_string()).await;
            let answer = client.next_text().await;
            if with_default {
                assert_eq!(answer, "$default");
            } else {
                assert_error_frame(&answer, "Forbidden", &id);
            }
        }
        assert_eq!(function.events_of("CONNECT").len(), 1);
        assert_eq!(function.events_of("DISCONNECT").len(), 0);
        assert_eq!(function.events_of("MESSAGE").len(), if with_default { 2 } else { 0 });
    }
}
