//! Which request each kind of event makes, and what a client cannot put into it.

use http::HeaderName;
use tidegate_flow::{
    context::{ConnectionFacts, UpgradeRequest},
    opaque_id::OpaqueId,
};
use tidegate_model::{BodyPath, ParameterSource, ParameterTarget, UriTemplate};

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
    overrides: MappedParameters,
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
            overrides: MappedParameters::default(),
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
            authorization: None,
        };
        let stage_variables = [("env".to_owned(), "blue".to_owned())].into();
        let event = Event {
            connection: &connection,
            route_key: self.route_key,
            occurrence,
            request_id: OpaqueId::from_text(*b"TXzPWFkkjoEF92g="),
            at_ms: 1_708_326_702_790,
            stage_variables: &stage_variables,
            trace: None,
        };
        let uri = UriTemplate::parse(self.uri).unwrap().expand(&stage_variables).unwrap();
        let settings = Settings {
            form: self.form,
            method: self.method.clone(),
            parameters: self.parameters,
            context_headers: self.context_headers,
        };
        let body = match self.form {
            Form::Function => Some(Body::json(proxy_payload(&event))),
            Form::HttpProxy | Form::Http => Body::of_message(&event),
        };
        let template = RequestTemplate::new("chat", &uri, self.uri, settings).unwrap();
        template.fill(&event, body, self.overrides.clone())
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
        let refused = matches!(call.fill(&message(room)), Err(IntegrationError::PathParameter(_)));
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
    assert!(request.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 99);
}

/// mapping-templates, section 11. The configuration admits no mapping to the headers that frame the
/// request or say who is speaking; what a client says must not come there through a template.
#[test]
fn a_template_overrides_what_is_mapped_and_nothing_that_is_ours() {
    let parameters = [to_header("room", ParameterSource::Static("mapped".to_owned()))];
    let header =
        |name: &'static str, value: &str| (HeaderName::from_static(name), value.to_owned());
    let overrides = MappedParameters {
        headers: vec![
            header("room", "override"),
            header("transfer-encoding", "chunked"),
            header("content-length", "1"),
            header("tidegate-principal-id", "root"),
        ],
        query: vec![("a".to_owned(), "b c".to_owned())],
        path: Vec::new(),
    };
    let call = Call { parameters: &parameters, overrides, ..Call::default() };
    let request = call.request(&message("hello"));
    assert_eq!(request.headers()["room"], "override");
    assert_eq!(request.headers()["content-length"], "5");
    assert_eq!(request.uri(), "/messages?a=b%20c");
    for name in ["transfer-encoding", "tidegate-principal-id"] {
        assert!(!request.headers().contains_key(name), "{name}");
    }
}
