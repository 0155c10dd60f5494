//! As much of HTTP/1.1 as a load generator and its own backend need: whole heads, a few
//! headers, bodies of a declared length. Chunked bodies are refused by whoever reads them.
//!
//! In: bytes as they came off a socket. Out: slices of them.

/// Where the head ends (behind its empty line); `None` until it is there.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// A header's value, trimmed; names are compared without case.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (candidate, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        candidate.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// What a head says about the body behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// This many bytes; none where nothing is declared.
    Bytes(usize),
    /// Chunked, or a length that is no number.
    Unknown,
}

/// Reads `Content-Length` and `Transfer-Encoding`.
pub(crate) fn body_length(head: &[u8]) -> BodyLength {
    if header(head, "transfer-encoding").is_some() {
        return BodyLength::Unknown;
    }
    let Some(value) = header(head, "content-length") else { return BodyLength::Bytes(0) };
    str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .map_or(BodyLength::Unknown, BodyLength::Bytes)
}

/// The status of a response head, as its three digits; `None` for anything else.
pub(crate) fn status(head: &[u8]) -> Option<[u8; 3]> {
    head.strip_prefix(b"HTTP/1.1 ")?.first_chunk().copied()
}

/// The first line of a head, for messages to people.
pub(crate) fn first_line(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

/// A request target: the second word of the first line.
pub(crate) fn target(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST /a/b HTTP/1.1\r\nHost: here\r\ncontent-LENGTH:  12 \r\n\r\nbody";

    #[test]
    fn a_head_is_found_and_read() {
        assert_eq!(head_end(HEAD), Some(HEAD.len() - 4));
        assert_eq!(head_end(&HEAD[..HEAD.len() - 5]), None);
        assert_eq!(target(HEAD), b"/a/b");
        assert_eq!(first_line(HEAD), "POST /a/b HTTP/1.1");
        assert_eq!(header(HEAD, "host"), Some(&b"here"[..]));
        assert_eq!(header(HEAD, "hos"), None);
        assert_eq!(body_length(HEAD), BodyLength::Bytes(12));
    }

    #[test]
    fn a_body_of_unknown_length_is_told_from_none() {
        assert_eq!(body_length(b"GET / HTTP/1.1\r\n\r\n"), BodyLength::Bytes(0));
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(body_length(chunked), BodyLength::Unknown);
        let nonsense = b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n";
        assert_eq!(body_length(nonsense), BodyLength::Unknown);
    }

    #[test]
    fn a_status_is_the_three_digits() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n\r\n"), Some(*b"200"));
        assert_eq!(status(b"HTTP/1.1 20"), None);
        assert_eq!(status(b"SSH-2.0"), None);
    }
}
