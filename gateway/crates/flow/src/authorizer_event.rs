//! What a REQUEST authorizer is told about a connect (websocket-api, 9.2).
//!
//! In:  the connect's [`Event`], the headers that it does not show, and the route's ARN.
//! Out: the authorizer's event as JSON.
//!
//! Holds always: no key is `null`, and those that the proxy event leaves out when there is nothing
//! to say (the query, the stage variables) are there and empty.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    context::{Event, Occurrence},
    event::{All, Grouped, Last, RequestContext, ignoring_case},
};

/// Appends the authorizer's event to `out`.
///
/// `hop_headers` are those of the upgrade request that [`UpgradeRequest`] leaves out as they belong
/// to one hop, as the client sent them: `Connection`, `Upgrade`, `Content-Length`. Without the last
/// it is said to be `0`, for an upgrade has no body. `Tidegate-*` must not be among them.
/// `method_arn` is [`StageArn::route`] of `$connect`.
///
/// An event that is no connect has no headers and no query.
///
/// [`UpgradeRequest`]: crate::context::UpgradeRequest
/// [`StageArn::route`]: crate::iam_access::StageArn::route
pub fn authorizer_event(
    event: &Event<'_>,
    hop_headers: &[(String, String)],
    method_arn: &str,
    out: &mut Vec<u8>,
) {
    let (headers, query) = match event.occurrence {
        Occurrence::Connect(upgrade) => (upgrade.headers.as_slice(), upgrade.query.as_slice()),
        Occurrence::Message { .. } | Occurrence::Disconnect { .. } => (&[][..], &[][..]),
    };
    let mut all_headers = [hop_headers, headers].concat();
    if !all_headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        all_headers.push(("content-length".to_owned(), "0".to_owned()));
    }
    let headers = Grouped::new(&all_headers, ignoring_case);
    let query = Grouped::new(query, str::cmp);
    let envelope = Envelope {
        r#type: "REQUEST",
        method_arn,
        headers: Last(&headers),
        multi_value_headers: All(&headers),
        query_string_parameters: Last(&query),
        multi_value_query_string_parameters: All(&query),
        stage_variables: event.stage_variables,
        request_context: RequestContext::of(event),
    };
    serde_json::to_writer(out, &envelope)
        .expect("string keys, strings and integers always serialise, and a Vec always takes them");
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    r#type: &'static str,
    method_arn: &'a str,
    headers: Last<'a, Grouped<'a>>,
    multi_value_headers: All<'a, Grouped<'a>>,
    query_string_parameters: Last<'a, Grouped<'a>>,
    multi_value_query_string_parameters: All<'a, Grouped<'a>>,
    stage_variables: &'a BTreeMap<String, String>,
    request_context: RequestContext<'a>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        context::{ConnectionFacts, UpgradeRequest},
        opaque_id::OpaqueId,
    };

    const ARN: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod/$connect";
    const HOST: &str = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com";

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn text(upgrade: UpgradeRequest, hop: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
        let connection = ConnectionFacts {
            id: OpaqueId::from_text(*b"TXzPWdnOjoECGjA="),
            api_id: "a1b2c3d4e5".into(),
            stage: "prod".into(),
            domain_name: HOST.into(),
            source_ip: [203, 0, 113, 7].into(),
            user_agent: None,
            connected_at_ms: 1_674_162_806_344,
            authorization: None,
        };
        let event = Event {
            connection: &connection,
            route_key: "$connect",
            occurrence: &Occurrence::Connect(upgrade),
            request_id: OpaqueId::from_text(*b"TXzPWFkkjoEF92g="),
            at_ms: 1_674_162_806_345,
            stage_variables: &pairs(variables).into_iter().collect(),
            trace: None,
        };
        let mut out = Vec::new();
        authorizer_event(&event, &pairs(hop), ARN, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The example of websocket-api, 9.2; item 103.
    #[test]
    fn an_authorizers_event_is_the_contracts_example() {
        let upgrade = UpgradeRequest {
            headers: pairs(&[("Host", HOST), ("X-Forwarded-For", "203.0.113.7")]),
            query: pairs(&[("token", "abc"), ("token", "d")]),
            raw_query: "token=abc&token=d".to_owned(),
        };
        let hop = [("Connection", "upgrade"), ("content-length", "0"), ("Upgrade", "websocket")];
        let event: Value = serde_json::from_str(&text(upgrade, &hop, &[])).unwrap();
        assert_eq!(
            event,
            json!({
                "type": "REQUEST",
                "methodArn": ARN,
                "headers": {
                    "Connection": "upgrade", "content-length": "0", "Upgrade": "websocket",
                    "Host": HOST, "X-Forwarded-For": "203.0.113.7"
                },
                "multiValueHeaders": {
                    "Connection": ["upgrade"], "content-length": ["0"], "Upgrade": ["websocket"],
                    "Host": [HOST], "X-Forwarded-For": ["203.0.113.7"]
                },
                "queryStringParameters": {"token": "d"},
                "multiValueQueryStringParameters": {"token": ["abc", "d"]},
                "stageVariables": {},
                "requestContext": {
                    "routeKey": "$connect", "eventType": "CONNECT",
                    "extendedRequestId": "TXzPWFkkjoEF92g=",
                    "requestTime": "19/Jan/2023:21:13:26 +0000", "messageDirection": "IN",
                    "stage": "prod", "connectedAt": 1_674_162_806_344_u64,
                    "requestTimeEpoch": 1_674_162_806_345_u64,
                    "identity": {"sourceIp": "203.0.113.7"}, "requestId": "TXzPWFkkjoEF92g=",
                    "domainName": HOST, "connectionId": "TXzPWdnOjoECGjA=",
                    "apiId": "a1b2c3d4e5"
                }
            })
        );
    }

    #[test]
    fn without_a_query_and_variables_the_maps_are_there_and_empty() {
        let event = text(UpgradeRequest::default(), &[], &[]);
        let event: Value = serde_json::from_str(&event).unwrap();
        for name in ["queryStringParameters", "multiValueQueryStringParameters", "stageVariables"] {
            assert_eq!(event[name], json!({}), "{name}");
        }
        assert_eq!(event["headers"], json!({"content-length": "0"}));
        let event =
            text(UpgradeRequest::default(), &[("Content-Length", "00")], &[("env", "blue")]);
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["headers"], json!({"Content-Length": "00"}));
        assert_eq!(event["stageVariables"], json!({"env": "blue"}));
    }

    /// websocket-api, 9.2: an authorizer of the other kinds of api would have them.
    #[test]
    fn nothing_of_other_apis_authorizers_is_there() {
        let text = text(UpgradeRequest::default(), &[], &[]);
        for absent in
            ["version", "resource", "\"path\"", "httpMethod", "authorizationToken", "null", "body"]
        {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
    }
}
