//! The headers of a backend request.
//!
//! In:  the api, the backend's authority and the integration's settings, made into a template
//!      once; then an event, what its parameters map to, its body, and on `$connect` the client's
//!      headers.
//! Out: all headers of the request.
//!
//! Holds always: the client's are overruled by the defaults, those by what is mapped, and all of
//! them by the context; a body's length is its own; no header of the client's survives that
//! frames the request, belongs to one hop, begins with `Tidegate-`, or is the target of a mapping.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{self, Entry, InvalidHeaderValue},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tidegate_flow::context::{Authorization, Event, Occurrence, UpgradeRequest};
use tidegate_model::ParameterTarget;

use super::{Body, Form, JSON, Settings};

/// A route key or a principal in a header: `%` as well, so that it can be decoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

const API_ID: HeaderName = HeaderName::from_static("x-amzn-apigateway-api-id");
pub(crate) const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");
const CONNECTION_ID: HeaderName = HeaderName::from_static("tidegate-connection-id");
const EVENT_TYPE: HeaderName = HeaderName::from_static("tidegate-event-type");
const PRINCIPAL_ID: HeaderName = HeaderName::from_static("tidegate-principal-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("tidegate-request-id");
const ROUTE_KEY_HEADER: HeaderName = HeaderName::from_static("tidegate-route-key");
const STAGE: HeaderName = HeaderName::from_static("tidegate-stage");

/// Headers in all that no event changes.
#[derive(Debug)]
pub(super) struct HeadersTemplate {
    defaults: HeaderMap,
    mapped_headers: Vec<HeaderName>,
    /// Whether the method is one that a body is expected with.
    expects_body: bool,
    context_headers: bool,
}

impl HeadersTemplate {
    pub(super) fn new(
        api_id: &str,
        authority: &str,
        settings: &Settings<'_>,
    ) -> Result<Self, InvalidHeaderValue> {
        let mut defaults = HeaderMap::with_capacity(8);
        defaults.insert(header::HOST, HeaderValue::from_str(authority)?);
        defaults.insert(
            header::USER_AGENT,
            HeaderValue::from_str(&format!("AmazonAPIGateway_{api_id}"))?,
        );
        defaults.insert(API_ID, HeaderValue::from_str(api_id)?);
        defaults.insert(header::ACCEPT, JSON);
        // Answers go to the client as they are, and a WebSocket client undoes no content coding.
        defaults.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(Self {
            defaults,
            mapped_headers: settings
                .parameters
                .iter()
                .filter_map(|parameter| match &parameter.target {
                    ParameterTarget::Header(name) => Some(name.clone()),
                    ParameterTarget::QueryString(_) | ParameterTarget::Path(_) => None,
                })
                .collect(),
            expects_body: [Method::POST, Method::PUT, Method::PATCH].contains(&settings.method),
            context_headers: settings.context_headers && settings.form != Form::Function,
        })
    }

    /// The headers for one event, of which the client's are `passed_on`.
    pub(super) fn fill(
        &self,
        event: &Event<'_>,
        passed_on: Option<&UpgradeRequest>,
        mapped: Vec<(HeaderName, String)>,
        body: Option<&Body>,
    ) -> HeaderMap {
        // The defaults, those of the body and of the context, the trace id.
        let mut headers = HeaderMap::with_capacity(14 + mapped.len());
        if let Some(upgrade) = passed_on {
            self.pass_on(upgrade, &mut headers);
        }
        // Defaults win over the client's, the user agent's name too: it tells who calls.
        for (name, value) in &self.defaults {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(TRACE_ID, text(&trace_id(event)));
        if let Some(trace) = event.trace {
            headers.insert(TRACE_PARENT, text(&trace.traceparent()));
            // It belongs to the upgrade's `traceparent`, so it goes wherever that one's trace does.
            if let Occurrence::Connect(upgrade) = event.occurrence
                && let Some((_, state)) =
                    upgrade.headers.iter().find(|(name, _)| name.as_str() == TRACE_STATE.as_str())
                && let Ok(state) = HeaderValue::from_str(state)
            {
                headers.insert(TRACE_STATE, state);
            }
        }
        for (name, value) in mapped {
            // The configuration admits none of these; a template may still name one.
            if is_ours(&name) {
                continue;
            }
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.insert(name, value);
            }
        }
        match body {
            Some(body) => {
                if let Entry::Vacant(vacant) = headers.entry(header::CONTENT_TYPE) {
                    vacant.insert(body.content_type.clone());
                }
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.bytes.len()));
            }
            // RFC 9110, 8.6: a method that expects a body says that there is none.
            None if self.expects_body => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            }
            None => {}
        }
        if self.context_headers {
            let connection = event.connection;
            headers.insert(CONNECTION_ID, text(connection.id.as_str()));
            headers.insert(ROUTE_KEY_HEADER, text(event.route_key));
            headers.insert(EVENT_TYPE, HeaderValue::from_static(event.occurrence.event_type()));
            headers.insert(STAGE, text(&connection.stage));
            headers.insert(REQUEST_ID, text(event.request_id.as_str()));
            let who = connection.authorization.as_deref().and_then(Authorization::principal_id);
            if let Some(principal_id) = who {
                headers.insert(PRINCIPAL_ID, text(principal_id));
            }
        }
        headers
    }

    fn pass_on(&self, upgrade: &UpgradeRequest, headers: &mut HeaderMap) {
        for (name, value) in &upgrade.headers {
            // They came out of an HTTP parser; what HTTP does not allow cannot be among them.
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
            let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
            if stays_with_the_client(&name) || self.mapped_headers.contains(&name) {
                continue;
            }
            // At most as many as the handshake admits, far from what a header map holds.
            let _ = headers.try_append(name, value);
        }
    }
}

/// Whether a header frames the request, belongs to one hop, or says what only the gateway may say.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "connection"
            | "content-length"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    ) || name.starts_with("tidegate-")
}

/// Whether a header of the upgrade request concerns that request alone, or must come from us.
fn stays_with_the_client(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name {
        "connection" | "content-length" | "expect" | "host" | "keep-alive" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" => true,
        "sec-websocket-protocol" => false,
        _ => ["sec-websocket-", "proxy-", "tidegate-"].iter().any(|own| name.starts_with(own)),
    }
}

/// The trace id of the upgrade request, which the edge has made; that of the trace; a fresh one.
pub(crate) fn trace_id<'e>(event: &Event<'e>) -> Cow<'e, str> {
    let theirs = match event.occurrence {
        Occurrence::Connect(upgrade) => {
            let is_trace =
                |(name, _): &&(String, String)| name.eq_ignore_ascii_case(TRACE_ID.as_str());
            upgrade.headers.iter().rfind(is_trace).map(|(_, value)| Cow::Borrowed(value.as_str()))
        }
        Occurrence::Message { .. } | Occurrence::Disconnect { .. } => None,
    };
    let ours = || event.trace.map(|trace| Cow::Owned(trace.amazon_trace_id()));
    theirs.or_else(ours).unwrap_or_else(|| {
        let (a, b): (u64, u32) = rand::random();
        Cow::Owned(format!("Root=1-{:08x}-{a:016x}{b:08x}", event.at_ms / 1000))
    })
}

/// A header's value; what does not fit in one is percent-encoded.
fn text(value: &str) -> HeaderValue {
    // Borrowed, so that plain text, which is the rule, is copied once.
    let encoded: Cow<'_, str> = utf8_percent_encode(value, ENCODED).into();
    HeaderValue::from_str(&encoded).expect("printable ASCII fits in a header")
}
