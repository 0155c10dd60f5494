//! Answers of the gateway's own.

use std::{
    cell::RefCell,
    io::Write as _,
    time::{Duration, SystemTime},
};

use tidegate_flow::opaque_id::OpaqueId;

/// An answer to be written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// `x-amzn-ErrorType`: the class that AWS SDKs raise.
    pub(crate) error_type: Option<&'static str>,
    pub(crate) content_type: Option<String>,
    /// Complete header lines beyond the usual ones, each ended by CRLF.
    pub(crate) extra: &'static str,
    pub(crate) body: Vec<u8>,
    /// `x-amzn-RequestId`, where the body names the request too; else a fresh one.
    pub(crate) request_id: Option<OpaqueId>,
}

impl Response {
    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A JSON answer.
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self {
            status,
            content_type: Some("application/json".to_owned()),
            body: body.into_bytes(),
            ..Self::default()
        }
    }

    /// Text for people or for Prometheus.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: Some("text/plain; version=0.0.4; charset=utf-8".to_owned()),
            body: body.into().into_bytes(),
            ..Self::default()
        }
    }

    /// An error in the form that AWS SDKs read: the header names the class, the body the reason.
    pub(crate) fn error(status: u16, error_type: &'static str, message: &str) -> Self {
        let body = serde_json::json!({ "message": message }).to_string();
        Self { error_type: Some(error_type), ..Self::json(status, body) }
    }

    /// 400, in the same form.
    pub(crate) fn bad_request(message: &str) -> Self {
        Self::error(400, "BadRequestException", message)
    }

    /// The answer as bytes.
    pub(crate) fn encode(&self, keep_alive: bool) -> Vec<u8> {
        let request_id = self.request_id.unwrap_or_else(OpaqueId::random);
        let mut out = Vec::with_capacity(256 + self.body.len());
        // Writing to memory does not fail.
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status));
        append_date(&mut out);
        let _ = write!(out, "x-amzn-RequestId: {request_id}\r\n");
        if let Some(error_type) = self.error_type {
            let _ = write!(out, "x-amzn-ErrorType: {error_type}\r\n");
        }
        if let Some(content_type) = &self.content_type {
            let _ = write!(out, "Content-Type: {content_type}\r\n");
        }
        out.extend_from_slice(self.extra.as_bytes());
        // A 204 has neither body nor length (RFC 9110, 8.6).
        if self.status != 204 && self.status != 304 && self.status >= 200 {
            let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        }
        if !keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if self.status != 204 && self.status != 304 {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// Appends the `Date` header line, formatted once a second on each thread.
pub(crate) fn append_date(out: &mut Vec<u8>) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now_s = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    DATE.with_borrow_mut(|(at_s, line)| {
        if *at_s != now_s || line.is_empty() {
            *at_s = now_s;
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(now_s);
            *line = format!("Date: {}\r\n", httpdate::fmt_http_date(at));
        }
        out.extend_from_slice(line.as_bytes());
    });
}

fn reason_phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown")
}
