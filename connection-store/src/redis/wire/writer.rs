//! Writes the parts of an item.

use crate::{ConnectionId, Scope};

/// Bytes of an item. A part that is too long for its length field spoils the item, which then is
/// not sent.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    spoilt: bool,
}

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Up to 65,535 bytes.
    pub(super) fn short(&mut self, bytes: &[u8]) {
        match u16::try_from(bytes.len()) {
            Ok(length) => self.u16(length),
            Err(_) => self.spoilt = true,
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Up to 2³² - 1 bytes.
    pub(super) fn long(&mut self, bytes: &[u8]) {
        match u32::try_from(bytes.len()) {
            Ok(length) => self.u32(length),
            Err(_) => self.spoilt = true,
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn scope(&mut self, scope: &Scope) {
        self.short(scope.api.as_bytes());
        self.short(scope.stage.as_bytes());
    }

    pub(super) fn id(&mut self, id: ConnectionId) {
        self.bytes.extend_from_slice(&id.as_bytes());
    }

    pub(super) fn ids(&mut self, ids: &[ConnectionId]) {
        match u32::try_from(ids.len()) {
            Ok(length) => self.u32(length),
            Err(_) => self.spoilt = true,
        }
        for id in ids {
            self.id(*id);
        }
    }

    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        (!self.spoilt).then_some(self.bytes)
    }
}
