//! The keys that sign: made of a secret and a scope, and remembered.
//!
//! In:  a secret and the [`Scope`] it is used in.
//! Out: an HMAC that is keyed and has been fed nothing; from [`SigningKeys`] if it was remembered
//!      there, else from [`derive()`].
//!
//! Holds always: memory is bounded; a key is found only by the very secret it was made of; what is
//! remembered is the caller's choice, and [`sigv4`](super) remembers proven keys only.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tidegate_model::Secret;

use super::{SERVICE, TERMINATOR, claim::Scope};

pub(super) type HmacSha256 = Hmac<Sha256>;

/// Derived keys that have made a right signature lately. One per core, owned by the caller.
///
/// Deriving a key costs four HMACs; a caller's key stays the same for a day. Bounded: the oldest
/// one gives way.
#[derive(Default)]
pub struct SigningKeys {
    keys: Vec<SigningKey>,
    /// The one to give way when all places are taken.
    oldest: usize,
}

struct SigningKey {
    access_key_id: Box<str>,
    /// Compared at each use, so that a key that was revoked or changed ends at once.
    secret: Secret,
    /// `YYYYMMDD`.
    date: Box<str>,
    region: Box<str>,
    /// Keyed, nothing fed yet.
    mac: HmacSha256,
}

impl SigningKeys {
    /// Access keys times the regions they are used in; two dates around midnight.
    pub const CAPACITY: usize = 64;

    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn get(&self, scope: &Scope<'_>, secret: &Secret) -> Option<HmacSha256> {
        let same = |key: &&SigningKey| {
            *key.access_key_id == *scope.access_key_id
                && *key.date == *scope.date
                && *key.region == *scope.region
                && bool::from(key.secret.reveal().as_bytes().ct_eq(secret.reveal().as_bytes()))
        };
        self.keys.iter().find(same).map(|key| key.mac.clone())
    }

    pub(super) fn remember(&mut self, scope: &Scope<'_>, secret: &Secret, mac: HmacSha256) {
        let key = SigningKey {
            access_key_id: scope.access_key_id.into(),
            secret: secret.clone(),
            date: scope.date.into(),
            region: scope.region.into(),
            mac,
        };
        if self.keys.len() < Self::CAPACITY {
            self.keys.push(key);
        } else {
            self.keys[self.oldest] = key;
            self.oldest = (self.oldest + 1) % Self::CAPACITY;
        }
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SigningKeys({} of {})", self.len(), Self::CAPACITY)
    }
}

/// The key that signs on one day in one region.
pub(super) fn derive(secret: &str, scope: &Scope<'_>) -> HmacSha256 {
    let mut first = Vec::with_capacity(64);
    first.extend_from_slice(b"AWS4");
    first.extend_from_slice(secret.as_bytes());
    [scope.date, scope.region, SERVICE, TERMINATOR]
        .iter()
        .fold(keyed(&first), |key, part| keyed(&key.chain_update(part).finalize().into_bytes()))
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}
