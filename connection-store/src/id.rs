//! The names of nodes and of connections.
//!
//! In:  a node and random bytes where an id is made; text from a URL where one is read.
//! Out: [`ConnectionId`], a value that is of valid shape wherever it is met.
//!
//! ```text
//! bytes  n n n  r r r  r r r  r r        n: the node, big endian     r: random
//! text   NNNN   RRRR   RRRR   RRR=       URL-safe base64; the two low bits of the last R are zero
//! ```
//!
//! Holds always: an id's text is ASCII, and two ids are equal only if their texts are.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};

use crate::refused_text::beginning_of;

/// Names one node (one process) of a cluster: 24 bits, drawn at random when the node starts.
///
/// Shown as six hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// A random node. Among N nodes that live at once two get the same with a probability of
    /// about N² / 2²⁵; a store of several nodes has to claim its name.
    pub fn random() -> Self {
        Self(rand::random::<u32>() >> 8)
    }

    /// The node of that number; `None` beyond 24 bits.
    pub const fn new(number: u32) -> Option<Self> {
        if number >> 24 == 0 { Some(Self(number)) } else { None }
    }

    /// Its number, below 2²⁴.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:06x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Names one client connection, once and for ever.
///
/// Shape: 16 characters of `A-Z a-z 0-9 - _`, the last one `=`, as clients see it in
/// `$context.connectionId` and `/@connections/{connectionId}` (API Gateway's shape, on which
/// backends' column widths and patterns rely). Case matters. Opaque to everybody but the store.
///
/// What was parsed need never have been handed out. In particular the last character before the
/// `=` carries two bits that are zero in every id of ours: a text that has them set is an id, but
/// one that equals no connection's, so it is answered like any other that is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId([u8; 16]);

// A node holds a million of them, in its hub and in each connection.
const _: () = assert!(size_of::<ConnectionId>() == 16);

impl ConnectionId {
    /// The id that names `node` and carries `random`, which nobody can foresee: whoever guesses
    /// an id may only be kept out by the management API's authentication.
    pub fn new(node: NodeId, random: [u8; 8]) -> Self {
        let mut bytes = [0; 11];
        bytes[..3].copy_from_slice(&node.0.to_be_bytes()[1..]);
        bytes[3..].copy_from_slice(&random);
        let mut text = [0; 16];
        URL_SAFE
            .encode_slice(bytes, &mut text)
            .expect("11 bytes are 16 characters of padded base64");
        Self(text)
    }

    /// The 16 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is made of ASCII only")
    }

    /// The 16 characters as ASCII.
    pub const fn as_bytes(&self) -> [u8; 16] {
        self.0
    }

    /// The node that it names. For an id that was never handed out that is any node, or none.
    pub fn node(&self) -> NodeId {
        let mut bytes = [0; 3];
        URL_SAFE
            .decode_slice(&self.0[..4], &mut bytes)
            .expect("four characters of the alphabet are three bytes");
        let [high, middle, low] = bytes;
        NodeId(u32::from_be_bytes([0, high, middle, low]))
    }
}

/// One write of 16 bytes: without the length that an array would put before itself, since all
/// ids are equally long.
impl Hash for ConnectionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for ConnectionId {
    type Err = InvalidConnectionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        match <[u8; 16]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes[..15].iter().all(allowed) && bytes[15] == b'=' => Ok(Self(bytes)),
            _ => Err(InvalidConnectionId::new(text)),
        }
    }
}

/// The text is not of the shape of a connection id.
///
/// Its message is what the management API shows (400 `BadRequestException`), and begins as API
/// Gateway's does; hence the capital.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid connectionId: {text}")]
pub struct InvalidConnectionId {
    text: String,
}

impl InvalidConnectionId {
    fn new(text: &str) -> Self {
        Self { text: beginning_of(text) }
    }

    /// The refused text: at most 64 characters and, where it was longer, `...`; control characters
    /// are replaced by U+FFFD.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).unwrap()
    }

    #[test]
    fn a_node_has_24_bits() {
        assert_eq!(NodeId::new(0).map(NodeId::get), Some(0));
        assert_eq!(NodeId::new(0xff_ffff).map(NodeId::get), Some(0xff_ffff));
        assert_eq!(NodeId::new(0x100_0000), None);
        assert_eq!(NodeId::new(u32::MAX), None);
        assert_eq!(node(0xabc).to_string(), "000abc");
    }

    #[test]
    fn every_bit_of_a_random_node_is_drawn() {
        let (mut ones, mut zeros) = (0, 0);
        for _ in 0..200 {
            let number = NodeId::random().get();
            assert!(NodeId::new(number).is_some());
            ones |= number;
            zeros |= !number;
        }
        assert_eq!(ones & zeros & 0xff_ffff, 0xff_ffff);
    }

    /// Fixed by hand: other nodes and other releases read the same text.
    #[test]
    fn the_text_is_three_bytes_of_node_and_eight_random_ones_in_base64() {
        assert_eq!(ConnectionId::new(node(0), [0; 8]).as_str(), "AAAAAAAAAAAAAAA=");
        assert_eq!(ConnectionId::new(node(0xff_ffff), [0xff; 8]).as_str(), "______________8=");
        assert_eq!(
            ConnectionId::new(node(1), [0, 0, 0, 0, 0, 0, 0, 1]).as_str(),
            "AAABAAAAAAAAAAE="
        );
        assert_eq!(ConnectionId::new(node(0x04_0000), [0xfb; 8]).as_str(), "BAAA-_v7-_v7-_s=");
    }

    /// Two ids that API Gateway gave out (websocket-api, 4.1). The first has a low bit set that is
    /// zero in ours; both are of valid shape.
    #[test]
    fn ids_of_api_gateway_are_of_valid_shape() {
        for text in ["R0oXAdfD0kwCH6w=", "PJqB0E1tKRcF-Qw=", "AAAAAAAAAAAAAAB="] {
            assert_eq!(text.parse::<ConnectionId>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_text_of_another_shape_is_refused_by_name() {
        for text in [
            "",
            "=",
            "AAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAA=A",
            "AAAAAAAAAAAAAA==",
            "=AAAAAAAAAAAAAAA",
            "AAAA=AAAAAAAAAA=",
            "AAAA+AAAAAAAAAA=",
            "AAAA/AAAAAAAAAA=",
            " AAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAäA=",
            "AAAAAAAAAAAAAAA%3D",
            "x",
        ] {
            let error = text.parse::<ConnectionId>().unwrap_err();
            assert_eq!(error.to_string(), format!("Invalid connectionId: {text}"));
        }
    }

    #[test]
    fn the_error_keeps_the_beginning_of_a_long_text_and_no_control_characters() {
        let error = "ä".repeat(65).parse::<ConnectionId>().unwrap_err();
        assert_eq!(error.text(), format!("{}...", "ä".repeat(64)));
        let error = "ä".repeat(64).parse::<ConnectionId>().unwrap_err();
        assert_eq!(error.text(), "ä".repeat(64));
        let error = "a\nb\u{1b}[31m".parse::<ConnectionId>().unwrap_err();
        assert_eq!(error.to_string(), "Invalid connectionId: a\u{fffd}b\u{fffd}[31m");
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text_and_names_its_node(
            number in 0u32..1 << 24,
            random in any::<[u8; 8]>(),
        ) {
            let id = ConnectionId::new(node(number), random);
            prop_assert_eq!(id.node(), node(number));
            prop_assert_eq!(id.as_str().parse::<ConnectionId>(), Ok(id));
            prop_assert_eq!(id.to_string(), id.as_str());
            prop_assert_eq!(&id.as_bytes()[..], id.as_str().as_bytes());
            let bytes = URL_SAFE.decode(id.as_str()).unwrap();
            prop_assert_eq!(&bytes[3..], &random);
        }

        #[test]
        fn different_nodes_or_random_bytes_give_different_ids(
            one in (0u32..1 << 24, any::<[u8; 8]>()),
            other in (0u32..1 << 24, any::<[u8; 8]>()),
        ) {
            let id = |(number, random)| ConnectionId::new(node(number), random);
            prop_assert_eq!(id(one) == id(other), one == other);
        }

        /// Decoders that ignore the unused bits would let four texts find one connection.
        #[test]
        fn an_id_with_low_bits_set_parses_but_equals_none_that_was_made(
            number in 0u32..1 << 24,
            random in any::<[u8; 8]>(),
            bits in 1usize..4,
        ) {
            const ALPHABET: &[u8; 64] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let id = ConnectionId::new(node(number), random);
            let mut text = id.as_bytes();
            let value = ALPHABET.iter().position(|b| *b == text[14]).unwrap();
            prop_assert_eq!(value % 4, 0, "the two low bits are unused");
            text[14] = ALPHABET[value + bits];
            let forged: ConnectionId = std::str::from_utf8(&text).unwrap().parse().unwrap();
            prop_assert_ne!(forged, id);
            prop_assert_eq!(forged.node(), id.node());
        }

        #[test]
        fn text_of_valid_shape_is_an_id_and_has_some_node(text in "[A-Za-z0-9_-]{15}=") {
            let id: ConnectionId = text.parse().unwrap();
            prop_assert_eq!(id.as_str(), &text);
            prop_assert!(NodeId::new(id.node().get()).is_some());
        }

        #[test]
        fn any_text_is_an_id_exactly_if_it_is_of_the_shape(
            text in prop_oneof![any::<String>(), "[A-Za-z0-9_=+-]{15,17}", "\\PC{12,16}"],
        ) {
            let shaped = text.len() == 16
                && text.find('=') == Some(15)
                && text.bytes().take(15).all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            match text.parse::<ConnectionId>() {
                Ok(id) => prop_assert!(shaped && id.as_str() == text),
                Err(error) => {
                    prop_assert!(!shaped);
                    prop_assert!(error.to_string().starts_with("Invalid connectionId: "));
                    prop_assert!(error.text().chars().count() <= 64 + 3);
                    prop_assert!(!error.text().chars().any(char::is_control));
                }
            }
        }
    }
}
