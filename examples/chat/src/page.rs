//! The page: three files and an icon, in the binary, and where the page finds the gateway.
//!
//! In:  a path. Out: a response. Holds always: nothing on the page comes from elsewhere, and
//! the policy header tells the browser to insist on it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY},
};
use serde::Serialize;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET path`; `websocket_url` is what `/config.json` tells.
pub(crate) fn file(path: &str, websocket_url: &str) -> Response<Full<Bytes>> {
    let (kind, text) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("../page/index.html")),
        "/chat.css" => ("text/css; charset=utf-8", include_str!("../page/chat.css")),
        "/chat.js" => ("text/javascript; charset=utf-8", include_str!("../page/chat.js")),
        "/icon.svg" => ("image/svg+xml", include_str!("../page/icon.svg")),
        "/config.json" => return json(&serde_json::json!({ "url": websocket_url })),
        _ => return status(StatusCode::NOT_FOUND),
    };
    respond(kind, Bytes::from_static(text.as_bytes()))
}

/// 200 with a JSON body.
pub(crate) fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    json_bytes(serde_json::to_vec(value).expect("strings and numbers always encode").into())
}

/// 200 with a body that is JSON already.
pub(crate) fn json_bytes(body: Bytes) -> Response<Full<Bytes>> {
    respond("application/json", body)
}

/// A status without a body.
pub(crate) fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn respond(kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
