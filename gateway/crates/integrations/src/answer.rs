//! What a backend answered, whatever kind of backend it was.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tidegate_flow::transformation::Reply;

/// What an integration answered: of an HTTP backend the response, of a function its proxy
/// response, of a mock what it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 100 to 599; on `$connect`, 200 to 299 accepts.
    pub status: u16,
    /// All headers, unfiltered: `Sec-WebSocket-Protocol` and `Tidegate-*` are for the caller to
    /// find.
    pub headers: HeaderMap,
    /// The body, unchanged; a function's decoded when it was base64.
    pub body: Bytes,
    /// Whether a two-way reply goes out as a binary message, where the api allows those.
    pub binary: bool,
}

/// Why a body could not be read to its end.
pub(crate) enum BodyError {
    TooLarge,
    Lost(hyper::Error),
}

/// Reads the whole body, at most `limit` bytes of it.
pub(crate) async fn read_body(body: &mut Incoming, limit: usize) -> Result<Bytes, BodyError> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(BodyError::TooLarge);
    }
    // A body mostly comes in one piece, which is then passed on as it is.
    let mut whole = Bytes::new();
    let mut pieces: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        // Trailers say nothing to a WebSocket client.
        let Ok(data) = frame.map_err(BodyError::Lost)?.into_data() else { continue };
        let so_far = pieces.as_ref().map_or(whole.len(), BytesMut::len);
        if so_far + data.len() > limit {
            return Err(BodyError::TooLarge);
        }
        match &mut pieces {
            Some(pieces) => pieces.extend_from_slice(&data),
            None if whole.is_empty() => whole = data,
            // Copied, not chained: a backend that drips would make each byte hold a buffer.
            None => {
                let mut first = BytesMut::with_capacity(whole.len() + data.len());
                first.extend_from_slice(&whole);
                first.extend_from_slice(&data);
                whole.clear();
                pieces = Some(first);
            }
        }
    }
    Ok(pieces.map_or(whole, BytesMut::freeze))
}

impl Answer {
    /// What templates made.
    pub(crate) fn from_reply(reply: Reply) -> Self {
        let Reply { status, headers, body, binary } = reply;
        Self { status, headers, body, binary }
    }

    /// An HTTP backend's response as it is.
    pub(crate) fn from_response(response: Response<Bytes>) -> Self {
        let (head, body) = response.into_parts();
        let binary = is_octet_stream(&head.headers);
        Self { status: head.status.as_u16(), headers: head.headers, body, binary }
    }
}

/// tidegate, section 4: what an HTTP backend's reply must say to be sent as a binary message.
pub(crate) fn is_octet_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_reply_is_binary_exactly_when_its_content_type_is_an_octet_stream() {
        let binary = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            is_octet_stream(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        assert!(binary("application/octet-stream"));
        assert!(binary("Application/Octet-Stream ; charset=binary"));
        assert!(!binary("application/octet-streams"));
        assert!(!binary("text/plain; application/octet-stream"));
        assert!(!is_octet_stream(&HeaderMap::new()));
    }
}
