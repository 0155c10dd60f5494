//! What travels to a connection.

use bytes::Bytes;

/// One message for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How the client shall read it.
    pub kind: MessageKind,
    /// The whole payload. UTF-8 when the kind is text; the sender has checked that.
    pub payload: Bytes,
}

/// Text or binary (RFC 6455, 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// How a connection shall be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseRequest {
    /// The close code (RFC 6455, 7.4).
    pub code: u16,
    /// At most 123 bytes of UTF-8.
    pub reason: String,
}
