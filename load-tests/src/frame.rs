//! WebSocket frames (RFC 6455, section 5) and the one handshake this program makes.
//!
//! In:  bytes as they came off a socket, or a payload to send.
//! Out: frame headers, and frames appended to a buffer.
//!
//! Holds always: a header is given out only when all of its frame's bytes are there, and
//! every client frame is masked with a mask that is not zero.

/// The key each client sends. A constant (the RFC's sample), so that checking the answer
/// costs the generator a comparison and not a hash.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a server must answer to [`KEY`] (RFC 6455, 1.3).
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// First byte of a whole text message in one frame.
pub(crate) const FIN_TEXT: u8 = 0x81;

/// First byte of a close frame.
pub(crate) const FIN_CLOSE: u8 = 0x88;

/// The largest payload this program sends or takes: API Gateway's frame quota.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 32_768;

/// One frame's header, whose payload follows it whole in the same buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// FIN bit, reserved bits and opcode.
    pub(crate) first_byte: u8,
    /// Present exactly on a client's frames.
    pub(crate) mask: Option<[u8; 4]>,
    /// Where the payload begins.
    pub(crate) header_bytes: usize,
    /// How long it is.
    pub(crate) payload_bytes: usize,
}

impl Header {
    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.header_bytes + self.payload_bytes
    }
}

/// A frame longer than anything this program asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a frame of {0} bytes, where at most {MAX_PAYLOAD_BYTES} can come")]
pub(crate) struct FrameTooLong(u64);

/// Reads the header at the start of `bytes`; `None` until the whole frame is there.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, FrameTooLong> {
    let [first_byte, second_byte, rest @ ..] = bytes else { return Ok(None) };
    let (length_bytes, length) = match second_byte & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (2, u64::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (8, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        short => (0, u64::from(short)),
    };
    let payload_bytes = match usize::try_from(length) {
        Ok(fits) if fits <= MAX_PAYLOAD_BYTES => fits,
        _ => return Err(FrameTooLong(length)),
    };
    let (mask, mask_bytes) = if second_byte & 0x80 == 0 {
        (None, 0)
    } else {
        match rest[length_bytes..].first_chunk::<4>() {
            Some(mask) => (Some(*mask), 4),
            None => return Ok(None),
        }
    };
    let header = Header {
        first_byte: *first_byte,
        mask,
        header_bytes: 2 + length_bytes + mask_bytes,
        payload_bytes,
    };
    Ok((bytes.len() >= header.frame_bytes()).then_some(header))
}

/// Masks or unmasks `payload` in place (RFC 6455, 5.3).
pub(crate) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        for (byte, mask) in word.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Appends a client's text message as one masked frame.
pub(crate) fn append_client_text(out: &mut Vec<u8>, payload: &[u8], mask: [u8; 4]) {
    append_header(out, payload.len(), 0x80);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

/// Appends a server's text message as one frame.
pub(crate) fn append_server_text(out: &mut Vec<u8>, payload: &[u8]) {
    append_header(out, payload.len(), 0);
    out.extend_from_slice(payload);
}

fn append_header(out: &mut Vec<u8>, payload_bytes: usize, mask_bit: u8) {
    out.push(FIN_TEXT);
    if let (true, Ok(short)) = (payload_bytes < 126, u8::try_from(payload_bytes)) {
        out.push(mask_bit | short);
    } else if let Ok(medium) = u16::try_from(payload_bytes) {
        out.push(mask_bit | 126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(mask_bit | 127);
        out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    }
}

/// A cheap source of masks. The bytes on the wire only need to vary, not to be secret:
/// both ends are this machine's.
#[derive(Debug, Clone)]
pub(crate) struct Masks(u32);

impl Masks {
    /// A sequence of its own for each `seed`.
    pub(crate) fn new(seed: u32) -> Self {
        Self(seed | 1)
    }

    /// The next mask, never zero (xorshift never leaves the nonzero states).
    pub(crate) fn next(&mut self) -> [u8; 4] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6455, 5.7: "Hello" from a client and from a server.
    #[test]
    fn the_frames_of_the_rfc_are_made_byte_for_byte() {
        let (mut client, mut server) = (Vec::new(), Vec::new());
        append_client_text(&mut client, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        append_server_text(&mut server, b"Hello");
        assert_eq!(client, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        assert_eq!(server, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    }

    #[test]
    fn a_frame_longer_than_the_limit_is_refused_from_its_header_alone() {
        let header = [0x81, 127, 0, 0, 0, 0, 0, 0, 0x80, 0x01];
        assert_eq!(parse(&header), Err(FrameTooLong(32_769)));
    }

    #[test]
    fn no_mask_is_zero() {
        let mut masks = Masks::new(0);
        assert!((0..10_000).all(|_| masks.next() != [0; 4]));
    }

    /// Every form of length; the bytes differ from their neighbours.
    fn any_payload() -> impl Strategy<Value = Vec<u8>> {
        let lengths = prop_oneof![0..200_usize, 32_700..=MAX_PAYLOAD_BYTES];
        (lengths, any::<u8>()).prop_map(|(length, first)| {
            (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(first)).collect()
        })
    }

    proptest! {
        #[test]
        fn a_client_frame_is_read_back_whole_and_never_early(
            payload in any_payload(), mask in any::<[u8; 4]>(), cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            append_client_text(&mut bytes, &payload, mask);
            prop_assert_eq!(parse(&bytes[..cut.index(bytes.len())]), Ok(None));

            let header = parse(&bytes).unwrap().expect("a whole frame");
            prop_assert_eq!(header.frame_bytes(), bytes.len());
            prop_assert_eq!(header.mask, Some(mask));
            apply_mask(&mut bytes[header.header_bytes..], mask);
            prop_assert_eq!(&bytes[header.header_bytes..], &payload[..]);
        }

        #[test]
        fn a_server_frame_is_read_back_from_the_front_of_a_longer_buffer(
            payload in any_payload(), behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = Vec::new();
            append_server_text(&mut bytes, &payload);
            let frame_bytes = bytes.len();
            bytes.extend(behind);
            let header = parse(&bytes).unwrap().expect("a whole frame");
            prop_assert_eq!((header.first_byte, header.mask), (FIN_TEXT, None));
            prop_assert_eq!(header.frame_bytes(), frame_bytes);
            prop_assert_eq!(&bytes[header.header_bytes..frame_bytes], &payload[..]);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&bytes);
        }
    }
}
