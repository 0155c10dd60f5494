//! The contract's rows, without a socket.

mod mock;
mod properties;
mod request;
mod response;

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use http::HeaderMap;
use tidegate_model::{IntegrationResponse, SelectionExpression, Transformation as Configured};

use super::*;
use crate::{
    context::{
        ApiKeyFacts, Authorization, AuthorizerFacts, ConnectionFacts, IamFacts, Occurrence,
        UpgradeRequest,
    },
    opaque_id::OpaqueId,
};

fn id(text: &str) -> OpaqueId {
    OpaqueId::from_text(text.as_bytes().try_into().unwrap())
}

fn message(body: impl Into<Bytes>) -> Occurrence {
    Occurrence::Message { message_id: id("PJqCFfHyKRcCHlw="), body: body.into(), binary: false }
}

fn binary(body: &'static [u8]) -> Occurrence {
    Occurrence::Message {
        message_id: id("PJqCFfHyKRcCHlw="),
        body: Bytes::from_static(body),
        binary: true,
    }
}

fn connect() -> Occurrence {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Occurrence::Connect(UpgradeRequest {
        headers: pairs(&[("Host", "a.example"), ("X-Room", "r1"), ("X-Room", "r2"), ("t", "h")]),
        query: pairs(&[("t", "q"), ("n", "1"), ("n", "2")]),
        raw_query: "t=q&n=1&n=2".to_owned(),
    })
}

fn disconnect() -> Occurrence {
    Occurrence::Disconnect { code: 1001, reason: Cow::Borrowed("Going away") }
}

/// What an authorizer, a key and a signature left on a connection.
fn authorization() -> Authorization {
    Authorization {
        authorizer: Some(AuthorizerFacts {
            principal_id: "user-42".to_owned(),
            integration_latency_ms: Some(7),
            context: vec![("tenant".to_owned(), "north".to_owned()), ("n".into(), "1".into())],
        }),
        api_key: Some(ApiKeyFacts {
            value: tidegate_model::Secret::new("the-key".to_owned()),
            id: "partner".to_owned(),
        }),
        iam: Some(IamFacts {
            access_key: "AKID".to_owned(),
            account_id: "123456789012".to_owned(),
            user: "ann".to_owned(),
            user_arn: "arn:aws:iam::123456789012:user/ann".to_owned(),
        }),
        ..Authorization::default()
    }
}

/// Runs `then` on an event.
fn on_authorized<T>(
    occurrence: &Occurrence,
    authorization: Option<Authorization>,
    then: impl FnOnce(&Event<'_>) -> T,
) -> T {
    let connection = ConnectionFacts {
        id: id("TXzPWdnOjoECGjA="),
        api_id: "a1b2c3".into(),
        stage: "prod".into(),
        domain_name: "chat.example.com".into(),
        source_ip: [203, 0, 113, 7].into(),
        user_agent: Some("curl/8".into()),
        connected_at_ms: 1_701_245_041_000,
        authorization: authorization.map(Box::new),
    };
    let stage_variables =
        [("env", "dev"), ("a_b", "y")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    then(&Event {
        connection: &connection,
        route_key: match occurrence {
            Occurrence::Connect(_) => "$connect",
            Occurrence::Message { .. } => "join",
            Occurrence::Disconnect { .. } => "$disconnect",
        },
        occurrence,
        request_id: id("TXzPWFkkjoEF92g="),
        at_ms: 1_701_245_041_796,
        stage_variables: &BTreeMap::from(stage_variables),
        trace: None,
    })
}

fn on<T>(occurrence: &Occurrence, then: impl FnOnce(&Event<'_>) -> T) -> T {
    on_authorized(occurrence, None, then)
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

fn expression(text: &str) -> Option<SelectionExpression> {
    Some(text.parse().unwrap())
}

/// Request templates and nothing else.
fn with_templates(pairs: &[(&str, &str)]) -> Configured {
    Configured { request_templates: texts(pairs), ..Configured::default() }
}

/// One integration response with its templates.
fn with_response(key: &str, pairs: &[(&str, &str)]) -> IntegrationResponse {
    IntegrationResponse {
        key: key.parse().unwrap(),
        template_selection_expression: None,
        response_templates: texts(pairs),
        response_parameters: Vec::new(),
        content_handling_strategy: None,
    }
}

fn compiled(configured: &Configured) -> Transformation {
    Transformation::compile(configured).unwrap_or_else(|error| panic!("{error}"))
}

/// What the backend gets, as text.
fn request(configured: &Configured, occurrence: &Occurrence) -> Result<String, Rejected> {
    let body = on(occurrence, |event| compiled(configured).request(event))?;
    Ok(String::from_utf8_lossy(&body.bytes).into_owned())
}

/// What `template` gives for `occurrence`.
fn rendered(template: &str, occurrence: &Occurrence) -> String {
    let configured = with_templates(&[("application/json", template)]);
    request(&configured, occurrence).unwrap_or_else(|error| panic!("{template}: {error}"))
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

/// An answer to `{"kind":"k1"}`: its status, headers, body and selector.
type Answered<'a> = (u16, &'a [(&'static str, &'static str)], &'a str, Selector<'a>);

fn respond(
    responses: Vec<IntegrationResponse>,
    (status, pairs, body, selector): Answered<'_>,
) -> Result<Reply, Rejected> {
    let configured = Configured { integration_responses: responses, ..Configured::default() };
    let answer = BackendAnswer {
        status,
        headers: &headers(pairs),
        body: &Bytes::copy_from_slice(body.as_bytes()),
        binary: false,
        selector,
        written: &Written::default(),
    };
    on(&message(r#"{"kind":"k1"}"#), |event| compiled(&configured).response(event, &answer))
}

fn text_of(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}
