//! `@connections`, as HTTP (websocket-api, section 10 and 17.10; clients, section 1; tidegate,
//! section 6; reliability, lines 4, 17, 19, 21, 23).
//!
//! In:  calls with raw targets, signed and not.
//! Out: status, headers and body as AWS SDKs read them, and what the client saw of it.
//!
//! Holds always: a refused call changes nothing; the client's next message shows it.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tidegate_testkit::{
    Client, FunctionBackend, GatewayToml, HttpClient, HttpResponse, Signer, TestGateway, http_call,
};

use crate::{assert_id, connection_id, start, text, watched_by};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const MESSAGE: usize = 128 * 1024;

/// One open connection and its id.
struct Open {
    gateway: TestGateway,
    function: FunctionBackend,
    client: Client,
    id: String,
}

impl Open {
    async fn start() -> Self {
        Self::start_with(|toml| toml).await
    }

    async fn start_with(change: impl FnOnce(GatewayToml) -> GatewayToml) -> Self {
        let function = FunctionBackend::accepting().await;
        let gateway = start(&change(watched_by(&function).route("$default", "watcher"))).await;
        // The host names the api where there is more than one.
        let host = [("Host", "test.localhost")];
        let client = Client::connect_with(&gateway.ws_url("prod"), &host, &[]).await;
        let id = connection_id(&function).await;
        Self { gateway, function, client, id }
    }

    /// The path of this connection.
    fn target(&self) -> String {
        format!("/prod/@connections/{}", self.id)
    }

    async fn call(&self, method: &str, target: &str, body: &[u8]) -> HttpResponse {
        self.gateway.manage(method, target, body).await
    }
}

/// An error as SDKs read it: status, class, JSON message (clients, 1.4). Returns the message.
fn assert_error(response: &HttpResponse, status: u16, error_type: &str) -> String {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some(error_type), "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_id(response.header("x-amzn-requestid").expect("a request id"));
    let body = response.json();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    text(&body["message"]).to_owned()
}

/// 410 as Amazon's: the class in the header, and no body.
fn assert_gone(response: &HttpResponse) {
    assert_eq!(response.status, 410, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some("GoneException"));
    assert_eq!(response.body, b"");
    assert_id(response.header("x-amzn-requestid").expect("a request id"));
}

/// websocket-api, item 106.
#[tokio::test]
async fn a_post_is_one_text_message_with_the_same_bytes() {
    let mut open = Open::start().await;
    for body in ["hello", "{\"a\": \"grüße 😀\"}\n", "", "\u{0}\u{feff}"] {
        let response = open.call("POST", &open.target(), body.as_bytes()).await;
        assert_eq!((response.status, response.text()), (200, ""), "{response:?}");
        assert_eq!(response.header("content-length"), Some("0"));
        assert_eq!(open.client.next_text().await, body);
    }
    for content_type in ["application/octet-stream", "image/png", "text/plain; charset=latin1"] {
        let headers = [("Content-Type", content_type)];
        let url = open.gateway.http_url();
        let response = http_call(&url, "POST", &open.target(), &headers, b"any type").await;
        assert_eq!(response.status, 200);
        assert_eq!(open.client.next_text().await, "any type");
    }
}

/// `2022-01-25T18:50:04.673Z`.
fn assert_iso_millis(time: &str) {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{time}");
}

/// websocket-api, item 107 and section 10: exactly these fields.
#[tokio::test]
async fn get_tells_who_is_connected_and_since_when() {
    let mut open = Open::start().await;
    let response = open.call("GET", &open.target(), b"").await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let first = response.json();
    let (connected, active) = (text(&first["connectedAt"]), text(&first["lastActiveAt"]));
    assert_iso_millis(connected);
    assert_iso_millis(active);
    let expected = json!({
        "connectedAt": connected,
        "identity": { "sourceIp": "127.0.0.1", "userAgent": null },
        "lastActiveAt": active,
    });
    assert_eq!(first, expected);

    // A client's message is activity; being asked about is none.
    tokio::time::sleep(Duration::from_millis(20)).await;
    open.client.send_text("I am active").await;
    open.function.next_event("MESSAGE").await;
    let second = open.call("GET", &open.target(), b"").await.json();
    assert_eq!(second["connectedAt"], connected);
    assert!(text(&second["lastActiveAt"]) > active, "{second} after {first}");
    let third = open.call("GET", &open.target(), b"").await.json();
    assert_eq!(second, third);

    let agent = [("User-Agent", "Mozilla/5.0 (\"quoted\")")];
    let _client = Client::connect_with(&open.gateway.ws_url("prod"), &agent, &[]).await;
    let id = connection_id(&open.function).await;
    let body = open.gateway.get_connection("prod", &id).await.json();
    assert_eq!(body["identity"]["userAgent"], agent[0].1);
}

/// websocket-api, item 108; clients, 1.4.
#[tokio::test]
async fn after_delete_every_call_is_answered_410() {
    let mut open = Open::start().await;
    let response = open.call("DELETE", &open.target(), b"").await;
    assert_eq!((response.status, response.body.as_slice()), (204, &b""[..]), "{response:?}");
    assert_eq!(response.header("content-length"), None, "RFC 9110, 8.6");
    for method in ["GET", "POST", "DELETE"] {
        assert_gone(&open.call(method, &open.target(), b"").await);
    }
    assert_eq!(open.client.next_close().await.0, 1000);
    open.function.next_event("DISCONNECT").await;
    for method in ["GET", "POST", "DELETE"] {
        assert_gone(&open.call(method, &open.target(), b"").await);
    }
    assert_eq!(open.function.events_of("DISCONNECT").len(), 1);
}

/// reliability, line 23: as soon as the client has closed, or never was.
#[tokio::test]
async fn a_connection_that_is_gone_is_answered_410() {
    let mut open = Open::start().await;
    open.client.close(1000, "").await;
    open.function.next_event("DISCONNECT").await;
    for method in ["GET", "POST", "DELETE"] {
        assert_gone(&open.call(method, &open.target(), b"x").await);
        // Of the right shape, and never given to anybody.
        assert_gone(&open.call(method, "/prod/@connections/L0SM9cOFvHcCIhw=", b"x").await);
        assert_gone(&open.call(method, "/prod/@connections/AAAAAAAAAAAAAAA=", b"x").await);
    }
}

/// websocket-api, item 109 and section 10.
#[tokio::test]
async fn a_malformed_id_is_answered_400() {
    let open = Open::start().await;
    for id in [
        "short",
        "AAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAA!=",
        "AAAAAAAAAAAAAA%20",
        "a%2Fb%20c%2Bd%26e%3Ff%2520~-_.%2A%21%27%28%29",
        "%C3%A9",
        "%FF%FE",
        "AAAAAAAAAAAAA%2F=",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let response = open.call(method, &format!("/prod/@connections/{id}"), b"x").await;
            let message = assert_error(&response, 400, "BadRequestException");
            assert!(message.starts_with("Invalid connectionId"), "{message}");
        }
    }
}

/// websocket-api, item 110; reliability, line 4. Also for a chunked body, whose length nobody
/// says beforehand.
#[tokio::test]
async fn a_post_of_131072_bytes_is_taken_and_one_byte_more_is_answered_413() {
    let mut open = Open::start().await;
    let url = open.gateway.http_url();
    let chunked = [("Transfer-Encoding", "chunked")];
    let chunks = |length: usize| {
        let mut wire = Vec::new();
        for chunk in vec![b'x'; length].chunks(10_000) {
            wire.extend(format!("{:X};ext=1\r\n", chunk.len()).into_bytes());
            wire.extend(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\nX-Trailer: 1\r\n\r\n");
        wire
    };
    let response = open.call("POST", &open.target(), &vec![b'x'; MESSAGE]).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(open.client.next_text().await.len(), MESSAGE);
    let response = http_call(&url, "POST", &open.target(), &chunked, &chunks(MESSAGE)).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(open.client.next_text().await.len(), MESSAGE);
    for _ in 0..5 {
        let response = open.call("POST", &open.target(), &vec![b'x'; MESSAGE + 1]).await;
        assert_error(&response, 413, "PayloadTooLargeException");
        let body = chunks(MESSAGE + 1);
        let response = http_call(&url, "POST", &open.target(), &chunked, &body).await;
        assert_error(&response, 413, "PayloadTooLargeException");
    }
    let response = open.call("POST", &open.target(), &vec![b'x'; 4 * 1024 * 1024]).await;
    assert_error(&response, 413, "PayloadTooLargeException");
    open.client.ping_pong().await;
}

/// reliability, line 4, with a limit of one's own.
#[tokio::test]
async fn an_own_message_limit_holds_for_posts_too() {
    let mut open = Open::start_with(|toml| {
        toml.limit("max_message_bytes", "1000").limit("max_frame_bytes", "1000")
    })
    .await;
    assert_eq!(open.call("POST", &open.target(), &[b'x'; 1000]).await.status, 200);
    assert_eq!(open.client.next_text().await.len(), 1000);
    let response = open.call("POST", &open.target(), &[b'x'; 1001]).await;
    assert_error(&response, 413, "PayloadTooLargeException");
}

/// websocket-api, section 10 (decision): messages to clients are text.
#[tokio::test]
async fn a_post_that_is_not_utf_8_is_answered_400() {
    let mut open = Open::start().await;
    for body in [&[0xff][..], &[0xc3, 0x28], &[b'a', 0xe2, 0x82], &[0xed, 0xa0, 0x80]] {
        let response = open.call("POST", &open.target(), body).await;
        assert_error(&response, 400, "BadRequestException");
    }
    open.client.ping_pong().await;
}

/// websocket-api, item 112; clients, 1.2: every spelling of the same path.
#[tokio::test]
async fn the_path_may_be_escaped_and_have_double_slashes() {
    let mut open = Open::start().await;
    let bare = open.id.strip_suffix('=').expect("an id ends with =").to_owned();
    for target in [
        format!("/prod/@connections/{bare}="),
        format!("/prod/@connections/{bare}%3D"),
        format!("/prod/@connections/{bare}%3d"),
        format!("/prod/%40connections/{bare}="),
        format!("/prod/%40connections/{bare}%3D"),
        format!("/prod//@connections/{bare}%3D"),
        format!("//prod/@connections//{bare}%3D"),
        format!("/%70rod/%40%63onnections/{bare}%3D"),
    ] {
        let response = open.call("POST", &target, target.as_bytes()).await;
        assert_eq!(response.status, 200, "{target}: {response:?}");
        assert_eq!(open.client.next_text().await, target);
    }
    // Decoded once, never twice; case matters.
    for target in [
        format!("/prod/%2540connections/{bare}="),
        format!("/prod/@Connections/{bare}="),
        format!("/prod%2F@connections/{bare}="),
        format!("/prod/@connections/{bare}=/more"),
    ] {
        let response = open.call("POST", &target, b"no").await;
        assert_ne!(response.status, 200, "{target}: {response:?}");
    }
    open.client.ping_pong().await;
}

/// websocket-api, section 10 and clients, 1.4: an unknown stage is forbidden.
#[tokio::test]
async fn an_unknown_stage_is_answered_403() {
    let mut open = Open::start().await;
    for method in ["GET", "POST", "DELETE"] {
        for target in [
            format!("/test/@connections/{}", open.id),
            format!("/@connections/{}", open.id),
            format!("/PROD/@connections/{}", open.id),
        ] {
            let response = open.call(method, &target, b"x").await;
            let message = assert_error(&response, 403, "ForbiddenException");
            assert_eq!(message, "Forbidden", "{target}");
        }
    }
    open.client.ping_pong().await;
}

/// reliability, line 17.
#[tokio::test]
async fn an_id_of_one_api_or_stage_is_unknown_under_another() {
    let mut open = Open::start_with(|toml| {
        toml.stage("blue").section(
            r#"
[apis.other]
protocol = "websocket"
route_selection_expression = "x"
[apis.other.stages.prod]
[apis.other.routes."$default"]
"#,
        )
    })
    .await;
    let (url, target) = (open.gateway.http_url(), open.target());
    let own = [("Host", "test.localhost")];
    let other = [("Host", "other.localhost")];
    for method in ["GET", "POST", "DELETE"] {
        assert_gone(&http_call(&url, method, &target, &other, b"x").await);
        let blue = format!("/blue/@connections/{}", open.id);
        assert_gone(&http_call(&url, method, &blue, &own, b"x").await);
        let response = http_call(&url, method, &target, &[("Host", "third.localhost")], b"x").await;
        assert_error(&response, 403, "ForbiddenException");
    }
    open.client.ping_pong().await;
    assert_eq!(http_call(&url, "GET", &target, &own, b"").await.status, 200);
}

/// tidegate, section 6: a delete with a close code of one's own.
#[tokio::test]
async fn a_delete_may_say_code_and_reason() {
    for (query, code, reason) in [
        ("?code=4001&reason=too%20loud", 4001, "too loud"),
        ("?code=3000", 3000, ""),
        ("?reason=bye", 1000, "bye"),
        ("?code=4999&reason=sp%C3%A4ter", 4999, "später"),
    ] {
        let mut open = Open::start().await;
        let response = open.call("DELETE", &(open.target() + query), b"").await;
        assert_eq!(response.status, 204, "{response:?}");
        assert_eq!(open.client.next_close().await, (code, reason.to_owned()));
        let event = open.function.next_event("DISCONNECT").await;
        assert_eq!(event["requestContext"]["disconnectStatusCode"], code);
    }
}

/// tidegate, section 6: 1000 and 3000 to 4999; RFC 6455, 5.5: a reason has 123 bytes at most.
#[tokio::test]
async fn a_code_or_reason_that_may_not_be_sent_is_answered_400_and_closes_nothing() {
    let mut open = Open::start().await;
    let long = format!("?reason={}", "x".repeat(124));
    for query in [
        "?code=0",
        "?code=999",
        "?code=1001",
        "?code=1006",
        "?code=2999",
        "?code=5000",
        "?code=65536",
        "?code=-1",
        "?code=x",
        "?code=",
        &long,
    ] {
        let response = open.call("DELETE", &(open.target() + query), b"").await;
        assert_error(&response, 400, "BadRequestException");
    }
    open.client.ping_pong().await;
}

/// RFC 9110, 15.5.6: 405 names what is allowed, and an answer to HEAD has no body, whatever its
/// length would be, or the next answer on the connection cannot be read.
#[tokio::test]
async fn other_methods_are_answered_405() {
    let mut open = Open::start().await;
    let mut http = HttpClient::connect(&open.gateway.http_url()).await;
    for method in ["PUT", "PATCH", "OPTIONS", "post"] {
        let response = http.call(method, &open.target(), &[], b"").await;
        assert_error(&response, 405, "MethodNotAllowedException");
        assert_eq!(response.header("allow"), Some("POST, GET, DELETE"), "{method}");
    }
    assert_eq!(http.call("HEAD", &open.target(), &[], b"").await.status, 405);
    assert_eq!(http.call("GET", &open.target(), &[], b"").await.status, 200, "after a HEAD");
    open.client.ping_pong().await;
}

/// RFC 9110, 9.3.2, for what is no management call.
#[tokio::test]
async fn a_head_request_for_a_stage_has_an_answer_without_body() {
    let open = Open::start().await;
    let mut http = HttpClient::connect(&open.gateway.http_url()).await;
    assert_eq!(http.call("HEAD", "/prod", &[], b"").await.status, 426);
    assert_eq!(http.call("GET", &open.target(), &[], b"").await.status, 200, "after a HEAD");
}

/// clients, 1.1: SDKs keep connections.
#[tokio::test]
async fn a_connection_serves_many_calls_also_pipelined_ones() {
    let mut open = Open::start().await;
    let mut http = HttpClient::connect(&open.gateway.http_url()).await;
    for number in 0..20 {
        let body = number.to_string();
        let response = http.call("POST", &open.target(), &[], body.as_bytes()).await;
        assert_eq!(response.status, 200);
        assert_ne!(response.header("connection"), Some("close"));
        assert_eq!(open.client.next_text().await, body);
    }
    let target = open.target();
    let all = [
        format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nfirst"),
        format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"),
        format!("POST {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "6\r\nsecond\r\n0\r\n\r\n".to_owned(),
        "GET /prod/@connections/bad HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        format!("DELETE {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
    ];
    http.send_bytes(all.concat().as_bytes()).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(http.read_response(false).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 400, 204]);
    assert!(http.ended().await, "the last one asked for the end");
    assert_eq!(open.client.next_text().await, "first");
    assert_eq!(open.client.next_text().await, "second");
    assert_eq!(open.client.next_close().await.0, 1000);
}

/// RFC 9110, 10.1.1: what curl does with a long body.
#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it() {
    let mut open = Open::start().await;
    let mut http = HttpClient::connect(&open.gateway.http_url()).await;
    let head = |length: usize| {
        format!(
            "POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\n\r\n",
            open.target()
        )
    };
    http.send_bytes(head(5).as_bytes()).await;
    assert_eq!(http.read_response(false).await.status, 100);
    http.send_bytes(b"hello").await;
    assert_eq!(http.read_response(false).await.status, 200);
    let too_long = head(MESSAGE + 1);
    assert_eq!(open.client.next_text().await, "hello");
    // Nothing of it is sent, as a client may that waits for the 100 or for an answer.
    http.send_bytes(too_long.as_bytes()).await;
    let mut response = http.read_response(false).await;
    if response.status == 100 {
        response = http.read_response(false).await;
    }
    assert_error(&response, 413, "PayloadTooLargeException");
}

/// RFC 9112, 6.3 and 11.2: what delimits a body must be beyond doubt.
#[tokio::test]
async fn a_request_whose_end_is_in_doubt_is_answered_400_and_cut() {
    let mut open = Open::start().await;
    for lines in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: +1",
        "Content-Length: 1, 1",
        "Content-Length: ",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nX-Y: z\r\n\r\nxyz\r\nx\r\n0",
    ] {
        let mut http = HttpClient::connect(&open.gateway.http_url()).await;
        let head = format!("POST {} HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\nx", open.target());
        http.send_bytes(head.as_bytes()).await;
        let response = http.read_response(false).await;
        assert_eq!(response.status, 400, "{lines:?}: {response:?}");
        assert!(http.ended().await, "{lines:?}");
    }
    open.client.ping_pong().await;
}

/// reliability, line 21: posts of one caller arrive in the order in which they were answered.
#[tokio::test]
async fn posts_of_one_caller_arrive_in_order() {
    let mut open = Open::start().await;
    let target = open.target();
    let url = open.gateway.http_url();
    let posting = tokio::spawn(async move {
        let mut http = HttpClient::connect(&url).await;
        for number in 0..1000_u32 {
            let body = number.to_string() + &"x".repeat(number as usize % 700);
            let response = http.call("POST", &target, &[], body.as_bytes()).await;
            assert_eq!(response.status, 200);
        }
    });
    for number in 0..1000_u32 {
        let text = open.client.next_text().await;
        let seen = text.trim_end_matches('x').parse();
        assert_eq!(seen, Ok(number));
    }
    posting.await.expect("the caller");
    open.client.ping_pong().await;
}

/// A gateway that wants signatures, one open connection, and calls to it.
struct Signed {
    open: Open,
    host: String,
}

impl Signed {
    async fn start() -> Self {
        let open = Open::start_with(|toml| toml.signed(KEY, SECRET)).await;
        let host = open.gateway.address().to_string();
        Self { open, host }
    }

    /// Signs `method target body` and sends what `tamper` makes of it.
    async fn call(
        &self,
        signer: &Signer,
        at: SystemTime,
        tamper: impl FnOnce(&mut Sent),
    ) -> HttpResponse {
        let mut sent = Sent {
            method: "POST".to_owned(),
            target: self.open.target(),
            headers: vec![("Host".to_owned(), self.host.clone())],
            body: b"signed".to_vec(),
        };
        let headers = [("Host", self.host.as_str())];
        sent.headers.extend(signer.sign(&sent.method, &sent.target, &headers, &sent.body, at));
        tamper(&mut sent);
        let headers: Vec<_> =
            sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let url = self.open.gateway.http_url();
        http_call(&url, &sent.method, &sent.target, &headers, &sent.body).await
    }
}

/// Changes a request after it was signed.
type Tamper = Box<dyn Fn(&mut Sent)>;

struct Sent {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn header(&mut self, name: &str) -> &mut String {
        let found = self.headers.iter_mut().find(|(own, _)| own.eq_ignore_ascii_case(name));
        &mut found.expect("a header of the request").1
    }
}

/// websocket-api, item 112 and section 10; clients, 1.3: signed over the raw path, runs of `/`
/// as one.
#[tokio::test]
async fn a_signed_call_is_served_in_every_spelling_of_its_path() {
    let mut signed = Signed::start().await;
    let signer = Signer::new(KEY, SECRET);
    let now = SystemTime::now();
    assert_eq!(signed.call(&signer, now, |_| ()).await.status, 200);
    assert_eq!(signed.open.client.next_text().await, "signed");
    let id = signed.open.id.clone();
    let escaped = id.replace('=', "%3D");
    let url = signed.open.gateway.http_url();
    for target in [
        format!("/prod/@connections/{id}"),
        format!("/prod/@connections/{escaped}"),
        format!("/prod/%40connections/{escaped}"),
    ] {
        for (method, status) in [("GET", 200), ("POST", 200)] {
            let headers = [("Host", signed.host.as_str())];
            let mut all = vec![("Host".to_owned(), signed.host.clone())];
            all.extend(signer.sign(method, &target, &headers, b"", now));
            let headers: Vec<_> = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let response = http_call(&url, method, &target, &headers, b"").await;
            assert_eq!(response.status, status, "{target}: {response:?}");
        }
        assert_eq!(signed.open.client.next_text().await, "");
    }
    // JS v3 signs the path with one slash and sends it with two.
    let response =
        signed.call(&signer, now, |sent| sent.target = format!("/prod//@connections/{id}")).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(signed.open.client.next_text().await, "signed");
}

/// reliability, lines 15 and 19: a tampered byte anywhere, a stranger's key.
#[tokio::test]
async fn a_tampered_call_is_answered_403_and_changes_nothing() {
    let mut signed = Signed::start().await;
    let signer = Signer::new(KEY, SECRET);
    let now = SystemTime::now();
    let flip = |text: &mut String| {
        let last = text.pop().expect("not empty");
        text.push(if last == '0' { '1' } else { '0' });
    };
    let tampers: [(&str, Tamper); 9] = [
        ("method", Box::new(|sent| sent.method = "DELETE".to_owned())),
        ("path", Box::new(|sent| sent.target = sent.target.replace("prod", "%70rod"))),
        ("query", Box::new(|sent| sent.target += "?code=4000")),
        ("body", Box::new(|sent| sent.body = b"signeD".to_vec())),
        ("host", Box::new(|sent| *sent.header("host") = "test.localhost".to_owned())),
        (
            "date",
            Box::new(move |sent| {
                // Still a time of now, but another one than was signed.
                let date = sent.header("x-amz-date");
                let digit = if date.as_bytes()[14] == b'9' { "8" } else { "9" };
                date.replace_range(14..15, digit);
            }),
        ),
        ("signature", Box::new(move |sent| flip(sent.header("authorization")))),
        (
            "key",
            Box::new(|sent| {
                let header = sent.header("authorization");
                *header = header.replace(KEY, "AKIDSTRANGER");
            }),
        ),
        (
            "scope",
            Box::new(|sent| {
                let header = sent.header("authorization");
                *header = header.replace("us-east-1", "us-east-2");
            }),
        ),
    ];
    for (what, tamper) in tampers {
        let response = signed.call(&signer, now, tamper).await;
        assert_eq!(response.status, 403, "{what}: {response:?}");
        let error_type = response.header("x-amzn-errortype").expect("a class");
        assert_error(&response, 403, error_type);
        assert!(!response.text().contains(SECRET) && !response.text().contains("AKID"));
    }
    signed.open.client.ping_pong().await; // nothing came, nothing was closed
    assert_eq!(signed.call(&signer, now, |_| ()).await.status, 200);
}

/// reliability, line 19: an unknown key and a wrong secret are told in the same words.
#[tokio::test]
async fn a_stranger_learns_nothing_from_the_answer() {
    let mut signed = Signed::start().await;
    let now = SystemTime::now();
    let mut answers = Vec::new();
    for signer in [Signer::new(KEY, "wrong"), Signer::new("AKIDSTRANGER", SECRET)] {
        // Whether the connection exists is nobody's business either.
        for id in [signed.open.id.clone(), "L0SM9cOFvHcCIhw=".to_owned(), "bad".to_owned()] {
            let target = format!("/prod/@connections/{id}");
            let headers = [("Host", signed.host.as_str())];
            let added = signer.sign("GET", &target, &headers, b"", now);
            let mut all = vec![("Host", signed.host.as_str())];
            all.extend(added.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let url = signed.open.gateway.http_url();
            let response = http_call(&url, "GET", &target, &all, b"").await;
            let error_type = response.header("x-amzn-errortype").unwrap_or_default().to_owned();
            answers.push((response.status, error_type, response.text().to_owned()));
        }
    }
    assert_eq!(answers[0].0, 403);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    signed.open.client.ping_pong().await;
}

/// reliability, line 15: dates outside 5 minutes.
#[tokio::test]
async fn a_signature_is_good_for_five_minutes_either_way() {
    let mut signed = Signed::start().await;
    let signer = Signer::new(KEY, SECRET);
    let now = SystemTime::now();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for (at, status) in [
        (now - minutes(6), 403),
        (now + minutes(6), 403),
        (now - minutes(24 * 60), 403),
        (now - minutes(4), 200),
        (now + minutes(4), 200),
    ] {
        let response = signed.call(&signer, at, |_| ()).await;
        assert_eq!(response.status, status, "{response:?}");
        if status == 200 {
            assert_eq!(signed.open.client.next_text().await, "signed");
        }
    }
    signed.open.client.ping_pong().await;
}

/// reliability, line 19; websocket-api, section 10: unsigned, or signed in another way.
#[tokio::test]
async fn an_unsigned_call_is_answered_403() {
    let mut signed = Signed::start().await;
    let other_service = Signer { service: "lambda".to_owned(), ..Signer::new(KEY, SECRET) };
    let response = signed.call(&other_service, SystemTime::now(), |_| ()).await;
    assert_eq!(response.status, 403, "{response:?}");
    let url = signed.open.gateway.http_url();
    for authorization in [
        None,
        Some(""),
        Some("Basic QUtJREVYQU1QTEU6c2VjcmV0"),
        Some("Bearer token"),
        Some("AWS4-HMAC-SHA256"),
        Some("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE, SignedHeaders=host, Signature=00"),
    ] {
        let headers: Vec<_> = authorization.iter().map(|value| ("Authorization", *value)).collect();
        for method in ["GET", "POST", "DELETE"] {
            let target = signed.open.target();
            let response = http_call(&url, method, &target, &headers, b"").await;
            let error_type = response.header("x-amzn-errortype").unwrap_or_default();
            assert_error(&response, 403, error_type);
            if authorization.is_none() {
                let known = ["ForbiddenException", "MissingAuthenticationTokenException"];
                assert!(known.contains(&error_type), "{error_type}");
            }
        }
    }
    signed.open.client.ping_pong().await;
}

/// tidegate, section 3: `auth = "none"` is for loopback peers. What a header claims changes it in
/// neither direction: a spoofed address does not shut a loopback peer out, since it is not read.
#[tokio::test]
async fn what_headers_claim_of_the_callers_address_does_not_matter() {
    let mut open = Open::start().await;
    let url = open.gateway.http_url();
    for headers in [
        [("X-Forwarded-For", "203.0.113.7")],
        [("Forwarded", "for=203.0.113.7")],
        [("X-Real-IP", "203.0.113.7")],
    ] {
        let response = http_call(&url, "POST", &open.target(), &headers, b"x").await;
        assert_eq!(response.status, 200, "{headers:?}");
        assert_eq!(open.client.next_text().await, "x");
    }
    // And where signatures are wanted, claiming to be local does not help.
    let signed = Signed::start().await;
    let url = signed.open.gateway.http_url();
    for headers in [[("X-Forwarded-For", "127.0.0.1")], [("Forwarded", "for=127.0.0.1")]] {
        let response = http_call(&url, "DELETE", &signed.open.target(), &headers, b"").await;
        assert_eq!(response.status, 403, "{headers:?}");
    }
}
