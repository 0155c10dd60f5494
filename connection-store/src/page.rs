//! Lists of connections in pages.
//!
//! In:  a limit and, from the second page on, the cursor that came with the one before.
//! Out: a [`Page`], and the cursor of the next one.
//!
//! ```text
//! cursor  bytes  n n n  p p p p    n: a node, big endian     p: a place there, big endian
//!         text   10 characters of URL-safe base64 without padding
//! ```
//!
//! Nodes are gone through in the order of their numbers, and each node's connections by their
//! places, which they keep for as long as they stay. Hence a connection that stays from the first
//! page to the last is on exactly one of them, whoever comes and goes meanwhile.

use std::{fmt, num::NonZeroU16, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{ConnectionId, NodeId, refused_text::beginning_of};

/// Some of a list's connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// As many as the limit allows, in no order; fewer where the list, or a node's part of it,
    /// ends.
    pub connections: Vec<ConnectionId>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
}

/// How many connections a page holds at most: 1 to 1000; 100 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit(NonZeroU16);

impl PageLimit {
    /// The longest page.
    pub const MAX: u16 = 1000;

    /// That many; `None` for 0 and beyond 1000.
    pub const fn new(limit: u16) -> Option<Self> {
        match NonZeroU16::new(limit) {
            Some(limit) if limit.get() <= Self::MAX => Some(Self(limit)),
            _ => None,
        }
    }

    /// The limit as a number, 1 to 1000.
    pub fn get(self) -> usize {
        usize::from(self.0.get())
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        const { Self::new(100).expect("100 is between 1 and 1000") }
    }
}

impl FromStr for PageLimit {
    type Err = InvalidPageLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or(InvalidPageLimit)
    }
}

/// The text is no limit of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit is a number from 1 to 1000")]
pub struct InvalidPageLimit;

/// A position in a list. Opaque to everybody but a store, and good for the list it came from.
///
/// It holds nothing in the store: a caller may keep it for ever, or never come back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    node: NodeId,
    place: u32,
}

impl Cursor {
    /// The place `place` on the node `node`.
    pub const fn new(node: NodeId, place: u32) -> Self {
        Self { node, place }
    }

    /// The node on which the list goes on. It may be gone, then the next one follows.
    pub const fn node(self) -> NodeId {
        self.node
    }

    /// The first place on that node that has not been looked at.
    pub const fn place(self) -> u32 {
        self.place
    }

    /// From which place `node` has to go on for a caller with this cursor: it is done already
    /// (`None`), in the middle, or at its beginning.
    pub fn begins_at(self, node: NodeId) -> Option<u32> {
        match node.cmp(&self.node) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(self.place),
            std::cmp::Ordering::Greater => Some(0),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 7];
        bytes[..3].copy_from_slice(&self.node.get().to_be_bytes()[1..]);
        bytes[3..].copy_from_slice(&self.place.to_be_bytes());
        out.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}+{}", self.node, self.place)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 7];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(7) => {}
            _ => return Err(InvalidCursor { text: beginning_of(text) }),
        }
        let [a, b, c, place @ ..] = bytes;
        let node = NodeId::new(u32::from_be_bytes([0, a, b, c]));
        let node = node.expect("three bytes are 24 bits");
        Ok(Self { node, place: u32::from_be_bytes(place) })
    }
}

/// The text is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no cursor: take the one of the page before")]
pub struct InvalidCursor {
    text: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_limit_is_1_to_1000_and_100_by_default() {
        assert_eq!(PageLimit::default().get(), 100);
        for (text, limit) in [("1", 1), ("100", 100), ("1000", 1000)] {
            assert_eq!(text.parse::<PageLimit>().map(PageLimit::get), Ok(limit));
        }
        for text in ["", "0", "1001", "65536", "-1", "ten", "1.0"] {
            assert_eq!(text.parse::<PageLimit>(), Err(InvalidPageLimit), "{text}");
        }
    }

    /// Fixed by hand: other nodes and other releases read the same text.
    #[test]
    fn the_text_is_three_bytes_of_node_and_four_of_place_in_base64() {
        let cursor = Cursor::new(NodeId::new(0xff_ffff).unwrap(), 1);
        assert_eq!(cursor.to_string(), "____AAAAAQ");
        for text in ["", "____AAAAAQ=", "____AAAAA", "____AAAAAQA", "____AAAAA/", "____AAAAAR"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn nodes_are_gone_through_in_the_order_of_their_numbers() {
        let node = |number| NodeId::new(number).unwrap();
        let cursor = Cursor::new(node(5), 7);
        assert_eq!(cursor.begins_at(node(4)), None);
        assert_eq!(cursor.begins_at(node(5)), Some(7));
        assert_eq!(cursor.begins_at(node(6)), Some(0));
    }

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(number in 0u32..1 << 24, place in any::<u32>()) {
            let cursor = Cursor::new(NodeId::new(number).unwrap(), place);
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn any_text_is_refused_or_is_the_cursor_it_says(text in any::<String>()) {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
