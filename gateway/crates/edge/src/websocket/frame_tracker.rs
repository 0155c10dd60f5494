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
    use proptest::prelude::*;
    use tungstenite::protocol::frame::{
        Frame,
        coding::{Control, Data, OpCode},
    };

    use super::*;

    /// One client frame: opcode class, final bit, payload length.
    fn any_frame() -> impl Strategy<Value = (OpCode, bool, usize)> {
        let data = prop_oneof![Just(Data::Text), Just(Data::Binary), Just(Data::Continue)];
        prop_oneof![
            (data, any::<bool>(), prop_oneof![0usize..200, Just(70_000)])
                .prop_map(|(data, fin, length)| (OpCode::Data(data), fin, length)),
            (0usize..126).prop_map(|length| (OpCode::Control(Control::Ping), true, length)),
        ]
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
                let mut frame = Frame::message(vec![7u8; length], opcode, fin);
                frame.set_random_mask();
                let mut bytes = Vec::new();
                frame.format_into_buf(&mut bytes).expect("memory takes a frame");
                for part in bytes[..bytes.len() - 1].chunks(chunk) {
                    tracker.feed(part);
                }
                prop_assert!(!tracker.at_boundary(), "a byte is missing");
                tracker.feed(&bytes[bytes.len() - 1..]);
                if matches!(opcode, OpCode::Data(_)) {
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
