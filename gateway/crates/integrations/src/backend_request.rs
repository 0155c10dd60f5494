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

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{self, Entry},
    uri::PathAndQuery,
};
use http_body_util::Full;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use tidegate_flow::{
    context::{Event, Occurrence, UpgradeRequest},
    event::proxy_event,
    request_parameters::{self, MappedParameters},
};
use tidegate_model::{BackendUri, InvalidUri, ParameterTarget, RequestParameter};

use crate::IntegrationError;

/// A value in a path or a query: all but the unreserved characters (RFC 3986, 2.3).
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A query that is passed on: what was encoded stays so, what no query may hold becomes so.
const WHOLE_QUERY: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

/// A route key in a header: `%` as well, so that it can be decoded.
const ROUTE_KEY: &AsciiSet = &CONTROLS.add(b'%');

const API_ID: HeaderName = HeaderName::from_static("x-amzn-apigateway-api-id");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const CONNECTION_ID: HeaderName = HeaderName::from_static("tidegate-connection-id");
const EVENT_TYPE: HeaderName = HeaderName::from_static("tidegate-event-type");
const REQUEST_ID: HeaderName = HeaderName::from_static("tidegate-request-id");
const ROUTE_KEY_HEADER: HeaderName = HeaderName::from_static("tidegate-route-key");
const STAGE: HeaderName = HeaderName::from_static("tidegate-stage");

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
    path: Vec<PathPiece>,
    /// The uri's own.
    query: Option<String>,
    /// Path and query, for events that add nothing to either. `None` with path parameters.
    fixed: Option<Uri>,
    headers: HeaderMap,
    parameters: Vec<RequestParameter>,
    mapped_headers: Vec<HeaderName>,
    mapped_queries: Vec<String>,
    context_headers: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum PathPiece {
    Text(String),
    Parameter(String),
}

/// The integration's part of a [`RequestTemplate`].
pub(crate) struct Settings<'a> {
    pub(crate) form: Form,
    pub(crate) method: Method,
    pub(crate) parameters: &'a [RequestParameter],
    pub(crate) context_headers: bool,
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
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| invalid());
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::HOST, value(&uri.authority)?);
        headers.insert(header::USER_AGENT, value(&format!("AmazonAPIGateway_{api_id}"))?);
        headers.insert(API_ID, value(api_id)?);
        headers.insert(header::ACCEPT, JSON);
        // Answers go to the client as they are, and a WebSocket client undoes no content coding.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));

        let path = path_pieces(&uri.path);
        let has_parameters = path.iter().any(|piece| matches!(piece, PathPiece::Parameter(_)));
        let sample: String = path
            .iter()
            .map(|piece| match piece {
                PathPiece::Text(text) => text.as_str(),
                PathPiece::Parameter(_) => "x",
            })
            .collect();
        // Tried here, so that no call can meet a uri that HTTP does not allow.
        let sample = target(sample, uri.query.as_deref(), "").map_err(|_| invalid())?;

        let parameters = settings.parameters;
        Ok(Self {
            form: settings.form,
            method: settings.method,
            path,
            query: uri.query.clone(),
            fixed: (!has_parameters).then_some(sample),
            headers,
            mapped_headers: parameters
                .iter()
                .filter_map(|parameter| match &parameter.target {
                    ParameterTarget::Header(name) => Some(name.clone()),
                    ParameterTarget::QueryString(_) | ParameterTarget::Path(_) => None,
                })
                .collect(),
            mapped_queries: parameters
                .iter()
                .filter_map(|parameter| match &parameter.target {
                    ParameterTarget::QueryString(name) => Some(name.clone()),
                    ParameterTarget::Header(_) | ParameterTarget::Path(_) => None,
                })
                .collect(),
            parameters: parameters.to_vec(),
            context_headers: settings.context_headers && settings.form != Form::Function,
        })
    }

    /// The request for one event.
    pub(crate) fn fill(&self, event: &Event<'_>) -> Result<Request<Full<Bytes>>, IntegrationError> {
        let mapped = request_parameters::map(&self.parameters, event);
        let body = self.body(event);
        let uri = self.uri(event, &mapped)?;
        let headers = self.headers(event, mapped, body.as_ref());
        let mut request = Request::new(Full::new(body.map_or_else(Bytes::new, |body| body.bytes)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn body(&self, event: &Event<'_>) -> Option<Body> {
        if self.form == Form::Function {
            let size = match event.occurrence {
                Occurrence::Message { body, .. } => body.len() + body.len() / 4,
                Occurrence::Connect(_) => 4096,
                Occurrence::Disconnect { .. } => 512,
            };
            let mut json = Vec::with_capacity(1024 + size);
            proxy_event(event, &mut json);
            return Some(Body { bytes: json.into(), content_type: JSON });
        }
        match event.occurrence {
            Occurrence::Message { body, binary, .. } => Some(Body {
                bytes: body.clone(),
                content_type: if *binary { OCTET_STREAM } else { JSON },
            }),
            Occurrence::Connect(_) | Occurrence::Disconnect { .. } => None,
        }
    }

    fn uri(&self, event: &Event<'_>, mapped: &MappedParameters) -> Result<Uri, IntegrationError> {
        let added = self.added_query(event, mapped);
        if let (Some(fixed), true) = (&self.fixed, added.is_empty()) {
            return Ok(fixed.clone());
        }
        let path = self.path(mapped)?;
        // The template and all encodings allow no other failure than the length.
        target(path, self.query.as_deref(), &added).map_err(|_| IntegrationError::UriTooLong)
    }

    fn path(&self, mapped: &MappedParameters) -> Result<String, IntegrationError> {
        let mut path = String::new();
        for piece in &self.path {
            match piece {
                PathPiece::Text(text) => path.push_str(text),
                PathPiece::Parameter(name) => {
                    let refused = || IntegrationError::PathParameter(name.clone());
                    let value = mapped.path.iter().rfind(|(mapped, _)| mapped == name);
                    let (_, value) =
                        value.filter(|(_, value)| !value.is_empty()).ok_or_else(refused)?;
                    // Dots cannot be encoded away: a server undoes that before it looks.
                    let climbs = |value: &str| value.split(['/', '\\']).any(is_dots);
                    let start = path.rfind('/').map_or(0, |slash| slash + 1);
                    path.extend(utf8_percent_encode(value, VALUE));
                    if climbs(value) || is_dots(&path[start..]) {
                        return Err(refused());
                    }
                }
            }
        }
        Ok(path)
    }

    /// What the client and the mappings add to the uri's own query.
    fn added_query(&self, event: &Event<'_>, mapped: &MappedParameters) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(utf8_percent_encode(name, VALUE));
            query.push('=');
            query.extend(utf8_percent_encode(value, VALUE));
        };
        if let (Form::HttpProxy, Occurrence::Connect(upgrade)) = (self.form, event.occurrence) {
            if self.mapped_queries.is_empty() {
                return percent_encode(upgrade.raw_query.as_bytes(), WHOLE_QUERY).to_string();
            }
            // A backend that trusts a mapped parameter must not meet the client's.
            let is_mapped = |name: &String| self.mapped_queries.contains(name);
            for (name, value) in upgrade.query.iter().filter(|(name, _)| !is_mapped(name)) {
                add(name, value);
            }
        }
        for (name, value) in &mapped.query {
            add(name, value);
        }
        query
    }

    fn headers(
        &self,
        event: &Event<'_>,
        mapped: MappedParameters,
        body: Option<&Body>,
    ) -> HeaderMap {
        let upgrade = match event.occurrence {
            Occurrence::Connect(upgrade) => Some(upgrade),
            Occurrence::Message { .. } | Occurrence::Disconnect { .. } => None,
        };
        // The defaults, those of the body and of the context, the trace id.
        let mut headers = HeaderMap::with_capacity(13 + mapped.headers.len());
        if let (Form::HttpProxy, Some(upgrade)) = (self.form, upgrade) {
            self.pass_on(upgrade, &mut headers);
        }
        // Defaults win over the client's, the user agent's name too: it tells who calls.
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(TRACE_ID, trace_id(event, upgrade));
        for (name, value) in mapped.headers {
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
            None if [Method::POST, Method::PUT, Method::PATCH].contains(&self.method) => {
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

/// A path segment that means another one; `...` and longer mean nothing good either.
fn is_dots(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b == b'.')
}

/// A request's body.
struct Body {
    bytes: Bytes,
    content_type: HeaderValue,
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

/// The upgrade request's, which the edge has made, or a fresh one.
fn trace_id(event: &Event<'_>, upgrade: Option<&UpgradeRequest>) -> HeaderValue {
    let theirs = upgrade.and_then(|upgrade| {
        let is_trace = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(TRACE_ID.as_str());
        let (_, value) = upgrade.headers.iter().rfind(is_trace)?;
        HeaderValue::from_str(value).ok()
    });
    theirs.unwrap_or_else(|| {
        let (a, b): (u64, u32) = rand::random();
        text(&format!("Root=1-{:08x}-{a:016x}{b:08x}", event.at_ms / 1000))
    })
}

/// A header's value; what does not fit in one is percent-encoded.
fn text(value: &str) -> HeaderValue {
    // Borrowed, so that plain text, which is the rule, is copied once.
    let encoded: std::borrow::Cow<'_, str> = utf8_percent_encode(value, ROUTE_KEY).into();
    HeaderValue::from_str(&encoded).expect("printable ASCII fits in a header")
}

fn target(mut path: String, own: Option<&str>, added: &str) -> Result<Uri, http::uri::InvalidUri> {
    let parts = [own.unwrap_or(""), added];
    for (part, mark) in parts.into_iter().filter(|part| !part.is_empty()).zip(['?', '&']) {
        path.push(mark);
        path.push_str(part);
    }
    PathAndQuery::try_from(path).map(Uri::from)
}

/// Parts a path at its `{NAME}`s; any other brace is text.
fn path_pieces(path: &str) -> Vec<PathPiece> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._$-".contains(&b))
    };
    let mut pieces = Vec::new();
    let mut from = 0;
    for (end, _) in path.match_indices('}') {
        // From each `}` backwards, so that `{{a}` has one.
        let Some(open) = path[from..end].rfind('{').map(|at| from + at) else { continue };
        let name = &path[open + 1..end];
        if is_name(name) {
            pieces.push(PathPiece::Text(path[from..open].to_owned()));
            pieces.push(PathPiece::Parameter(name.to_owned()));
            from = end + 1;
        }
    }
    pieces.push(PathPiece::Text(path[from..].to_owned()));
    pieces
}

#[cfg(test)]
mod tests {
    use tidegate_flow::{context::ConnectionFacts, opaque_id::OpaqueId};
    use tidegate_model::{BodyPath, ParameterSource, UriTemplate};

    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn upgrade(headers: &[(&str, &str)], raw_query: &str) -> Occurrence {
        let decoded = raw_query.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let decode = |text: &str| {
                percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
            };
            (decode(name), decode(value))
        });
        Occurrence::Connect(UpgradeRequest {
            headers: pairs(headers),
            query: decoded.collect(),
            raw_query: raw_query.to_owned(),
        })
    }

    fn message(text: &str) -> Occurrence {
        let body = Bytes::copy_from_slice(text.as_bytes());
        Occurrence::Message { message_id: OpaqueId::random(), body, binary: false }
    }

    fn disconnect() -> Occurrence {
        Occurrence::Disconnect { code: 1005, reason: "".into() }
    }

    fn map(target: ParameterTarget, source: ParameterSource) -> RequestParameter {
        RequestParameter { target, source }
    }

    fn to_header(name: &'static str, source: ParameterSource) -> RequestParameter {
        map(ParameterTarget::Header(HeaderName::from_static(name)), source)
    }

    fn body_path(name: &str) -> ParameterSource {
        ParameterSource::Body(BodyPath::parse(&format!(".{name}")).unwrap())
    }

    struct Call<'a> {
        form: Form,
        uri: &'a str,
        method: Method,
        parameters: &'a [RequestParameter],
        context_headers: bool,
        route_key: &'a str,
    }

    impl Default for Call<'_> {
        fn default() -> Self {
            Self {
                form: Form::HttpProxy,
                uri: "http://backend:3000/messages",
                method: Method::POST,
                parameters: &[],
                context_headers: true,
                route_key: "sendmessage",
            }
        }
    }

    impl Call<'_> {
        fn fill(&self, occurrence: &Occurrence) -> Result<Request<Full<Bytes>>, IntegrationError> {
            let connection = ConnectionFacts {
                id: OpaqueId::from_text(*b"TXzPWdnOjoECGjA="),
                api_id: "chat".into(),
                stage: "prod".into(),
                domain_name: "chat.example.com".into(),
                source_ip: [203, 0, 113, 7].into(),
                user_agent: None,
                connected_at_ms: 1_708_326_702_789,
            };
            let stage_variables = [("env".to_owned(), "blue".to_owned())].into();
            let event = Event {
                connection: &connection,
                route_key: self.route_key,
                occurrence,
                request_id: OpaqueId::from_text(*b"TXzPWFkkjoEF92g="),
                at_ms: 1_708_326_702_790,
                stage_variables: &stage_variables,
            };
            let uri = UriTemplate::parse(self.uri).unwrap().expand(&stage_variables).unwrap();
            let settings = Settings {
                form: self.form,
                method: self.method.clone(),
                parameters: self.parameters,
                context_headers: self.context_headers,
            };
            RequestTemplate::new("chat", &uri, self.uri, settings).unwrap().fill(&event)
        }

        fn request(&self, occurrence: &Occurrence) -> Request<Full<Bytes>> {
            self.fill(occurrence).unwrap()
        }
    }

    fn names(request: &Request<Full<Bytes>>) -> Vec<&str> {
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    /// websocket-api, 5.1; items 79 and 81.
    #[test]
    fn a_message_carries_the_default_headers_and_the_context() {
        let request = Call::default().request(&message("hi"));
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "/messages");
        assert_eq!(header("host"), "backend:3000");
        assert_eq!(header("user-agent"), "AmazonAPIGateway_chat");
        assert_eq!(header("x-amzn-apigateway-api-id"), "chat");
        assert_eq!(header("accept"), "application/json");
        assert_eq!(header("accept-encoding"), "identity");
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("content-length"), "2");
        assert_eq!(header("tidegate-connection-id"), "TXzPWdnOjoECGjA=");
        assert_eq!(header("tidegate-route-key"), "sendmessage");
        assert_eq!(header("tidegate-event-type"), "MESSAGE");
        assert_eq!(header("tidegate-stage"), "prod");
        assert_eq!(header("tidegate-request-id"), "TXzPWFkkjoEF92g=");
        let (root, random) = header("x-amzn-trace-id").split_at(16);
        assert_eq!(root, "Root=1-65d2ff2e-");
        assert!(random.len() == 24 && random.bytes().all(|b| b.is_ascii_hexdigit()), "{random}");
        assert_eq!(request.headers().len(), 13, "nothing else: {:?}", names(&request));
    }

    /// Item 81: a connection id is there only if it was asked for.
    #[test]
    fn without_context_headers_no_header_names_the_connection() {
        let call = Call { context_headers: false, ..Call::default() };
        let request = call.request(&message("hi"));
        assert!(!names(&request).iter().any(|name| name.starts_with("tidegate-")));
        assert!(!format!("{:?}", request.headers()).contains("TXzPWdnOjoECGjA="));
    }

    #[test]
    fn an_empty_message_is_a_body_of_no_bytes() {
        let request = Call::default().request(&message(""));
        assert_eq!(request.headers()["content-length"], "0");
        assert_eq!(request.headers()["content-type"], "application/json");
    }

    #[test]
    fn a_binary_message_is_an_octet_stream() {
        let body = Bytes::from_static(&[255, 0]);
        let occurrence = Occurrence::Message { message_id: OpaqueId::random(), body, binary: true };
        let request = Call::default().request(&occurrence);
        assert_eq!(request.headers()["content-type"], "application/octet-stream");
    }

    /// Item 80; RFC 9110, 8.6.
    #[test]
    fn connect_and_disconnect_have_no_body() {
        for occurrence in [upgrade(&[], ""), disconnect()] {
            let request = Call::default().request(&occurrence);
            assert_eq!(request.headers()["content-length"], "0");
            assert!(!request.headers().contains_key("content-type"));
            let call = Call { method: Method::GET, ..Call::default() };
            assert!(!call.request(&occurrence).headers().contains_key("content-length"));
        }
    }

    /// websocket-api, 3.3 and 5.1.
    #[test]
    fn connect_passes_the_clients_headers_on_without_those_of_its_own_hop() {
        let occurrence = upgrade(
            &[
                ("Host", "chat.example.com"),
                ("Cookie", "a=b"),
                ("X-Twice", "1"),
                ("x-twice", "2"),
                ("Authorization", "Bearer t"),
                ("Sec-WebSocket-Protocol", "graphql-ws, json"),
                ("Sec-WebSocket-Key", "k"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Extensions", "permessage-deflate"),
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Keep-Alive", "timeout=5"),
                ("TE", "trailers"),
                ("Trailer", "x"),
                ("Transfer-Encoding", "chunked"),
                ("Content-Length", "5"),
                ("Expect", "100-continue"),
                ("Proxy-Authorization", "p"),
                ("User-Agent", "Mozilla/5.0"),
                ("Accept-Encoding", "gzip"),
                ("X-Amzn-Trace-Id", "Root=1-65d2ff2e-0123456789abcdef01234567"),
                ("X-Forwarded-For", "203.0.113.7"),
            ],
            "",
        );
        let call = Call { context_headers: false, method: Method::GET, ..Call::default() };
        let request = call.request(&occurrence);
        assert_eq!(
            names(&request),
            [
                "accept",
                "accept-encoding",
                "authorization",
                "cookie",
                "host",
                "sec-websocket-protocol",
                "user-agent",
                "x-amzn-apigateway-api-id",
                "x-amzn-trace-id",
                "x-forwarded-for",
                "x-twice",
            ]
        );
        let headers = request.headers();
        assert_eq!(headers["host"], "backend:3000");
        assert_eq!(headers["sec-websocket-protocol"], "graphql-ws, json");
        assert_eq!(headers["x-amzn-trace-id"], "Root=1-65d2ff2e-0123456789abcdef01234567");
        assert_eq!(headers["accept-encoding"], "identity");
        assert_eq!(headers["user-agent"], "AmazonAPIGateway_chat");
        assert_eq!(headers.get_all("x-twice").iter().collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn only_http_proxy_passes_the_clients_headers_and_query_on() {
        let trace = "Root=1-65d2ff2e-0123456789abcdef01234567";
        let occurrence = upgrade(&[("Cookie", "a=b"), ("X-Amzn-Trace-Id", trace)], "token=abc");
        for form in [Form::Http, Form::Function] {
            let request = Call { form, ..Call::default() }.request(&occurrence);
            assert!(!request.headers().contains_key("cookie"), "{form:?}");
            assert_eq!(request.headers()["x-amzn-trace-id"], trace, "one trace for one upgrade");
            assert_eq!(request.uri(), "/messages", "{form:?}");
        }
    }

    /// tidegate, section 4: a client can never set a header of that prefix.
    #[test]
    fn a_client_cannot_forge_a_context_header() {
        let forged = [("Tidegate-Principal-Id", "root"), ("TIDEGATE-CONNECTION-ID", "other")];
        for context_headers in [true, false] {
            let call = Call { context_headers, ..Call::default() };
            let request = call.request(&upgrade(&forged, ""));
            assert!(!request.headers().contains_key("tidegate-principal-id"));
            assert!(!format!("{:?}", request.headers()).contains("other"));
        }
    }

    /// A backend trusts `userid` because the operator maps it; where the mapping finds nothing,
    /// the client's own header of that name must not stand in for it.
    #[test]
    fn a_client_cannot_stand_in_for_a_mapping_that_finds_nothing() {
        let absent = || ParameterSource::Context("authorizer.principalId".to_owned());
        let parameters = [
            to_header("userid", absent()),
            map(ParameterTarget::QueryString("user id".to_owned()), absent()),
        ];
        let call = Call { parameters: &parameters, ..Call::default() };
        let request = call.request(&upgrade(&[("UserId", "root")], "a=1&user%20id=root&b=%26"));
        assert!(!request.headers().contains_key("userid"));
        assert_eq!(request.uri(), "/messages?a=1&b=%26");
    }

    /// Items 82 and 83; a mapped header replaces the default of its name.
    #[test]
    fn mappings_set_headers_query_and_path() {
        let text = |text: &str| ParameterSource::Static(text.to_owned());
        let parameters = [
            to_header("connectionid", ParameterSource::Context("connectionId".to_owned())),
            to_header("room", body_path("data.room")),
            to_header("absent", body_path("nope")),
            to_header("content-type", text("text/plain")),
            to_header("host", text("internal.example.com")),
            map(ParameterTarget::QueryString("source".to_owned()), text("ws & more")),
            map(ParameterTarget::Path("room".to_owned()), body_path("data.room")),
        ];
        let call = Call {
            uri: "http://backend/${stageVariables.env}/rooms/{room}/x?own=1",
            parameters: &parameters,
            ..Call::default()
        };
        let request = call.request(&message(r#"{"data":{"room":"a/b?é"}}"#));
        assert_eq!(request.uri(), "/blue/rooms/a%2Fb%3F%C3%A9/x?own=1&source=ws%20%26%20more");
        let headers = request.headers();
        assert_eq!(headers["connectionid"], "TXzPWdnOjoECGjA=");
        assert_eq!(headers["room"], HeaderValue::from_bytes("a/b?é".as_bytes()).unwrap());
        assert_eq!(headers["content-type"], "text/plain");
        assert_eq!(headers["host"], "internal.example.com");
        assert!(!headers.contains_key("absent"));
    }

    #[test]
    fn a_message_cannot_add_headers_segments_or_parameters() {
        let parameters = [
            to_header("room", body_path("room")),
            map(ParameterTarget::QueryString("room".to_owned()), body_path("room")),
            map(ParameterTarget::Path("room".to_owned()), body_path("room")),
        ];
        let uri = "http://backend/rooms/{room}";
        let call = Call { uri, parameters: &parameters, ..Call::default() };
        let occurrence = message(r#"{"room":"a\r\nX-Evil: 1\u0000 HTTP/1.1&b=c#/.."}"#);
        // `..` after a slash is refused outright.
        assert!(matches!(call.fill(&occurrence), Err(IntegrationError::PathParameter(_))));
        let occurrence = message(r#"{"room":"a\r\nX-Evil: 1\u0000 HTTP/1.1&b=c#/x"}"#);
        let request = call.request(&occurrence);
        assert!(!request.headers().contains_key("x-evil"));
        let value = request.headers()["room"].as_bytes();
        assert!(!value.iter().any(|b| b"\r\n\0".contains(b)));
        let encoded = "a%0D%0AX-Evil%3A%201%00%20HTTP%2F1.1%26b%3Dc%23%2Fx";
        assert_eq!(request.uri().to_string(), format!("/rooms/{encoded}?room={encoded}"));
    }

    #[test]
    fn a_path_parameter_that_is_absent_empty_or_climbs_is_refused() {
        let parameters = [map(ParameterTarget::Path("room".to_owned()), body_path("room"))];
        for (uri, room) in [
            ("http://backend/rooms/{room}", "{}"),
            ("http://backend/rooms/{room}", r#"{"room":""}"#),
            ("http://backend/rooms/{room}", r#"{"room":"."}"#),
            ("http://backend/rooms/{room}/x", r#"{"room":".."}"#),
            ("http://backend/rooms/.{room}", r#"{"room":"."}"#),
            ("http://backend/rooms/{room}", r#"{"room":"../admin"}"#),
            ("http://backend/rooms/{room}", r#"{"room":"a\\.."}"#),
            ("http://backend/rooms/{other}", r#"{"room":"a"}"#),
        ] {
            let call = Call { uri, parameters: &parameters, ..Call::default() };
            let refused =
                matches!(call.fill(&message(room)), Err(IntegrationError::PathParameter(_)));
            assert!(refused, "{uri} {room}");
        }
        let call =
            Call { uri: "http://backend/{room}.json", parameters: &parameters, ..Call::default() };
        assert_eq!(call.request(&message(r#"{"room":"a..b"}"#)).uri(), "/a..b.json");
    }

    #[test]
    fn a_mapped_value_beyond_what_a_uri_holds_is_the_clients_fault_and_no_panic() {
        let target = ParameterTarget::QueryString("all".to_owned());
        let parameters = [map(target, body_path("text"))];
        let call = Call { parameters: &parameters, ..Call::default() };
        let occurrence = message(&format!(r#"{{"text":"{}"}}"#, "x".repeat(70_000)));
        assert!(matches!(call.fill(&occurrence), Err(IntegrationError::UriTooLong)));
    }

    #[test]
    fn the_clients_query_is_appended_as_it_was_written() {
        let call = Call { uri: "http://backend/?own=1", ..Call::default() };
        let raw = "token=a%2Fb&x=[1]&flag&y=a+b";
        assert_eq!(call.request(&upgrade(&[], raw)).uri().to_string(), format!("/?own=1&{raw}"));
        let odd = call.request(&upgrade(&[], "a=b c#d\u{e9}\r\n"));
        assert_eq!(odd.uri(), "/?own=1&a=b%20c%23d%C3%A9%0D%0A");
        assert_eq!(call.request(&upgrade(&[], "")).uri(), "/?own=1");
    }

    #[test]
    fn a_route_key_of_any_text_stands_in_its_header_percent_encoded() {
        let call = Call { route_key: "caf\u{e9} 100%\n", ..Call::default() };
        let request = call.request(&message(""));
        assert_eq!(request.headers()["tidegate-route-key"], "caf%C3%A9 100%25%0A");
    }

    /// tidegate, section 4: the event says it all to a function.
    #[test]
    fn a_function_gets_the_proxy_event_and_no_context_headers() {
        let request = Call { form: Form::Function, ..Call::default() }.request(&message("hi"));
        assert_eq!(request.headers()["content-type"], "application/json");
        assert!(!names(&request).iter().any(|name| name.starts_with("tidegate-")));
        assert!(
            request.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 99
        );
    }

    #[test]
    fn braces_that_name_nothing_are_text() {
        use PathPiece::{Parameter, Text};
        let text = |text: &str| Text(text.to_owned());
        let parameter = |name: &str| Parameter(name.to_owned());
        assert_eq!(path_pieces("/a/{b}/c"), [text("/a/"), parameter("b"), text("/c")]);
        assert_eq!(path_pieces("/{{a}}"), [text("/{"), parameter("a"), text("}")]);
        assert_eq!(path_pieces("/{}/{a b}/}"), [text("/{}/{a b}/}")]);
    }
}
