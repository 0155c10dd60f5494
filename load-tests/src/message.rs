//! The messages that are sent, each with a tag that says whose it is.
//!
//! ```text
//! {"action":"route","tag":"OOOOOOSSNNNNNNNNTTTTTTTTTTTTxxxxxxxxx"}
//! ```
//!
//! In:  a [`Tag`]. Out: the message, and the tag again from whatever came back.
//!
//! Holds always: [`Shape::read`] gives a tag only for a message that [`Shape::write`] could
//! have made, byte for byte. So a reply cut short, mixed up or altered is noticed.

const OWNER_DIGITS: usize = 6;
const SLOT_DIGITS: usize = 2;
const SEQUENCE_DIGITS: usize = 8;
const SENT_DIGITS: usize = 12;
const TAG_DIGITS: usize = OWNER_DIGITS + SLOT_DIGITS + SEQUENCE_DIGITS + SENT_DIGITS;

/// Whose message this is, and since when it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    /// The connection that must get it, below 2^24.
    pub(crate) owner: u32,
    /// Which of the owner's messages in flight, or which poster.
    pub(crate) slot: u8,
    /// Counts the slot's messages.
    pub(crate) sequence: u32,
    /// When it was sent, nanoseconds of the run's clock, below 2^48 (78 hours).
    pub(crate) sent_ns: u64,
}

/// How all messages of one scenario look.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    template: Vec<u8>,
    tag_at: usize,
}

/// The smallest payload that holds a tag and the longest action in use.
pub(crate) const MIN_PAYLOAD_BYTES: usize = 55;

impl Shape {
    /// Messages of `payload_bytes` whose `action` the route selection reads. A payload
    /// below [`MIN_PAYLOAD_BYTES`] is raised to what the tag needs.
    pub(crate) fn new(action: &str, payload_bytes: usize) -> Self {
        let mut template = format!(r#"{{"action":"{action}","tag":""#).into_bytes();
        let tag_at = template.len();
        template.resize((tag_at + TAG_DIGITS).max(payload_bytes.saturating_sub(2)), b'x');
        template.extend_from_slice(br#""}"#);
        Self { template, tag_at }
    }

    /// A message's length in bytes.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.template.len()
    }

    /// The message with `tag`. It stays inside `self` until the next call.
    pub(crate) fn write(&mut self, tag: Tag) -> &[u8] {
        let digits = &mut self.template[self.tag_at..][..TAG_DIGITS];
        let (owner, digits) = digits.split_at_mut(OWNER_DIGITS);
        let (slot, digits) = digits.split_at_mut(SLOT_DIGITS);
        let (sequence, sent) = digits.split_at_mut(SEQUENCE_DIGITS);
        write_hex(owner, u64::from(tag.owner));
        write_hex(slot, u64::from(tag.slot));
        write_hex(sequence, u64::from(tag.sequence));
        write_hex(sent, tag.sent_ns);
        &self.template
    }

    /// The tag of a message of this shape; `None` for any other bytes.
    pub(crate) fn read(&self, message: &[u8]) -> Option<Tag> {
        let behind = self.tag_at + TAG_DIGITS;
        let same_around = message.len() == self.template.len()
            && message[..self.tag_at] == self.template[..self.tag_at]
            && message[behind..] == self.template[behind..];
        if !same_around {
            return None;
        }
        let (owner, digits) = message[self.tag_at..behind].split_at(OWNER_DIGITS);
        let (slot, digits) = digits.split_at(SLOT_DIGITS);
        let (sequence, sent) = digits.split_at(SEQUENCE_DIGITS);
        Some(Tag {
            owner: read_hex(owner)?.try_into().ok()?,
            slot: read_hex(slot)?.try_into().ok()?,
            sequence: read_hex(sequence)?.try_into().ok()?,
            sent_ns: read_hex(sent)?,
        })
    }
}

fn write_hex(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 0xf) as usize];
        value >>= 4;
    }
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_tag() -> impl Strategy<Value = Tag> {
        (0_u32..1 << 24, any::<u8>(), any::<u32>(), 0_u64..1 << 48)
            .prop_map(|(owner, slot, sequence, sent_ns)| Tag { owner, slot, sequence, sent_ns })
    }

    #[test]
    fn the_smallest_payload_fits_the_longest_action() {
        for longest in ["route", "group", "local"] {
            assert_eq!(Shape::new(longest, 0).payload_bytes(), MIN_PAYLOAD_BYTES);
        }
        assert_eq!(Shape::new("route", 64).payload_bytes(), 64);
        assert_eq!(Shape::new("echo", 64).payload_bytes(), 64);
    }

    #[test]
    fn a_message_is_json_with_its_action() {
        let mut shape = Shape::new("route", 64);
        let tag = Tag { owner: 1, slot: 2, sequence: 3, sent_ns: 4 };
        let json: serde_json::Value = serde_json::from_slice(shape.write(tag)).expect("json");
        assert_eq!(json["action"], "route");
        assert_eq!(json["tag"], "00000102000000030000000000".to_owned() + "04xxxxxxxxx");
    }

    proptest! {
        #[test]
        fn a_tag_is_read_back_as_written(tag in any_tag(), payload_bytes in 0_usize..300) {
            let mut shape = Shape::new("echo", payload_bytes);
            let message = shape.write(tag).to_vec();
            prop_assert_eq!(shape.read(&message), Some(tag));
        }

        #[test]
        fn a_message_with_any_byte_altered_is_not_taken_for_the_same(
            tag in any_tag(), at in any::<prop::sample::Index>(), flip in 1_u8..,
        ) {
            let mut shape = Shape::new("echo", 64);
            let mut message = shape.write(tag).to_vec();
            let at = at.index(message.len());
            message[at] ^= flip;
            prop_assert_ne!(shape.read(&message), Some(tag));
        }

        #[test]
        fn a_message_cut_short_has_no_tag(tag in any_tag(), kept in 0_usize..64) {
            let mut shape = Shape::new("echo", 64);
            let message = shape.write(tag).to_vec();
            prop_assert_eq!(shape.read(&message[..kept]), None);
        }
    }
}
