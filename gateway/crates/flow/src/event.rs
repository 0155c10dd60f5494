//! The proxy event: what a function is told about a connect, a message or a disconnect.
//!
//! In:  one [`Event`].
//! Out: its JSON, as API Gateway writes it (websocket-api, 4.1 to 4.3).
//!
//! Holds always: what is not set is absent, never `null`; a message's text reaches the function
//! byte for byte; `requestId` equals `extendedRequestId`.

mod fields;
mod request_context;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

pub(crate) use self::{
    fields::{All, Grouped, Last, ignoring_case},
    request_context::RequestContext,
};
use crate::context::{Event, Occurrence};

/// Appends the event's JSON to `out`.
///
/// A message that came as a binary one is base64, with `isBase64Encoded` true; all else is text.
pub fn proxy_event(event: &Event<'_>, out: &mut Vec<u8>) {
    let encoded;
    let mut parts = Parts::default();
    match event.occurrence {
        Occurrence::Connect(upgrade) => {
            parts.headers = Some(Fields::Client(Grouped::new(&upgrade.headers, ignoring_case)));
            if !upgrade.query.is_empty() {
                parts.query = Some(Grouped::new(&upgrade.query, str::cmp));
            }
        }
        Occurrence::Message { body, binary, .. } => {
            parts.body = Some(match std::str::from_utf8(body) {
                Ok(text) if !binary => text,
                _ => {
                    encoded = STANDARD.encode(body);
                    parts.base64 = true;
                    &encoded
                }
            });
        }
        Occurrence::Disconnect { .. } => {
            parts.headers = Some(Fields::Disconnect { host: &event.connection.domain_name });
        }
    }
    let envelope = Envelope {
        headers: parts.headers.as_ref().map(Last),
        multi_value_headers: parts.headers.as_ref().map(All),
        query_string_parameters: parts.query.as_ref().map(Last),
        multi_value_query_string_parameters: parts.query.as_ref().map(All),
        stage_variables: (!event.stage_variables.is_empty()).then_some(event.stage_variables),
        request_context: RequestContext::of(event),
        body: parts.body,
        is_base64_encoded: parts.base64,
    };
    serde_json::to_writer(out, &envelope)
        .expect("string keys, strings and integers always serialise, and a Vec always takes them");
}

/// What differs from one kind of event to another, outside `requestContext`.
#[derive(Default)]
struct Parts<'a> {
    headers: Option<Fields<'a>>,
    query: Option<Grouped<'a>>,
    body: Option<&'a str>,
    base64: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Last<'a, Fields<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<All<'a, Fields<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<Last<'a, Grouped<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<All<'a, Grouped<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_variables: Option<&'a BTreeMap<String, String>>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    is_base64_encoded: bool,
}

/// The headers of an event that has some.
enum Fields<'a> {
    /// The upgrade request's.
    Client(Grouped<'a>),
    /// There is no request behind a disconnect; API Gateway sends these four all the same.
    Disconnect { host: &'a str },
}

const DISCONNECT_EMPTY: [&str; 3] = ["x-api-key", "X-Forwarded-For", "x-restapi"];

impl Serialize for Last<'_, Fields<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Fields::Client(grouped) => Last(grouped).serialize(serializer),
            Fields::Disconnect { host } => {
                let empty = DISCONNECT_EMPTY.into_iter().map(|name| (name, ""));
                serializer.collect_map([("Host", *host)].into_iter().chain(empty))
            }
        }
    }
}

impl Serialize for All<'_, Fields<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Fields::Client(grouped) => All(grouped).serialize(serializer),
            Fields::Disconnect { host } => {
                let empty = DISCONNECT_EMPTY.into_iter().map(|name| (name, [""]));
                serializer.collect_map([("Host", [*host])].into_iter().chain(empty))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, collections::HashSet};

    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        context::{
            Authorization, AuthorizerFacts, ConnectionFacts, UpgradeRequest, tests::authorization,
        },
        opaque_id::OpaqueId,
    };

    const CONNECTION: &str = "TXzPWdnOjoECGjA=";
    const REQUEST: &str = "TXzPWFkkjoEF92g=";
    const MESSAGE: &str = "PJqCFfHyKRcCHlw=";
    const HOST: &str = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com";

    fn id(text: &str) -> OpaqueId {
        OpaqueId::from_text(text.as_bytes().try_into().unwrap())
    }

    fn facts(user_agent: Option<&str>) -> ConnectionFacts {
        ConnectionFacts {
            id: id(CONNECTION),
            api_id: "a1b2c3d4e5".into(),
            stage: "prod".into(),
            domain_name: HOST.into(),
            source_ip: [203, 0, 113, 7].into(),
            user_agent: user_agent.map(Into::into),
            connected_at_ms: 1_708_326_702_789,
            authorization: None,
        }
    }

    fn text_of(
        connection: &ConnectionFacts,
        route_key: &str,
        occurrence: &Occurrence,
        variables: &[(&str, &str)],
    ) -> String {
        let stage_variables =
            variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let event = Event {
            connection,
            route_key,
            occurrence,
            request_id: id(REQUEST),
            at_ms: 1_708_326_702_790,
            stage_variables: &stage_variables,
            trace: None,
        };
        let mut out = Vec::new();
        proxy_event(&event, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn render(route_key: &str, occurrence: &Occurrence) -> Value {
        serde_json::from_str(&text_of(&facts(None), route_key, occurrence, &[])).unwrap()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn connect(headers: &[(&str, &str)], query: &[(&str, &str)]) -> Occurrence {
        Occurrence::Connect(UpgradeRequest {
            headers: pairs(headers),
            query: pairs(query),
            raw_query: String::new(),
        })
    }

    fn message(body: &str) -> Occurrence {
        Occurrence::Message {
            message_id: id(MESSAGE),
            body: Bytes::copy_from_slice(body.as_bytes()),
            binary: false,
        }
    }

    fn disconnect() -> Occurrence {
        Occurrence::Disconnect {
            code: 1005,
            reason: Cow::Borrowed("Client-side close frame status not set"),
        }
    }

    fn each() -> [(&'static str, Occurrence); 3] {
        [
            ("$connect", connect(&[("Host", HOST)], &[])),
            ("sendMessage", message("{}")),
            ("$disconnect", disconnect()),
        ]
    }

    /// The example of websocket-api, 4.3.
    #[test]
    fn a_connect_event_is_the_contracts_example() {
        let occurrence = connect(
            &[
                ("Host", HOST),
                ("Origin", "https://app.example.com"),
                ("Sec-WebSocket-Version", "13"),
                ("User-Agent", "Mozilla/5.0"),
                ("X-Amzn-Trace-Id", "Root=1-65d2ff2e-0123456789abcdef01234567"),
                ("X-Forwarded-For", "203.0.113.7"),
            ],
            &[("token", "abc")],
        );
        let connection = facts(Some("Mozilla/5.0"));
        let text = text_of(&connection, "$connect", &occurrence, &[("env", "blue")]);
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({
                "headers": {
                    "Host": HOST, "Origin": "https://app.example.com", "Sec-WebSocket-Version": "13",
                    "User-Agent": "Mozilla/5.0",
                    "X-Amzn-Trace-Id": "Root=1-65d2ff2e-0123456789abcdef01234567",
                    "X-Forwarded-For": "203.0.113.7"
                },
                "multiValueHeaders": {
                    "Host": [HOST], "Origin": ["https://app.example.com"],
                    "Sec-WebSocket-Version": ["13"], "User-Agent": ["Mozilla/5.0"],
                    "X-Amzn-Trace-Id": ["Root=1-65d2ff2e-0123456789abcdef01234567"],
                    "X-Forwarded-For": ["203.0.113.7"]
                },
                "queryStringParameters": { "token": "abc" },
                "multiValueQueryStringParameters": { "token": ["abc"] },
                "stageVariables": { "env": "blue" },
                "requestContext": {
                    "routeKey": "$connect", "eventType": "CONNECT",
                    "extendedRequestId": REQUEST, "requestTime": "19/Feb/2024:07:11:42 +0000",
                    "messageDirection": "IN", "stage": "prod", "connectedAt": 1_708_326_702_789_u64,
                    "requestTimeEpoch": 1_708_326_702_790_u64,
                    "identity": { "userAgent": "Mozilla/5.0", "sourceIp": "203.0.113.7" },
                    "requestId": REQUEST, "domainName": HOST, "connectionId": CONNECTION,
                    "apiId": "a1b2c3d4e5"
                },
                "isBase64Encoded": false
            })
        );
    }

    /// Item 56.
    #[test]
    fn a_connect_event_has_headers_but_no_body_and_no_message_id() {
        let event = render("$connect", &connect(&[("Host", HOST)], &[]));
        assert_eq!(event["headers"]["Host"], HOST);
        assert!(event.get("body").is_none());
        assert!(event["requestContext"].get("messageId").is_none());
        assert!(event["requestContext"].get("disconnectStatusCode").is_none());
    }

    /// Item 57.
    #[test]
    fn a_connect_event_without_a_query_has_no_query_keys() {
        let event = render("$connect", &connect(&[("Host", HOST)], &[]));
        assert!(event.get("queryStringParameters").is_none());
        assert!(event.get("multiValueQueryStringParameters").is_none());
    }

    /// Item 59.
    #[test]
    fn a_message_event_has_body_and_message_id_and_no_headers() {
        let event = render("sendMessage", &message("hi"));
        let keys: HashSet<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, HashSet::from(["requestContext", "body", "isBase64Encoded"]));
        assert_eq!(event["requestContext"]["messageId"], MESSAGE);
        assert_eq!(event["requestContext"]["eventType"], "MESSAGE");
        assert_eq!(event["requestContext"]["messageDirection"], "IN");
    }

    /// Item 60.
    #[test]
    fn the_body_equals_the_clients_text_byte_for_byte() {
        for text in ["", " {\"a\" : 1}\r\n", "{body: 'x'}", "\u{1F600}\u{0}\u{7f}\u{2028}\"\\"] {
            assert_eq!(render("$default", &message(text))["body"], text);
        }
    }

    /// Item 61.
    #[test]
    fn a_disconnect_event_has_exactly_its_four_headers_and_the_last_three_are_empty() {
        let event = render("$disconnect", &disconnect());
        let expected =
            json!({"Host": HOST, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""});
        assert_eq!(event["headers"], expected);
        assert_eq!(
            event["multiValueHeaders"],
            json!({"Host": [HOST], "x-api-key": [""], "X-Forwarded-For": [""], "x-restapi": [""]})
        );
        assert!(event.get("body").is_none());
        let context = &event["requestContext"];
        assert_eq!(context["disconnectStatusCode"], 1005);
        assert_eq!(context["disconnectReason"], "Client-side close frame status not set");
        assert!(context.get("messageId").is_none());
    }

    /// Item 62.
    #[test]
    fn the_request_id_equals_the_extended_request_id() {
        for (route, occurrence) in each() {
            let context = &render(route, &occurrence)["requestContext"];
            assert_eq!(context["requestId"], REQUEST);
            assert_eq!(context["extendedRequestId"], REQUEST);
        }
    }

    /// Items 63 to 65: what is fixed for a connection stands in each of its events.
    #[test]
    fn connected_at_and_ids_and_the_times_form_are_the_same_in_all_three_events() {
        for (route, occurrence) in each() {
            let context = &render(route, &occurrence)["requestContext"];
            assert_eq!(context["connectedAt"], 1_708_326_702_789_u64);
            assert_eq!(context["connectionId"], CONNECTION);
            assert_eq!(context["requestTime"], "19/Feb/2024:07:11:42 +0000");
            assert_eq!(context["routeKey"], route);
        }
    }

    /// Item 66.
    #[test]
    fn the_user_agent_is_absent_when_the_client_sent_none() {
        for (route, occurrence) in each() {
            let identity = &render(route, &occurrence)["requestContext"]["identity"];
            assert_eq!(identity, &json!({"sourceIp": "203.0.113.7"}));
        }
    }

    /// Item 67.
    #[test]
    fn text_is_base64_encoded_in_none_of_the_three_events() {
        for (route, occurrence) in each() {
            assert_eq!(render(route, &occurrence)["isBase64Encoded"], false);
        }
    }

    /// Item 68; and 4.1: nulls are omitted.
    #[test]
    fn account_id_method_and_path_are_absent_and_nothing_is_null() {
        for (route, occurrence) in each() {
            let text = text_of(&facts(None), route, &occurrence, &[]);
            for absent in ["accountId", "httpMethod", "\"path\"", "resource", "null"] {
                assert!(!text.contains(absent), "{absent} in {text}");
            }
        }
    }

    /// tidegate, section 4: Amazon knows no binary messages, we do on demand.
    #[test]
    fn a_binary_message_is_base64() {
        let occurrence = Occurrence::Message {
            message_id: id(MESSAGE),
            body: Bytes::from_static(&[0, 255, 254]),
            binary: true,
        };
        let event = render("$default", &occurrence);
        assert_eq!(event["body"], "AP/+");
        assert_eq!(event["isBase64Encoded"], true);
    }

    #[test]
    fn repeated_headers_keep_the_first_casing_the_last_value_and_all_values() {
        let headers = [("X-A", "1"), ("Other", "o"), ("x-a", "2"), ("X-a", "3")];
        let event = render("$connect", &connect(&headers, &[]));
        assert_eq!(event["headers"], json!({"X-A": "3", "Other": "o"}));
        assert_eq!(event["multiValueHeaders"], json!({"X-A": ["1", "2", "3"], "Other": ["o"]}));
    }

    #[test]
    fn repeated_query_names_keep_the_last_value_and_all_values_and_case_matters() {
        let query = [("a", "1"), ("A", "x"), ("a", "2"), ("b", "")];
        let event = render("$connect", &connect(&[], &query));
        assert_eq!(event["queryStringParameters"], json!({"a": "2", "A": "x", "b": ""}));
        assert_eq!(
            event["multiValueQueryStringParameters"],
            json!({"a": ["1", "2"], "A": ["x"], "b": [""]})
        );
    }

    #[test]
    fn names_stand_in_the_order_in_which_the_client_sent_them() {
        let headers = [("Zeta", "1"), ("Alpha", "2"), ("zeta", "3")];
        let text = text_of(&facts(None), "$connect", &connect(&headers, &[]), &[]);
        assert!(text.starts_with(r#"{"headers":{"Zeta":"3","Alpha":"2"}"#), "{text}");
    }

    #[test]
    fn stage_variables_stand_in_every_event_when_there_are_some_and_in_none_otherwise() {
        for (route, occurrence) in each() {
            assert!(render(route, &occurrence).get("stageVariables").is_none());
            let text = text_of(&facts(None), route, &occurrence, &[("env", "blue")]);
            let event: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(event["stageVariables"], json!({"env": "blue"}));
        }
    }

    /// websocket-api, 9.3 and item 102; 4.2.
    #[test]
    fn who_connected_stands_in_all_three_events() {
        let mut connection = facts(None);
        connection.authorization = Some(Box::new(authorization()));
        for (route, occurrence) in each() {
            let text = text_of(&connection, route, &occurrence, &[]);
            let event: Value = serde_json::from_str(&text).unwrap();
            let context = &event["requestContext"];
            assert_eq!(
                context["authorizer"],
                json!({
                    "principalId": "u1", "integrationLatency": 123,
                    "k": "v", "n": "1", "b": "true", "status": "gold"
                })
            );
            assert_eq!(
                context["identity"],
                json!({
                    "accountId": "123456789012", "accessKey": "AKIDEXAMPLE", "caller": "ann",
                    "user": "ann", "userArn": "arn:aws:iam::123456789012:user/ann",
                    "apiKey": "a-key-of-twenty-characters", "apiKeyId": "partner",
                    "sourceIp": "203.0.113.7"
                })
            );
        }
    }

    #[test]
    fn an_authorizer_that_called_no_function_has_no_latency() {
        let mut connection = facts(None);
        connection.authorization = Some(Box::new(Authorization {
            authorizer: Some(AuthorizerFacts {
                principal_id: "sub".to_owned(),
                ..AuthorizerFacts::default()
            }),
            ..Authorization::default()
        }));
        let text = text_of(&connection, "$connect", &connect(&[], &[]), &[]);
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["requestContext"]["authorizer"], json!({"principalId": "sub"}));
        assert_eq!(event["requestContext"]["identity"], json!({"sourceIp": "203.0.113.7"}));
    }

    proptest! {
        #[test]
        fn any_client_data_makes_valid_json_without_repeated_keys(
            headers in prop::collection::vec(("[a-cA-C]{1,2}", ".*"), 0..12),
            query in prop::collection::vec(("[a-bA-B]{0,2}", ".*"), 0..12),
        ) {
            let occurrence = Occurrence::Connect(UpgradeRequest {
                headers: headers.clone(), query: query.clone(), raw_query: String::new(),
            });
            let event = render("$connect", &occurrence);
            let all = event["multiValueHeaders"].as_object().unwrap();
            let distinct: HashSet<_> =
                headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
            prop_assert_eq!(all.len(), distinct.len());
            let values: usize = all.values().map(|v| v.as_array().unwrap().len()).sum();
            prop_assert_eq!(values, headers.len());
            let keys: HashSet<_> = query.iter().map(|(name, _)| name).collect();
            let single = event.get("queryStringParameters");
            prop_assert_eq!(single.map_or(0, |q| q.as_object().unwrap().len()), keys.len());
        }
    }
}
