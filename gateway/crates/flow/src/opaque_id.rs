//! The shape that Amazon's ids share: `connectionId`, `requestId`, `messageId`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};

/// 16 characters of URL-safe base64, the last one `=`: 11 bytes (websocket-api, 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpaqueId([u8; 16]);

impl OpaqueId {
    /// Encodes 11 bytes.
    pub fn from_bytes(bytes: [u8; 11]) -> Self {
        let mut text = [0; 16];
        URL_SAFE
            .encode_slice(bytes, &mut text)
            .expect("11 bytes are 16 characters of padded base64");
        Self(text)
    }

    /// A fresh random id.
    pub fn random() -> Self {
        Self::from_bytes(rand::random())
    }

    /// Takes text that is already of the shape.
    pub fn from_text(text: [u8; 16]) -> Self {
        debug_assert!(text.is_ascii(), "an id is ASCII");
        Self(text)
    }

    /// The 16 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl fmt::Display for OpaqueId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for OpaqueId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// websocket-api, item 64.
    #[test]
    fn an_id_is_16_characters_of_url_safe_base64_with_one_pad() {
        for _ in 0..100 {
            let id = OpaqueId::random();
            let text = id.as_str();
            assert_eq!(text.len(), 16);
            assert!(text.ends_with('=') && !text[..15].contains('='));
            assert!(text[..15].bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        }
        assert_ne!(OpaqueId::random(), OpaqueId::random());
    }
}
