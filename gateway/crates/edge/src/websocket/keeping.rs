//! Whether the store keeps what another node needs to run a connection's `$disconnect`.
//!
//! In:  that it is to be kept, and that its end is over, from any thread and in any order.
//! Out: to one caller each, that this is to be told to the store.
//!
//! Holds always: what is over is not kept again; the store is told of an end only where it was told
//! to keep.

use std::sync::atomic::{AtomicU8, Ordering};

/// One connection's state; a byte.
#[derive(Debug)]
pub(super) struct Keeping(AtomicU8);

/// As it is stored.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum State {
    /// It is not accepted yet, or nobody would run anything at its end.
    NotKept,
    /// Another node has to finish it should this one die.
    Kept,
    /// Nothing is left to be run.
    Over,
}

impl Keeping {
    /// Nothing is kept yet.
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(State::NotKept as u8))
    }

    /// It is to be kept from now on. Whether the store has to be told.
    pub(super) fn begin(&self) -> bool {
        let (from, to) = (State::NotKept as u8, State::Kept as u8);
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// It is over. Whether the store has to be told.
    pub(super) fn end(&self) -> bool {
        self.0.swap(State::Over as u8, Ordering::AcqRel) == State::Kept as u8
    }

    /// Whether another node would need it now.
    pub(super) fn is_kept(&self) -> bool {
        self.0.load(Ordering::Acquire) == State::Kept as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_told_once_to_keep_and_once_that_it_is_over() {
        let keeping = Keeping::new();
        assert!(!keeping.is_kept());
        assert_eq!((keeping.begin(), keeping.begin(), keeping.is_kept()), (true, false, true));
        assert_eq!((keeping.end(), keeping.end(), keeping.is_kept()), (true, false, false));
    }

    #[test]
    fn what_is_over_is_not_kept_again_and_what_was_not_kept_has_no_end() {
        let keeping = Keeping::new();
        assert_eq!((keeping.end(), keeping.begin(), keeping.is_kept()), (false, false, false));
    }
}
