//! `request_parameters`: what is mapped into a backend's request, and what `$connect` demands
//! (websocket-api, section 5.3).
//!
//! In:  the mappings and one event.
//! Out: headers, query parameters and path parameters, in the mappings' order.
//!
//! Holds always: a source that resolves to nothing (absent, or JSON's `null`) leaves its target
//! out; a header's value has no control character in it, so that no client can add a header;
//! query and path values are as they are, not yet percent-encoded.

use std::{borrow::Cow, cell::LazyCell};

use http::HeaderName;
use tidegate_model::{ParameterSource, ParameterTarget, RequestParameter, RequiredParameter};

use crate::{
    context::{Event, Occurrence, UpgradeRequest},
    json::Document,
};

/// What is added to a backend's request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MappedParameters {
    /// Values are fit for a header: control characters have become spaces (RFC 9110, 5.5), and
    /// there are none at either end.
    pub headers: Vec<(HeaderName, String)>,
    /// To be percent-encoded.
    pub query: Vec<(String, String)>,
    /// What `{name}` in the uri's path stands for; to be percent-encoded.
    pub path: Vec<(String, String)>,
}

/// Resolves each mapping on `event`. A message is parsed at most once, and only if one needs it.
///
/// A message that is not JSON, or binary, has nothing at any path of its body. Relaxed JSON is
/// for route selection only.
pub fn map(parameters: &[RequestParameter], event: &Event<'_>) -> MappedParameters {
    let body = LazyCell::new(|| message_json(event));
    let mut mapped = MappedParameters::default();
    for parameter in parameters {
        let body = || LazyCell::force(&body).as_ref();
        let Some(value) = resolve(&parameter.source, event, body) else { continue };
        match &parameter.target {
            ParameterTarget::Header(name) => {
                mapped.headers.push((name.clone(), header_value(&value)));
            }
            ParameterTarget::QueryString(name) => {
                mapped.query.push((name.clone(), value.into_owned()));
            }
            ParameterTarget::Path(name) => mapped.path.push((name.clone(), value.into_owned())),
        }
    }
    mapped
}

/// The first of a route's declared parameters that is required and that `event` does not have, or
/// has as nothing but white space. `$connect` is refused with 400 then.
pub fn missing_required<'d>(
    declared: &'d [RequiredParameter],
    event: &Event<'_>,
) -> Option<&'d RequiredParameter> {
    let body = LazyCell::new(|| message_json(event));
    let body = || LazyCell::force(&body).as_ref();
    let mut required = declared.iter().filter(|parameter| parameter.required);
    required.find(|parameter| is_blank(resolve(&parameter.source, event, body)))
}

/// The first of an authorizer's identity sources that `event` does not have, or has as nothing but
/// white space. The client gets 401 then, and the authorizer is not asked (websocket-api, 9.1).
pub fn missing_identity<'s>(
    sources: &'s [ParameterSource],
    event: &Event<'_>,
) -> Option<&'s ParameterSource> {
    let body = LazyCell::new(|| message_json(event));
    let body = || LazyCell::force(&body).as_ref();
    sources.iter().find(|source| is_blank(resolve(source, event, body)))
}

fn is_blank(value: Option<Cow<'_, str>>) -> bool {
    value.is_none_or(|value| value.trim().is_empty())
}

/// The value of one source. `body` gives the message, if it is JSON.
fn resolve<'v, 'm: 'v>(
    source: &'v ParameterSource,
    event: &'v Event<'_>,
    body: impl FnOnce() -> Option<&'v Document<'m>>,
) -> Option<Cow<'v, str>> {
    let upgrade = match event.occurrence {
        Occurrence::Connect(upgrade) => Some(upgrade),
        Occurrence::Message { .. } | Occurrence::Disconnect { .. } => None,
    };
    match source {
        ParameterSource::Header(name) => last(headers(upgrade?, name)),
        ParameterSource::MultiValueHeader(name) => joined(headers(upgrade?, name)),
        ParameterSource::QueryString(name) => last(query(upgrade?, name)),
        ParameterSource::MultiValueQueryString(name) => joined(query(upgrade?, name)),
        ParameterSource::Body(path) => body()?.text_at(path),
        ParameterSource::StageVariable(name) => {
            event.stage_variables.get(name).map(|value| Cow::Borrowed(value.as_str()))
        }
        ParameterSource::Context(name) => event.variable(name),
        ParameterSource::Static(text) => Some(Cow::Borrowed(text)),
    }
}

fn message_json<'m>(event: &Event<'m>) -> Option<Document<'m>> {
    match event.occurrence {
        Occurrence::Message { body, binary: false, .. } => {
            Document::strict(std::str::from_utf8(body).ok()?)
        }
        Occurrence::Message { .. } | Occurrence::Connect(_) | Occurrence::Disconnect { .. } => None,
    }
}

/// The values of a header, in whatever case its name was sent.
fn headers<'v>(upgrade: &'v UpgradeRequest, wanted: &str) -> impl Iterator<Item = &'v str> {
    let is_wanted = move |(name, _): &&(String, String)| name.eq_ignore_ascii_case(wanted);
    upgrade.headers.iter().filter(is_wanted).map(|(_, value)| value.as_str())
}

/// The values of a query parameter; case matters.
fn query<'v>(upgrade: &'v UpgradeRequest, wanted: &str) -> impl Iterator<Item = &'v str> {
    let is_wanted = move |(name, _): &&(String, String)| name == wanted;
    upgrade.query.iter().filter(is_wanted).map(|(_, value)| value.as_str())
}

fn last<'v>(values: impl Iterator<Item = &'v str>) -> Option<Cow<'v, str>> {
    values.last().map(Cow::Borrowed)
}

fn joined<'v>(mut values: impl Iterator<Item = &'v str>) -> Option<Cow<'v, str>> {
    let mut all = Cow::Borrowed(values.next()?);
    for value in values {
        let all = all.to_mut();
        all.push(',');
        all.push_str(value);
    }
    Some(all)
}

/// `value` with a space for each control character: RFC 9110, 5.5 lets a gateway do so with CR,
/// LF and NUL, and leaving the header out would hide from the backend that there was one.
fn header_value(value: &str) -> String {
    value.replace(|c: char| c.is_control(), " ").trim_matches(' ').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::{context::ConnectionFacts, opaque_id::OpaqueId};

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn message(body: impl Into<Bytes>, binary: bool) -> Occurrence {
        Occurrence::Message { message_id: OpaqueId::from_bytes([7; 11]), body: body.into(), binary }
    }

    fn connect() -> Occurrence {
        Occurrence::Connect(UpgradeRequest {
            headers: pairs(&[
                ("X-Room", "r1"),
                ("x-room", "r2"),
                ("Evil", "a\r\nb: c"),
                ("No", ""),
            ]),
            query: pairs(&[("t", "1"), ("T", "2"), ("t", "3"), ("blank", " ")]),
            raw_query: "t=1&T=2&t=3&blank=%20".to_owned(),
        })
    }

    fn on<T>(occurrence: &Occurrence, then: impl FnOnce(&Event<'_>) -> T) -> T {
        let connection = ConnectionFacts {
            id: OpaqueId::from_bytes([1; 11]),
            api_id: "chat".into(),
            stage: "prod".into(),
            domain_name: "chat.example.com".into(),
            source_ip: [192, 0, 2, 1].into(),
            user_agent: None,
            connected_at_ms: 0,
            authorization: None,
        };
        let stage_variables = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);
        then(&Event {
            connection: &connection,
            route_key: "join",
            occurrence,
            request_id: OpaqueId::from_bytes([2; 11]),
            at_ms: 0,
            stage_variables: &stage_variables,
            trace: None,
        })
    }

    /// What `source` gives as a query parameter.
    fn mapped(source: &str, occurrence: &Occurrence) -> Option<String> {
        let parameter =
            RequestParameter::parse("integration.request.querystring.q", source).unwrap();
        on(occurrence, |event| map(&[parameter], event).query.pop().map(|(_, value)| value))
    }

    /// websocket-api, 5.3, the example.
    #[test]
    fn the_contracts_example_maps() {
        let parameters = [
            ("integration.request.header.connectionId", "context.connectionId"),
            ("integration.request.header.room", "route.request.body.data.room"),
            ("integration.request.querystring.source", "'ws'"),
            ("integration.request.path.tier", "stageVariables.tier"),
        ]
        .map(|(key, value)| RequestParameter::parse(key, value).unwrap());
        let occurrence = message(r#"{"data":{"room":"r1"}}"#, false);
        let mapped = on(&occurrence, |event| map(&parameters, event));
        let id = OpaqueId::from_bytes([1; 11]).as_str().to_owned();
        let header = |name: &'static str, value: &str| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.to_owned())
        };
        assert_eq!(mapped.headers, [header("connectionid", &id), header("room", "r1")]);
        assert_eq!(mapped.query, pairs(&[("source", "ws")]));
        assert_eq!(mapped.path, pairs(&[("tier", "gold")]));
    }

    #[test]
    fn a_header_is_found_in_any_case_and_its_last_value_counts() {
        let on_connect = |source| mapped(source, &connect());
        assert_eq!(on_connect("route.request.header.x-ROOM").as_deref(), Some("r2"));
        assert_eq!(on_connect("route.request.multivalueheader.X-Room").as_deref(), Some("r1,r2"));
        assert_eq!(on_connect("route.request.querystring.t").as_deref(), Some("3"));
        assert_eq!(on_connect("route.request.multivaluequerystring.t").as_deref(), Some("1,3"));
        assert_eq!(on_connect("route.request.querystring.T").as_deref(), Some("2"));
        assert_eq!(on_connect("route.request.header.no").as_deref(), Some(""));
    }

    #[test]
    fn a_source_that_resolves_to_nothing_leaves_its_target_out() {
        for source in [
            "route.request.header.x",
            "route.request.multivalueheader.x",
            "route.request.querystring.x",
            "route.request.multivaluequerystring.x",
            "route.request.body.a",
            "stageVariables.x",
            "context.identity.userAgent",
            "context.nope",
        ] {
            assert_eq!(mapped(source, &connect()), None, "{source}");
        }
        let json = message(r#"{"a":null,"b":{}}"#, false);
        for source in ["route.request.body.a", "route.request.body.b.c", "route.request.header.no"]
        {
            assert_eq!(mapped(source, &json), None, "{source}");
        }
    }

    #[test]
    fn values_of_a_message_become_text() {
        let json = message(r#"{"n":1.50,"s":"","l":["a",null],"o":{"k":"v"},"t":true}"#, false);
        for (path, text) in [
            ("n", "1.50"),
            ("s", ""),
            ("l", "[a, null]"),
            ("o", "{k=v}"),
            ("t", "true"),
            ("l[0]", "a"),
        ] {
            let source = format!("route.request.body.{path}");
            assert_eq!(mapped(&source, &json).as_deref(), Some(text), "{path}");
        }
        assert_eq!(mapped("route.request.body[1]", &message("[1,2]", false)).as_deref(), Some("2"));
    }

    #[test]
    fn a_message_that_is_not_strict_json_has_nothing_in_it() {
        for (body, binary) in
            [(&b"{a:1}"[..], false), (b"hi", false), (b"\xff", false), (b"{\"a\":1}", true)]
        {
            assert_eq!(mapped("route.request.body.a", &message(body, binary)), None);
        }
    }

    #[test]
    fn a_client_cannot_add_a_header_through_a_mapped_one() {
        let header = |source: &str, occurrence: &Occurrence| {
            let parameter =
                RequestParameter::parse("integration.request.header.h", source).unwrap();
            on(occurrence, |event| map(&[parameter], event).headers.remove(0).1)
        };
        assert_eq!(header("route.request.header.evil", &connect()), "a  b: c");
        let json = message(r#"{"a":"\r\nx\u0000ö\u007f"}"#, false);
        assert_eq!(header("route.request.body.a", &json), "x ö");
    }

    #[test]
    fn what_connect_demands_is_there_and_not_blank() {
        let declared = [
            ("route.request.header.X-Room", true),
            ("route.request.header.absent", false),
            ("route.request.querystring.t", true),
            ("route.request.querystring.blank", true),
            ("route.request.querystring.absent", true),
        ]
        .map(|(source, required)| RequiredParameter { source: source.parse().unwrap(), required });
        on(&connect(), |event| {
            assert!(missing_required(&declared[..3], event).is_none());
            let first = |declared| {
                missing_required(declared, event).map(|missing| format!("{:?}", missing.source))
            };
            assert_eq!(first(&declared).as_deref(), Some(r#"QueryString("blank")"#));
            assert_eq!(first(&declared[4..]).as_deref(), Some(r#"QueryString("absent")"#));
        });
    }

    /// websocket-api, item 98.
    #[test]
    fn an_identity_source_that_is_absent_or_blank_is_missing() {
        let missing = |texts: &[&str]| {
            let sources: Vec<ParameterSource> =
                texts.iter().map(|text| text.parse().unwrap()).collect();
            on(&connect(), |event| {
                missing_identity(&sources, event).map(|source| format!("{source:?}"))
            })
        };
        assert_eq!(missing(&[]), None);
        let there = [
            "route.request.header.x-ROOM",
            "route.request.querystring.t",
            "context.identity.sourceIp",
            "stageVariables.tier",
        ];
        assert_eq!(missing(&there), None);
        for (absent, shown) in [
            ("route.request.header.no", r#"Header("no")"#),
            ("route.request.header.Authorization", r#"Header("Authorization")"#),
            ("route.request.querystring.blank", r#"QueryString("blank")"#),
            ("route.request.querystring.T2", r#"QueryString("T2")"#),
            ("context.authorizer.principalId", r#"Context("authorizer.principalId")"#),
            ("stageVariables.no", r#"StageVariable("no")"#),
        ] {
            let sources = [&there[..], &[absent]].concat();
            assert_eq!(missing(&sources).as_deref(), Some(shown));
        }
    }

    proptest! {
        #[test]
        fn every_mapped_header_value_is_fit_for_a_header(text in any::<String>()) {
            let value = header_value(&text);
            prop_assert!(HeaderValue::from_bytes(value.as_bytes()).is_ok(), "{:?}", value);
            prop_assert!(!value.starts_with(' ') && !value.ends_with(' '));
        }
    }
}
