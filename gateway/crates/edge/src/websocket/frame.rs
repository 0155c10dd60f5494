//! Server frames (RFC 6455, 5.2): encoded once, shared by all their receivers.

use bytes::Bytes;
use connection_store::MessageKind;

/// Outbound messages are split into frames of at most this many payload bytes, as Amazon's 32 KB
/// frame quota has it (websocket-api, section 3.5).
pub(crate) const OUTBOUND_FRAME_BYTES: usize = 32 * 1024;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;

/// One message as the bytes of its frames.
pub(crate) fn encode_message(kind: MessageKind, payload: &[u8]) -> Bytes {
    let frames = payload.len() / OUTBOUND_FRAME_BYTES + 1;
    let mut out = Vec::with_capacity(payload.len() + frames * 10);
    append_message(&mut out, kind, payload);
    out.into()
}

/// Appends one message.
pub(crate) fn append_message(out: &mut Vec<u8>, kind: MessageKind, payload: &[u8]) {
    let mut opcode = match kind {
        MessageKind::Text => TEXT,
        MessageKind::Binary => BINARY,
    };
    let mut rest = payload;
    loop {
        let (frame, after) = rest.split_at(rest.len().min(OUTBOUND_FRAME_BYTES));
        let fin = if after.is_empty() { FIN } else { 0 };
        append_frame(out, fin | opcode, frame);
        if after.is_empty() {
            return;
        }
        (rest, opcode) = (after, CONTINUATION);
    }
}

/// A close frame. The caller sees to it that `reason` has at most 123 bytes.
pub(crate) fn encode_close(code: u16, reason: &str) -> Bytes {
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    let mut out = Vec::with_capacity(2 + payload.len());
    append_frame(&mut out, FIN | CLOSE, &payload);
    out.into()
}

fn append_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_up_to_32_kib_is_one_frame_and_a_larger_one_several() {
        assert_eq!(&encode_message(MessageKind::Text, b"hi")[..], b"\x81\x02hi");
        assert_eq!(&encode_message(MessageKind::Binary, b"")[..], b"\x82\x00");
        let whole = encode_message(MessageKind::Text, &[b'a'; OUTBOUND_FRAME_BYTES]);
        assert_eq!(&whole[..4], [0x81, 126, 0x80, 0x00]);
        assert_eq!(whole.len(), 4 + OUTBOUND_FRAME_BYTES);
        let split = encode_message(MessageKind::Text, &[b'a'; OUTBOUND_FRAME_BYTES + 1]);
        assert_eq!(split[0], TEXT, "first frame: text, not final");
        assert_eq!(&split[4 + OUTBOUND_FRAME_BYTES..], [FIN | CONTINUATION, 1, b'a']);
    }

    #[test]
    fn a_close_frame_carries_code_and_reason() {
        assert_eq!(&encode_close(1001, "Going away")[..], b"\x88\x0c\x03\xe9Going away");
    }
}
