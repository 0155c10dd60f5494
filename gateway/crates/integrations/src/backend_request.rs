//! The request that tells a backend about an event: what never changes is made once, and what the
//! event brings is added.
//!
//! In:  an integration, its uri, and one event.
//! Out: an HTTP request (websocket-api, 5.1 and 5.3; tidegate, section 4).
//!
//! Holds always: nothing that a client sends starts a header, a path segment or a query parameter
//! of its own; no header of the client's survives that frames the request, belongs to one hop,
//! begins with `Tidegate-`, or is the target of a mapping, whether or not that mapping finds a
//! value; what is mapped replaces what is there by default.

mod headers;
mod target;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use headers::HeadersTemplate;
pub(crate) use headers::{TRACE_ID, trace_id};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use target::TargetTemplate;
use tidegate_flow::{
    context::{Event, Occurrence},
    event::proxy_event,
    request_parameters::{self, MappedParameters},
    transformation::override_parameters,
};
use tidegate_model::{BackendUri, InvalidUri, RequestParameter};

use crate::IntegrationError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// How an event becomes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The message as body; the client's headers and query on `$connect`.
    HttpProxy,
    /// The message as body, and nothing else of the client's.
    Http,
    /// The proxy event as JSON.
    Function,
}

/// A request in all that no event changes.
#[derive(Debug)]
pub(crate) struct RequestTemplate {
    form: Form,
    method: Method,
    target: TargetTemplate,
    headers: HeadersTemplate,
    parameters: Vec<RequestParameter>,
}

/// The integration's part of a [`RequestTemplate`].
pub(crate) struct Settings<'a> {
    pub(crate) form: Form,
    pub(crate) method: Method,
    pub(crate) parameters: &'a [RequestParameter],
    pub(crate) context_headers: bool,
}

/// A request's body.
pub(crate) struct Body {
    bytes: Bytes,
    content_type: HeaderValue,
}

impl Body {
    /// Text, which is JSON unless a mapped `Content-Type` says otherwise.
    pub(crate) fn json(bytes: Bytes) -> Self {
        Self { bytes, content_type: JSON }
    }

    /// What is no text.
    pub(crate) fn octet_stream(bytes: Bytes) -> Self {
        Self { bytes, content_type: OCTET_STREAM }
    }

    /// The message as it came; nothing on connect and disconnect.
    pub(crate) fn of_message(event: &Event<'_>) -> Option<Self> {
        match event.occurrence {
            Occurrence::Message { body, binary: true, .. } => {
                Some(Self::octet_stream(body.clone()))
            }
            Occurrence::Message { body, binary: false, .. } => Some(Self::json(body.clone())),
            Occurrence::Connect(_) | Occurrence::Disconnect { .. } => None,
        }
    }
}

/// What a function is told about an event (websocket-api, 4.3).
pub(crate) fn proxy_payload(event: &Event<'_>) -> Bytes {
    let size = match event.occurrence {
        Occurrence::Message { body, .. } => body.len() + body.len() / 4,
        Occurrence::Connect(_) => 4096,
        Occurrence::Disconnect { .. } => 512,
    };
    let mut json = Vec::with_capacity(1024 + size);
    proxy_event(event, &mut json);
    json.into()
}

impl RequestTemplate {
    /// `written` is the uri as the operator wrote it, for the error.
    pub(crate) fn new(
        api_id: &str,
        uri: &BackendUri,
        written: &str,
        settings: Settings<'_>,
    ) -> Result<Self, InvalidUri> {
        let invalid = || InvalidUri::Form(written.to_owned());
        Ok(Self {
            headers: HeadersTemplate::new(api_id, &uri.authority, &settings)
                .map_err(|_| invalid())?,
            target: TargetTemplate::new(uri, settings.parameters).map_err(|_| invalid())?,
            form: settings.form,
            method: settings.method,
            parameters: settings.parameters.to_vec(),
        })
    }

    /// The verb of every request.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// The request for one event. `overrides` are over what is mapped by the same names.
    pub(crate) fn fill(
        &self,
        event: &Event<'_>,
        body: Option<Body>,
        overrides: MappedParameters,
    ) -> Result<Request<Full<Bytes>>, IntegrationError> {
        let mut mapped = request_parameters::map(&self.parameters, event);
        override_parameters(&mut mapped, overrides);
        let passed_on = match (self.form, event.occurrence) {
            (Form::HttpProxy, Occurrence::Connect(upgrade)) => Some(upgrade),
            _ => None,
        };
        let uri = self.target.fill(passed_on, &mapped)?;
        let headers = self.headers.fill(event, passed_on, mapped.headers, body.as_ref());
        let mut request = Request::new(Full::new(body.map_or_else(Bytes::new, |body| body.bytes)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}
