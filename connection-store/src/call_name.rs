//! What a caller names one call by, so that repeating it does nothing.

use std::fmt;

/// The caller's own name for a call (`amz-sdk-invocation-id`, `Idempotency-Key`): 1 to 256 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CallName(Box<[u8]>);

impl CallName {
    /// The longest name, in bytes.
    pub const MAX_LENGTH: usize = 256;

    /// The call of that name; `None` for an empty name and beyond 256 bytes.
    pub fn new(name: &[u8]) -> Option<Self> {
        (1..=Self::MAX_LENGTH).contains(&name.len()).then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Its length only: a stranger chose the name.
impl fmt::Debug for CallName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "call({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_256_bytes() {
        assert!(CallName::new(b"").is_none());
        assert!(CallName::new(&[7; 257]).is_none());
        for length in [1, 256] {
            let name = vec![0xff; length];
            assert_eq!(CallName::new(&name).unwrap().as_bytes(), name);
        }
        assert_eq!(format!("{:?}", CallName::new(b"secret").unwrap()), "call(6 bytes)");
    }
}
