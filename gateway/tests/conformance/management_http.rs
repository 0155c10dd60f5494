//! `@connections`, as HTTP (RFC 9110 and 9112; clients, 1.1).
//!
//! In:  methods, kept and pipelined connections, expectations, requests whose end is in doubt.
//! Out: answers that the next one on the same connection can be read after, or the end of it.
//!
//! Holds always: what delimits a request is beyond doubt, or the connection is cut.

use tidegate_testkit::HttpClient;

use crate::management::{MESSAGE, Open, assert_error};

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
        assert_eq!(response.json()["message"], "this path takes POST, GET, DELETE", "{method}");
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
