//! A chunked request body (RFC 9112, 7.1), taken whole.

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunked {
    /// More must be read.
    Incomplete,
    /// The body, and how many bytes it took on the wire.
    Complete(Vec<u8>, usize),
    /// The body is over the limit.
    TooLarge,
    /// Not a chunked body.
    Malformed,
}

/// Longest line of a chunk's size or of a trailer.
const MAX_LINE: usize = 1024;

/// Decodes a body of at most `limit` bytes.
pub(crate) fn decode(bytes: &[u8], limit: usize) -> Chunked {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line = match line(&bytes[at..]) {
            Ok(Some(line)) => line,
            Ok(None) => return Chunked::Incomplete,
            Err(()) => return Chunked::Malformed,
        };
        at += line.len() + 2;
        let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let size = match std::str::from_utf8(digits) {
            Ok(hex) if (1..=15).contains(&hex.len()) && !hex.starts_with('+') => {
                usize::from_str_radix(hex, 16)
            }
            _ => return Chunked::Malformed,
        };
        let Ok(size) = size else { return Chunked::Malformed };
        if size == 0 {
            return trailers(bytes, at, body);
        }
        if body.len() + size > limit {
            return Chunked::TooLarge;
        }
        match bytes.get(at..at + size + 2) {
            None => return Chunked::Incomplete,
            Some(chunk) if chunk.ends_with(b"\r\n") => body.extend_from_slice(&chunk[..size]),
            Some(_) => return Chunked::Malformed,
        }
        at += size + 2;
    }
}

/// Skips the trailer section.
fn trailers(bytes: &[u8], mut at: usize, body: Vec<u8>) -> Chunked {
    loop {
        match line(&bytes[at..]) {
            Ok(Some([])) => return Chunked::Complete(body, at + 2),
            Ok(Some(trailer)) => at += trailer.len() + 2,
            Ok(None) => return Chunked::Incomplete,
            Err(()) => return Chunked::Malformed,
        }
    }
}

/// The next line without its CRLF; `None` while it is incomplete.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, ()> {
    match memchr::memmem::find(&bytes[..bytes.len().min(MAX_LINE)], b"\r\n") {
        Some(end) => Ok(Some(&bytes[..end])),
        None if bytes.len() >= MAX_LINE => Err(()),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chunked_body_is_put_together() {
        let wire = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\nnext";
        assert_eq!(decode(wire, 100), Chunked::Complete(b"abc0123456789".to_vec(), wire.len() - 4));
        for cut in 0..wire.len() - 4 {
            assert_eq!(decode(&wire[..cut], 100), Chunked::Incomplete, "cut at {cut}");
        }
        assert_eq!(decode(wire, 12), Chunked::TooLarge);
        assert_eq!(decode(b"zz\r\n", 9), Chunked::Malformed);
        assert_eq!(decode(b"3\r\nabcXX0\r\n\r\n", 9), Chunked::Malformed);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes, 100);
        }
    }
}
