//! The head of a client's HTTP/1.1 request.
//!
//! Parsed by httparse and not by hyper's server, because events carry the header names in the
//! client's casing (websocket-api, 4.3), which hyper keeps to itself, and because signatures are
//! checked on the raw target.

use std::str;

use tidegate_flow::sigv4::SignedRequest;

/// Largest head, request line included. A larger one is answered 431.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Most headers of one request.
const MAX_HEADERS: usize = 100;

/// A parsed head, borrowed from the bytes that were read.
pub(crate) struct Head<'b, 'h> {
    pub(crate) method: &'b str,
    /// As received: origin form, undecoded.
    pub(crate) target: &'b str,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub(crate) minor_version: u8,
    pub(crate) headers: &'h [httparse::Header<'b>],
}

/// Why a request cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHead {
    /// 400: not HTTP/1.
    Malformed,
    /// 431: too many or too large headers.
    TooLarge,
}

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    Known(u64),
    Chunked,
    /// Contradictory or unreadable: 400 (RFC 9112, 6.3).
    Invalid,
}

/// Where the head ends in `bytes`, past the empty line; looks only at what came after `from`.
pub(crate) fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    memchr::memmem::find(&bytes[start..], b"\r\n\r\n").map(|at| start + at + 4)
}

/// Parses a whole head and hands it to `then`.
pub(crate) fn with_head<T>(
    bytes: &[u8],
    then: impl FnOnce(Head<'_, '_>) -> T,
) -> Result<T, BadHead> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(BadHead::Malformed),
    }
    match (request.method, request.path, request.version) {
        (Some(method), Some(target), Some(minor_version)) => {
            Ok(then(Head { method, target, minor_version, headers: request.headers }))
        }
        _ => Err(BadHead::Malformed),
    }
}

impl<'b> Head<'b, '_> {
    /// The request as signatures are checked on it.
    pub(crate) fn with_signed_request<T>(
        &self,
        body: &[u8],
        then: impl FnOnce(&SignedRequest<'_>) -> T,
    ) -> T {
        let mut headers = [("", &[][..]); MAX_HEADERS];
        for (slot, header) in headers.iter_mut().zip(self.headers) {
            *slot = (header.name, header.value);
        }
        then(&SignedRequest {
            method: self.method,
            raw_path: self.raw_path(),
            raw_query: self.raw_query(),
            headers: &headers[..self.headers.len().min(MAX_HEADERS)],
            body,
        })
    }

    /// The last value of a header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&'b str> {
        self.values(name).last().and_then(|value| str::from_utf8(value).ok())
    }

    /// Whether a comma-separated header lists `token`.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .filter_map(|value| str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .any(|entry| entry.trim().eq_ignore_ascii_case(token))
    }

    /// Every value of a header, in order.
    pub(crate) fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'b [u8]> + 's {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The path as received, without the query.
    pub(crate) fn raw_path(&self) -> &'b str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// The query as received, without the `?`; empty when there is none.
    pub(crate) fn raw_query(&self) -> &'b str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Whether the client expects the connection to stay (RFC 9112, 9.3).
    pub(crate) fn keep_alive(&self) -> bool {
        if self.minor_version == 0 {
            self.lists("connection", "keep-alive")
        } else {
            !self.lists("connection", "close")
        }
    }

    /// How the body is delimited.
    pub(crate) fn body_length(&self) -> BodyLength {
        let mut known = None;
        for value in self.values("content-length") {
            let digits = str::from_utf8(value).unwrap_or("").trim();
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            match digits.parse::<u64>() {
                Ok(length) if plain && known.is_none_or(|k| k == length) => known = Some(length),
                _ => return BodyLength::Invalid,
            }
        }
        match self.header("transfer-encoding") {
            None => BodyLength::Known(known.unwrap_or(0)),
            // Both at once is how requests are smuggled.
            Some(coding) if known.is_none() && coding.trim().eq_ignore_ascii_case("chunked") => {
                BodyLength::Chunked
            }
            Some(_) => BodyLength::Invalid,
        }
    }

    /// Whether the client asks for a WebSocket (RFC 6455, 4.2.1).
    pub(crate) fn is_upgrade(&self) -> bool {
        self.lists("upgrade", "websocket") && self.lists("connection", "upgrade")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that look like a head often enough to get past its first line.
    fn any_head() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            "[A-Za-z-]{1,12}: [ -~]{0,20}",
            Just("Connection: Upgrade".to_owned()),
            Just("Content-Length: 5".to_owned()),
            Just("Transfer-Encoding: chunked".to_owned()),
            "[ -~]{0,20}",
        ];
        let lines = prop::collection::vec(line, 0..6);
        let head = (prop_oneof![Just("GET /a?b=c HTTP/1.1".to_owned()), "[ -~]{0,30}"], lines)
            .prop_map(|(first, lines)| {
                format!("{first}\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes()
            });
        prop_oneof![head, prop::collection::vec(any::<u8>(), 0..200)]
    }

    proptest! {
        #[test]
        fn arbitrary_heads_never_panic(bytes in any_head()) {
            let _ = with_head(&bytes, |head| {
                let _ = (head.raw_path(), head.raw_query(), head.header("host"));
                let _ = (head.body_length(), head.keep_alive(), head.is_upgrade());
            });
        }

        /// Searching only what is new finds the same end, however the bytes came.
        #[test]
        fn the_end_of_a_head_does_not_depend_on_the_reads(
            bytes in any_head(),
            chunk in 1usize..50,
        ) {
            let whole = end_of_head(&bytes, 0);
            let mut found = None;
            let mut read = 0;
            while found.is_none() && read < bytes.len() {
                let searched = read;
                read = (read + chunk).min(bytes.len());
                found = end_of_head(&bytes[..read], searched);
            }
            prop_assert_eq!(found, whole);
        }
    }

    fn body_length(headers: &str) -> BodyLength {
        let text = format!("POST /p HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        with_head(text.as_bytes(), |head| head.body_length()).expect("a head")
    }

    #[test]
    fn the_end_of_a_head_is_found_across_reads() {
        let text = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nbody";
        let end = text.len() - 4;
        assert_eq!(end_of_head(text, 0), Some(end));
        assert_eq!(end_of_head(text, end - 1), Some(end));
        assert_eq!(end_of_head(&text[..end - 1], 0), None);
    }

    #[test]
    fn a_bodys_length_is_unambiguous_or_refused() {
        assert_eq!(body_length(""), BodyLength::Known(0));
        assert_eq!(body_length("Content-Length: 12\r\n"), BodyLength::Known(12));
        assert_eq!(body_length("Transfer-Encoding: chunked\r\n"), BodyLength::Chunked);
        for bad in [
            "Content-Length: +1\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
        ] {
            assert_eq!(body_length(bad), BodyLength::Invalid, "{bad}");
        }
    }

    #[test]
    fn header_names_are_found_in_any_casing_and_kept_in_the_clients() {
        let text = b"GET /prod?a=1 HTTP/1.1\r\nhOsT: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        with_head(text, |head| {
            assert_eq!(head.header("Host"), Some("h"));
            assert_eq!(head.headers[0].name, "hOsT");
            assert!(head.is_upgrade() && head.keep_alive());
            assert_eq!((head.raw_path(), head.raw_query()), ("/prod", "a=1"));
        })
        .expect("a head");
    }

    #[test]
    fn too_many_headers_are_told_from_nonsense() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
        assert_eq!(with_head(many.as_bytes(), |_| ()), Err(BadHead::TooLarge));
        assert_eq!(with_head(b"hello\r\n\r\n", |_| ()), Err(BadHead::Malformed));
    }
}
