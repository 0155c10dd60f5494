//! The form of what nodes tell each other over the bus. Version 1.
//!
//! In:  questions and answers, to be sent; bytes that anybody may have published.
//! Out: bytes; or the items of a bus message, or why it is none.
//!
//! ```text
//! bus message  "tgb" version(1)  sender(4)  item…            numbers are big endian
//! item         length(4)  number(8)  kind(1)  body           length: of what follows it
//! text         length(2 or 4)  bytes
//! ```
//!
//! Holds always: nothing that is read makes this panic, or allocate more than the message is long;
//! what one item is wrong in costs that item only; what was written is read as it was.

mod answer;
mod question;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use bytes::Bytes;

pub(crate) use self::{answer::Answer, question::Question};
use self::{reader::Reader, writer::Writer};
use crate::NodeId;

/// The version that this release speaks; it stands in the channels' names as well.
pub(crate) const VERSION: u8 = 1;

/// The longest bus message.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Before the items.
const HEADER_BYTES: usize = 8;

const MAGIC: &[u8; 3] = b"tgb";

/// Why bytes from the bus were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    TooLong,
    /// Nothing that a node of any version would send.
    Foreign,
    /// A node's of another version.
    Version,
    /// An item that is cut off, or not what its kind says.
    Malformed,
}

/// A bus message under construction.
pub(crate) struct Batch(Vec<u8>);

impl Batch {
    pub(crate) fn new(sender: NodeId) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&sender.get().to_be_bytes());
        Self(bytes)
    }

    /// Adds an item made by [`item`].
    pub(crate) fn push(&mut self, item: &[u8]) {
        self.0.extend_from_slice(item);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// What an item says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Question(Question),
    Answer(Answer),
}

/// One item, ready for a [`Batch`]. `None` for one that is too long for any bus message.
pub(crate) fn item(number: u64, body: &Body) -> Option<Vec<u8>> {
    let mut out = Writer::default();
    out.u32(0);
    out.u64(number);
    match body {
        Body::Question(question) => question.write(&mut out),
        Body::Answer(answer) => answer.write(&mut out),
    }
    let mut bytes = out.into_bytes()?;
    let length = u32::try_from(bytes.len() - 4).ok()?;
    if bytes.len() + HEADER_BYTES > MAX_MESSAGE_BYTES {
        return None;
    }
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Some(bytes)
}

/// A bus message's items, one after the other. After one that is cut off there is none.
#[derive(Debug)]
pub(crate) struct Items {
    /// Who says to have sent it.
    pub(crate) sender: NodeId,
    rest: Bytes,
}

/// Reads a bus message's header.
pub(crate) fn items(message: &Bytes) -> Result<Items, Dropped> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(Dropped::TooLong);
    }
    let Some((header, _)) = message.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Dropped::Foreign);
    };
    let [a, b, c, version, sender @ ..] = *header;
    if [a, b, c] != *MAGIC {
        return Err(Dropped::Foreign);
    }
    if version != VERSION {
        return Err(Dropped::Version);
    }
    let sender = NodeId::new(u32::from_be_bytes(sender)).ok_or(Dropped::Malformed)?;
    Ok(Items { sender, rest: message.slice(HEADER_BYTES..) })
}

/// Reads what [`item`] made, and nothing more.
#[cfg(any(test, feature = "suite"))]
pub(crate) fn one_item(bytes: &Bytes) -> Option<(u64, Body)> {
    let length = u32::from_be_bytes(*bytes.first_chunk::<4>()?);
    let is_whole = usize::try_from(length).ok()?.checked_add(4)? == bytes.len();
    is_whole.then(|| read_item(bytes.slice(4..)))?
}

impl Iterator for Items {
    type Item = Result<(u64, Body), Dropped>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let length = self.rest.split_first_chunk::<4>().map(|(length, _)| *length);
        let length = length.and_then(|length| usize::try_from(u32::from_be_bytes(length)).ok());
        match length.and_then(|length| length.checked_add(4)) {
            Some(end) if end <= self.rest.len() => {
                let item = self.rest.split_to(end);
                Some(read_item(item.slice(4..)).ok_or(Dropped::Malformed))
            }
            _ => {
                self.rest.clear();
                Some(Err(Dropped::Malformed))
            }
        }
    }
}

fn read_item(bytes: Bytes) -> Option<(u64, Body)> {
    let mut input = Reader::new(bytes);
    let number = input.u64()?;
    let kind = input.u8()?;
    let body = if kind < Answer::FIRST_KIND {
        Body::Question(Question::read(kind, &mut input)?)
    } else {
        Body::Answer(Answer::read(kind, &mut input)?)
    };
    input.is_done().then_some((number, body))
}
