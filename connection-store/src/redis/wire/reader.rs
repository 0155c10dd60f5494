//! Reads the parts of an item. Each is checked: what comes from the bus is anybody's.

use bytes::{Buf, Bytes};

use crate::{ConnectionId, Scope};

/// What is left of an item. Every read gives `None` where there is too little, or not what it
/// should be; then the item is given up.
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// Whether all was read.
    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.rest.try_get_u8().ok()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.rest.try_get_u16().ok()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.rest.try_get_u32().ok()
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.rest.try_get_u64().ok()
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.rest.len()).then(|| self.rest.split_to(length))
    }

    pub(super) fn short(&mut self) -> Option<Bytes> {
        let length = self.u16()?;
        self.take(length.into())
    }

    pub(super) fn long(&mut self) -> Option<Bytes> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }

    pub(super) fn short_text(&mut self) -> Option<String> {
        String::from_utf8(self.short()?.into()).ok()
    }

    pub(super) fn scope(&mut self) -> Option<Scope> {
        Some(Scope::new(self.short_text()?, self.short_text()?))
    }

    pub(super) fn id(&mut self) -> Option<ConnectionId> {
        std::str::from_utf8(&self.take(16)?).ok()?.parse().ok()
    }

    /// As many ids as there are bytes for, at most.
    pub(super) fn ids(&mut self) -> Option<Vec<ConnectionId>> {
        let count = usize::try_from(self.u32()?).ok()?;
        if count > self.rest.len() / 16 {
            return None;
        }
        (0..count).map(|_| self.id()).collect()
    }
}
