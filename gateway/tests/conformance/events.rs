//! What a function is told about a connection's beginning, messages and end (websocket-api,
//! section 4 and 17.5).
//!
//! In:  one session of a client. Out: the proxy events that the function got.
//!
//! Holds always: the client names a host of its own, so that what the events say about hosts can
//! be told from what a port happens to be.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tidegate_testkit::{Client, FunctionBackend, GatewayToml, RawClient, TestGateway};

use crate::{assert_id, connection_id, start, text, watched_by};

const HOST: &str = "test.execute-api.us-east-1.amazonaws.com";

/// A function behind `$connect`, `$default` and `$disconnect`.
struct Watched {
    gateway: TestGateway,
    function: FunctionBackend,
}

impl Watched {
    async fn start() -> Self {
        Self::start_with(|toml| toml).await
    }

    async fn start_with(change: impl FnOnce(GatewayToml) -> GatewayToml) -> Self {
        let function = FunctionBackend::accepting().await;
        let toml = watched_by(&function).route("$default", "watcher");
        let gateway = start(&change(toml)).await;
        Self { gateway, function }
    }

    /// One session: connect with `query` and `headers`, send one text, close. Its three events.
    async fn session(&self, query: &str, headers: &[(&str, &str)]) -> [Value; 3] {
        let mut all = vec![("Host", HOST)];
        all.extend(headers);
        let url = self.gateway.ws_url("prod") + query;
        let mut client = Client::connect_with(&url, &all, &[]).await;
        let connect = self.function.next_event("CONNECT").await;
        client.send_text("hello").await;
        let message = self.function.next_event("MESSAGE").await;
        client.close(1000, "").await;
        [connect, message, self.function.next_event("DISCONNECT").await]
    }
}

fn context(event: &Value) -> &Map<String, Value> {
    event["requestContext"].as_object().unwrap_or_else(|| panic!("no requestContext in {event}"))
}

/// The names of an object's members, sorted.
fn names(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("an object, not {value}"));
    let mut names: Vec<_> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn header<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    let headers = event["headers"].as_object().unwrap_or_else(|| panic!("headers in {event}"));
    let found = headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map(|(_, value)| text(value))
}

/// websocket-api, item 56.
#[tokio::test]
async fn connect_has_headers_and_neither_body_nor_message_id() {
    let [connect, ..] = Watched::start().await.session("", &[("X-Room", "r1")]).await;
    assert_eq!(header(&connect, "x-room"), Some("r1"));
    assert_eq!(header(&connect, "host"), Some(HOST));
    assert_eq!(header(&connect, "sec-websocket-version"), Some("13"));
    assert!(header(&connect, "sec-websocket-key").is_some());
    assert!(connect.get("body").is_none(), "{connect}");
    assert!(!context(&connect).contains_key("messageId"), "{connect}");
    let once = connect["headers"].as_object().expect("an object");
    for (name, value) in once {
        assert_eq!(connect["multiValueHeaders"][name], json!([value]), "{name}");
    }
    assert_eq!(names(&connect["headers"]), names(&connect["multiValueHeaders"]));
}

/// websocket-api, 4.3: names keep the client's casing; of several values the last is the single one.
#[tokio::test]
async fn connect_headers_keep_their_casing_and_every_value() {
    let watched = Watched::start().await;
    let headers = [("X-OddCASE", "v"), ("X-Many", "one"), ("X-Many", "two"), ("x-api-key", "k")];
    let _client = RawClient::connect_with(&watched.gateway.ws_url("prod"), &headers).await;
    let connect = watched.function.next_event("CONNECT").await;
    assert_eq!(connect["headers"]["X-OddCASE"], "v");
    assert_eq!(connect["headers"]["X-Many"], "two");
    assert_eq!(connect["multiValueHeaders"]["X-Many"], json!(["one", "two"]));
    assert_eq!(connect["headers"]["x-api-key"], "k");
}

/// websocket-api, 4.3: the forwarding headers of a CONNECT event.
#[tokio::test]
async fn connect_tells_where_the_client_came_from() {
    let watched = Watched::start().await;
    let [connect, ..] = watched.session("", &[]).await;
    let port = watched.gateway.address().port().to_string();
    assert_eq!(header(&connect, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(&connect, "x-forwarded-port"), Some(port.as_str()));
    assert_eq!(header(&connect, "x-forwarded-proto"), Some("http"));
    let trace = header(&connect, "x-amzn-trace-id").expect("a trace id");
    let parts: Vec<_> = trace.strip_prefix("Root=1-").expect("a root").split('-').collect();
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    assert!(matches!(parts[..], [time, random] if hex(time, 8) && hex(random, 24)), "{trace}");
    assert_eq!(connect["requestContext"]["identity"]["sourceIp"], "127.0.0.1");
}

/// websocket-api, item 57 and 4.3.
#[tokio::test]
async fn connect_without_query_has_no_query_members() {
    let watched = Watched::start().await;
    let [connect, ..] = watched.session("", &[]).await;
    assert!(connect.get("queryStringParameters").is_none(), "{connect}");
    assert!(connect.get("multiValueQueryStringParameters").is_none(), "{connect}");
    assert!(connect.get("stageVariables").is_none(), "{connect}");
}

/// websocket-api, 4.3: percent-decoded; the single map has the last value, the other has all.
#[tokio::test]
async fn connect_carries_the_query_parsed() {
    let watched = Watched::start().await;
    let [connect, message, disconnect] = watched.session("?token=a%20b&r=1&r=2&empty=", &[]).await;
    let once = json!({ "token": "a b", "r": "2", "empty": "" });
    assert_eq!(connect["queryStringParameters"], once);
    let all = json!({ "token": ["a b"], "r": ["1", "2"], "empty": [""] });
    assert_eq!(connect["multiValueQueryStringParameters"], all);
    for event in [message, disconnect] {
        assert!(event.get("queryStringParameters").is_none(), "{event}");
        assert!(event.get("multiValueQueryStringParameters").is_none(), "{event}");
    }
}

/// websocket-api, 4.3: present when defined.
#[tokio::test]
async fn stage_variables_stand_in_connect_and_message_events() {
    let watched = Watched::start_with(|toml| toml.variable("env", "blue")).await;
    let [connect, message, _] = watched.session("", &[]).await;
    assert_eq!(connect["stageVariables"], json!({ "env": "blue" }));
    assert_eq!(message["stageVariables"], json!({ "env": "blue" }));
}

/// websocket-api, item 58.
#[tokio::test]
async fn connect_headers_lack_connection_and_upgrade() {
    let [connect, ..] = Watched::start().await.session("", &[]).await;
    for name in ["connection", "upgrade", "content-length"] {
        assert_eq!(header(&connect, name), None, "{name} in {connect}");
    }
}

/// websocket-api, item 59.
#[tokio::test]
async fn message_has_body_and_message_id_and_no_headers() {
    let [_, message, _] = Watched::start().await.session("?a=b", &[]).await;
    assert_eq!(message["body"], "hello");
    assert_id(text(&message["requestContext"]["messageId"]));
    assert!(message.get("headers").is_none(), "{message}");
    assert!(message.get("multiValueHeaders").is_none(), "{message}");
}

/// websocket-api, item 60.
#[tokio::test]
async fn body_equals_the_clients_text_byte_for_byte() {
    let watched = Watched::start().await;
    let mut client = Client::connect(&watched.gateway.ws_url("prod")).await;
    let texts = [
        "{ \"b\" : 1.0e2 ,\r\n\t\"a\":\"\\u00e9\\/é\", \"a\": 2 }  ",
        "\u{feff}no JSON \u{0} \u{7f} \u{1f600} \u{2028} \\ \" '",
        "",
    ];
    for sent in texts {
        client.send_text(sent).await;
        assert_eq!(watched.function.next_event("MESSAGE").await["body"], sent);
    }
}

/// websocket-api, item 61.
#[tokio::test]
async fn disconnect_has_exactly_four_headers_and_three_are_empty() {
    let [_, _, disconnect] = Watched::start().await.session("", &[("x-api-key", "secret")]).await;
    let headers = json!({ "Host": HOST, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": "" });
    assert_eq!(disconnect["headers"], headers);
    let all =
        json!({ "Host": [HOST], "x-api-key": [""], "X-Forwarded-For": [""], "x-restapi": [""] });
    assert_eq!(disconnect["multiValueHeaders"], all);
    assert!(disconnect.get("body").is_none(), "{disconnect}");
}

/// websocket-api, item 62.
#[tokio::test]
async fn request_id_equals_extended_request_id_and_is_fresh_for_each_event() {
    let events = Watched::start().await.session("", &[]).await;
    let mut ids = Vec::new();
    for event in &events {
        let context = context(event);
        assert_eq!(context["requestId"], context["extendedRequestId"]);
        assert_id(text(&context["requestId"]));
        ids.push(text(&context["requestId"]));
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

/// websocket-api, item 63 and 4.1: equal to CONNECT's `requestTimeEpoch`, or 1 to 2 ms before.
#[tokio::test]
async fn connected_at_is_identical_in_all_events_of_a_connection() {
    let events = Watched::start().await.session("", &[]).await;
    let connected: Vec<_> =
        events.iter().map(|e| e["requestContext"]["connectedAt"].clone()).collect();
    assert!(connected.iter().all(|at| *at == connected[0]), "{connected:?}");
    let at = connected[0].as_u64().expect("milliseconds as a number");
    let first = events[0]["requestContext"]["requestTimeEpoch"].as_u64().expect("a number");
    assert!((at..=at + 2).contains(&first), "connectedAt {at}, requestTimeEpoch {first}");
}

/// websocket-api, item 64.
#[tokio::test]
async fn connection_id_is_16_characters_of_url_safe_base64_with_one_pad() {
    let watched = Watched::start().await;
    let [connect, message, disconnect] = watched.session("", &[]).await;
    let id = &connect["requestContext"]["connectionId"];
    assert_id(text(id));
    assert_eq!(*id, message["requestContext"]["connectionId"]);
    assert_eq!(*id, disconnect["requestContext"]["connectionId"]);
    let [other, ..] = watched.session("", &[]).await;
    assert_ne!(*id, other["requestContext"]["connectionId"]);
}

/// websocket-api, item 65.
#[tokio::test]
async fn request_time_is_a_common_log_time_in_utc() {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    for event in Watched::start().await.session("", &[]).await {
        let time = text(&event["requestContext"]["requestTime"]);
        // `19/Feb/2024:07:11:42 +0000`; in the shape, a 9 stands for any digit.
        let moment = time.strip_suffix(" +0000").unwrap_or_else(|| panic!("{time} is not UTC"));
        let shape: String =
            moment.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        let month = &time[3..6];
        assert_eq!(shape, format!("99/{month}/9999:99:99:99"), "{time}");
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        assert!(months.find(month).is_some_and(|at| at % 3 == 0), "{time}");
        let epoch = event["requestContext"]["requestTimeEpoch"].as_u64().expect("a number");
        let epoch = Duration::from_millis(epoch);
        assert!(
            epoch >= before - Duration::from_millis(1) && epoch < before + Duration::from_secs(60)
        );
        let seconds = epoch.as_secs() % 86_400;
        let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        assert_eq!(time[12..20], clock, "requestTime and requestTimeEpoch are one moment");
    }
}

/// websocket-api, item 66.
#[tokio::test]
async fn user_agent_is_absent_from_identity_when_the_client_sent_none() {
    let watched = Watched::start().await;
    for event in watched.session("", &[]).await {
        assert_eq!(context(&event)["identity"], json!({ "sourceIp": "127.0.0.1" }));
    }
    for event in watched.session("", &[("User-Agent", "test/1")]).await {
        let identity = json!({ "sourceIp": "127.0.0.1", "userAgent": "test/1" });
        assert_eq!(context(&event)["identity"], identity, "repeated on every event");
    }
}

/// websocket-api, item 67.
#[tokio::test]
async fn is_base64_encoded_is_false_in_all_three_events() {
    for event in Watched::start().await.session("", &[]).await {
        assert_eq!(event["isBase64Encoded"], false, "{event}");
    }
}

/// websocket-api, item 68 and 4.1: nothing more, nothing less, and no nulls.
#[tokio::test]
async fn request_context_has_the_members_of_its_event_type_and_no_others() {
    let [connect, message, disconnect] = Watched::start().await.session("", &[]).await;
    let common = [
        "apiId",
        "connectedAt",
        "connectionId",
        "domainName",
        "eventType",
        "extendedRequestId",
        "identity",
        "messageDirection",
        "requestId",
        "requestTime",
        "requestTimeEpoch",
        "routeKey",
        "stage",
    ];
    let with = |more: &[&'static str]| {
        let mut all = [&common, more].concat();
        all.sort_unstable();
        all
    };
    assert_eq!(names(&connect["requestContext"]), with(&[]));
    assert_eq!(names(&message["requestContext"]), with(&["messageId"]));
    let ends = ["disconnectReason", "disconnectStatusCode"];
    assert_eq!(names(&disconnect["requestContext"]), with(&ends));
    let connect_members = ["headers", "isBase64Encoded", "multiValueHeaders", "requestContext"];
    assert_eq!(names(&connect), connect_members);
    assert_eq!(names(&message), ["body", "isBase64Encoded", "requestContext"]);
    assert_eq!(names(&disconnect), connect_members);
    for (event, event_type, route_key) in [
        (&connect, "CONNECT", "$connect"),
        (&message, "MESSAGE", "$default"),
        (&disconnect, "DISCONNECT", "$disconnect"),
    ] {
        let context = context(event);
        assert_eq!(context["eventType"], event_type);
        assert_eq!(context["routeKey"], route_key);
        assert_eq!(context["messageDirection"], "IN");
        assert_eq!(context["stage"], "prod");
        assert_eq!(context["apiId"], "test");
        assert_eq!(context["domainName"], HOST);
    }
}

/// websocket-api, 12.4, and tidegate, section 2: backends build
/// `https://{domainName}/{stage}` from it, so a port that the client used belongs to it.
#[tokio::test]
async fn domain_name_is_the_host_that_the_client_used() {
    let watched = Watched::start().await;
    let _client = Client::connect(&watched.gateway.ws_url("prod")).await;
    let connect = watched.function.next_event("CONNECT").await;
    assert_eq!(context(&connect)["domainName"], watched.gateway.address().to_string());
}

/// websocket-api, item 69.
#[tokio::test]
async fn a_client_close_without_code_is_1005_and_says_so() {
    let watched = Watched::start().await;
    let mut client = Client::connect(&watched.gateway.ws_url("prod")).await;
    client.close_without_code().await;
    let event = watched.function.next_event("DISCONNECT").await;
    assert_eq!(context(&event)["disconnectStatusCode"], 1005);
    assert_eq!(context(&event)["disconnectReason"], "Client-side close frame status not set");
}

/// websocket-api, item 70.
#[tokio::test]
async fn a_client_close_1001_without_reason_is_1001_with_an_empty_reason() {
    let watched = Watched::start().await;
    let mut client = Client::connect(&watched.gateway.ws_url("prod")).await;
    client.close(1001, "").await;
    let event = watched.function.next_event("DISCONNECT").await;
    assert_eq!(context(&event)["disconnectStatusCode"], 1001);
    assert_eq!(context(&event)["disconnectReason"], "");
}

/// websocket-api, item 71.
#[tokio::test]
async fn a_delete_is_1000_connection_closed_normally() {
    let watched = Watched::start().await;
    let mut client = Client::connect(&watched.gateway.ws_url("prod")).await;
    let id = connection_id(&watched.function).await;
    assert_eq!(watched.gateway.delete_connection("prod", &id).await.status, 204);
    client.next_close().await;
    let event = watched.function.next_event("DISCONNECT").await;
    assert_eq!(context(&event)["disconnectStatusCode"], 1000);
    assert_eq!(context(&event)["disconnectReason"], "Connection Closed Normally");
}
