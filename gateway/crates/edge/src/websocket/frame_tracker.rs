//! Follows the frame headers of a client's byte stream, beside the protocol machine.
//!
//! In:  every byte that the client sends after the upgrade, in order.
//! Out: whether the stream stands between two messages, and whether a close frame went by.
//!
//! That is when tungstenite's context, and its buffers, can be dropped until the next byte comes;
//! and how the peer's answer to our close frame is seen without a context. It judges nothing:
//! what is wrong with a frame is for the protocol machine to say.

/// A few bytes of state per connection.
#[derive(Debug, Default)]
pub(crate) struct FrameTracker {
    payload_left: u64,
    /// Bytes of an incomplete header (RFC 6455, 5.2: at most 14).
    header: [u8; 14],
    header_bytes: u8,
    fragmented: bool,
    close_begun: bool,
}

impl FrameTracker {
    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped = self.payload_left.min(bytes.len() as u64);
                self.payload_left -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            self.header[usize::from(self.header_bytes)] = bytes[0];
            self.header_bytes += 1;
            bytes = &bytes[1..];
            if self.header_bytes >= 2 && self.header_bytes == header_length(self.header[1]) {
                self.finish_header();
            }
        }
    }

    /// Whether neither a frame nor a fragmented message is under way.
    pub(crate) fn at_boundary(&self) -> bool {
        self.header_bytes == 0 && self.payload_left == 0 && !self.fragmented
    }

    /// Whether a whole close frame has gone by.
    pub(crate) fn close_seen(&self) -> bool {
        self.close_begun && self.payload_left == 0
    }

    fn finish_header(&mut self) {
        let [first, second, extended @ ..] = &self.header;
        self.payload_left = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([extended[0], extended[1]])),
            127 => u64::from_be_bytes([
                extended[0],
                extended[1],
                extended[2],
                extended[3],
                extended[4],
                extended[5],
                extended[6],
                extended[7],
            ]),
            short => u64::from(short),
        };
        match first & 0x0f {
            0x8 => self.close_begun = true,
            opcode if opcode < 0x8 => self.fragmented = first & 0x80 == 0,
            _ => {}
        }
        self.header_bytes = 0;
    }
}

fn header_length(second: u8) -> u8 {
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + extended + mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONTINUATION: u8 = 0;
    const TEXT: u8 = 1;
    const PING: u8 = 9;

    /// One client frame: opcode, final bit, payload length.
    fn any_frame() -> impl Strategy<Value = (u8, bool, usize)> {
        let length = prop_oneof![0usize..200, Just(70_000)];
        prop_oneof![
            (prop_oneof![Just(TEXT), Just(CONTINUATION)], any::<bool>(), length),
            (Just(PING), Just(true), 0usize..126),
        ]
    }

    /// A masked frame as clients send it (RFC 6455, 5.2).
    fn client_frame(opcode: u8, fin: bool, length: usize) -> Vec<u8> {
        let mut bytes = vec![if fin { 0x80 } else { 0 } | opcode];
        match length {
            0..=125 => bytes.push(0x80 | length as u8),
            126..=0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.resize(bytes.len() + length, 7);
        bytes
    }

    proptest! {
        /// Whatever the chunks that the bytes come in, the tracker stands at a boundary exactly
        /// when the last data frame was final and the last frame is whole.
        #[test]
        fn boundaries_are_found_in_any_chunking(
            frames in prop::collection::vec(any_frame(), 1..6),
            chunk in 1usize..5000,
        ) {
            let mut tracker = FrameTracker::default();
            let mut open = false;
            for (opcode, fin, length) in frames {
                let bytes = client_frame(opcode, fin, length);
                for part in bytes[..bytes.len() - 1].chunks(chunk) {
                    tracker.feed(part);
                }
                prop_assert!(!tracker.at_boundary(), "a byte is missing");
                tracker.feed(&bytes[bytes.len() - 1..]);
                if opcode != PING {
                    open = !fin;
                }
                prop_assert_eq!(tracker.at_boundary(), !open);
                prop_assert!(!tracker.close_seen());
            }
        }
    }

    #[test]
    fn a_close_frame_is_seen_when_it_is_whole() {
        let mut tracker = FrameTracker::default();
        tracker.feed(&[0x88, 0x82, 1, 2, 3, 4, 0]);
        assert!(!tracker.close_seen());
        tracker.feed(&[0]);
        assert!(tracker.close_seen());
    }

    #[test]
    fn the_tracker_is_small() {
        assert!(size_of::<FrameTracker>() <= 32);
    }
}
