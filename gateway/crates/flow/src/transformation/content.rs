//! `content_handling_strategy`: binary to base64 text and back (websocket-api, 6.3).
//!
//! Holds always: what is not binary is UTF-8.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tidegate_model::ContentHandling;

/// What goes to the backend or to the client.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    pub(super) binary: bool,
}

impl Payload {
    /// A template's output.
    pub(super) fn text(text: String) -> Self {
        Self { bytes: Bytes::from(text), binary: false }
    }
}

/// Turns a payload into the other form, if it is not in it yet; `None` if it is no base64. White
/// space around base64, as templates leave it, is no part of it.
pub(super) fn handle(payload: Payload, strategy: Option<ContentHandling>) -> Option<Payload> {
    match (strategy, payload.binary) {
        (Some(ContentHandling::ConvertToBinary), false) => {
            let bytes = STANDARD.decode(payload.bytes.trim_ascii()).ok()?;
            Some(Payload { bytes: bytes.into(), binary: true })
        }
        (Some(ContentHandling::ConvertToText), true) => {
            Some(Payload::text(STANDARD.encode(&payload.bytes)))
        }
        (Some(ContentHandling::ConvertToBinary), true)
        | (Some(ContentHandling::ConvertToText), false)
        | (None, _) => Some(payload),
    }
}
