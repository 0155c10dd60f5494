//! The keys that an issuer publishes (RFC 7517).
//!
//! In:  a JWK set's JSON; then a key id and an algorithm.
//! Out: the one key that a token with those must have been signed with.
//!
//! Holds always: what is here verifies signatures and nothing else: no secret, no key for
//! encryption, no RSA key below 2048 bits. A key is used with one family of algorithms, and with
//! one algorithm where the issuer says which (RFC 8725, 3.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tidegate_model::JwtAlgorithm;

/// What RFC 8725, 3.5 and NIST ask for at least, and what the library takes at most.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Keys of one issuer, at least one.
#[derive(Debug)]
pub(super) struct KeySet(Vec<PublicKey>);

#[derive(Debug)]
struct PublicKey {
    /// As published, for telling one key from another.
    jwk: Jwk,
    family: Family,
    /// The only one, where the issuer names one.
    algorithm: Option<Algorithm>,
    decoding: DecodingKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// What a look for a key gave.
#[derive(Debug)]
pub(super) enum Found<'k> {
    One(&'k DecodingKey),
    /// None has the id; or, without an id, none is for the algorithm.
    None,
    /// One has the id, and is not for the algorithm.
    OtherAlgorithm,
    /// More than one would do.
    Several,
}

/// Why a document is no set of usable keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidKeySet {
    /// No JSON, or without a list `keys`.
    #[error("it is no JWK set")]
    Form(#[from] serde_json::Error),
    /// Of all its keys, none can check a signature of the algorithms that are supported.
    #[error("none of its {0} keys can be used")]
    NoUsableKey(usize),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a JWK set. Keys that cannot be used are left out (RFC 7517, 5).
    pub(super) fn parse(json: &[u8]) -> Result<Self, InvalidKeySet> {
        let document: Document = serde_json::from_slice(json)?;
        let published = document.keys.len();
        let mut keys: Vec<PublicKey> = Vec::new();
        for key in document.keys.into_iter().filter_map(PublicKey::read) {
            // The same key once more would make two of one.
            if !keys.iter().any(|known| known.is_same(&key)) {
                keys.push(key);
            }
        }
        if keys.is_empty() { Err(InvalidKeySet::NoUsableKey(published)) } else { Ok(Self(keys)) }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key of a token that names `id`, or names none, and is signed with `algorithm`.
    pub(super) fn find(&self, id: Option<&str>, algorithm: JwtAlgorithm) -> Found<'_> {
        let named = |key: &&PublicKey| id.is_none() || key.jwk.common.key_id.as_deref() == id;
        let mut fitting = self.0.iter().filter(named).filter(|key| key.fits(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::One(&key.decoding),
            (Some(_), Some(_)) => Found::Several,
            (None, _) if id.is_some() && self.0.iter().any(|key| named(&key)) => {
                Found::OtherAlgorithm
            }
            (None, _) => Found::None,
        }
    }
}

impl PublicKey {
    fn read(published: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(published).ok()?;
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|is| *is == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|may| may.contains(&KeyOperations::Verify));
        if !signs {
            return None;
        }
        let family = Family::of(&jwk.algorithm)?;
        let algorithm = match common.key_algorithm {
            None => None,
            Some(KeyAlgorithm::UNKNOWN_ALGORITHM) => return None,
            Some(named) => Some(Algorithm::try_from(named).ok()?),
        };
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { family, algorithm, decoding, jwk })
    }

    fn is_same(&self, other: &Self) -> bool {
        self.jwk.common.key_id == other.jwk.common.key_id
            && self.algorithm == other.algorithm
            && self.jwk.algorithm == other.jwk.algorithm
    }

    fn fits(&self, wanted: JwtAlgorithm) -> bool {
        self.family == Family::signing(wanted)
            && self.algorithm.is_none_or(|only| only == algorithm(wanted))
    }
}

impl Family {
    /// Of a key whose parameters have the form that the family asks for.
    fn of(parameters: &AlgorithmParameters) -> Option<Self> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let is_long = |text: &str, long: usize| bytes(text).is_some_and(|key| key.len() == long);
        match parameters {
            AlgorithmParameters::RSA(key) => {
                RSA_BITS.contains(&bits(&bytes(&key.n)?)).then_some(Self::Rsa)
            }
            AlgorithmParameters::EllipticCurve(key) => {
                let (family, long) = match key.curve {
                    EllipticCurve::P256 => (Self::P256, 32),
                    EllipticCurve::P384 => (Self::P384, 48),
                    _ => return None,
                };
                (is_long(&key.x, long) && is_long(&key.y, long)).then_some(family)
            }
            AlgorithmParameters::OctetKeyPair(key) => (key.curve == EllipticCurve::Ed25519
                && is_long(&key.x, 32))
            .then_some(Self::Ed25519),
            // A shared secret, or what the library knows no more of than that it is there.
            _ => None,
        }
    }

    fn signing(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::RS256
            | JwtAlgorithm::RS384
            | JwtAlgorithm::RS512
            | JwtAlgorithm::PS256
            | JwtAlgorithm::PS384
            | JwtAlgorithm::PS512 => Self::Rsa,
            JwtAlgorithm::ES256 => Self::P256,
            JwtAlgorithm::ES384 => Self::P384,
            JwtAlgorithm::EdDSA => Self::Ed25519,
        }
    }
}

/// The length of a big-endian number.
fn bits(number: &[u8]) -> usize {
    match number.iter().position(|byte| *byte != 0) {
        Some(first) => 8 * (number.len() - first) - number[first].leading_zeros() as usize,
        None => 0,
    }
}

/// The library's name of an algorithm.
pub(super) fn algorithm(of: JwtAlgorithm) -> Algorithm {
    match of {
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::RS384 => Algorithm::RS384,
        JwtAlgorithm::RS512 => Algorithm::RS512,
        JwtAlgorithm::PS256 => Algorithm::PS256,
        JwtAlgorithm::PS384 => Algorithm::PS384,
        JwtAlgorithm::PS512 => Algorithm::PS512,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::ES384 => Algorithm::ES384,
        JwtAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(bytes: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0xff; bytes])
    }

    fn rsa(id: &str) -> Value {
        json!({"kty": "RSA", "kid": id, "n": encoded(256), "e": "AQAB"})
    }

    fn ec(id: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": id, "x": encoded(32), "y": encoded(32)})
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn without(mut key: Value, name: &str) -> Value {
        key.as_object_mut().unwrap().remove(name);
        key
    }

    fn set(keys: &[Value]) -> Result<KeySet, InvalidKeySet> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn found(keys: &[Value], id: Option<&str>, algorithm: JwtAlgorithm) -> String {
        let set = set(keys).unwrap();
        match set.find(id, algorithm) {
            Found::One(_) => "one",
            Found::None => "none",
            Found::OtherAlgorithm => "other algorithm",
            Found::Several => "several",
        }
        .to_owned()
    }

    #[test]
    fn a_key_is_found_by_its_id_and_for_its_family_only() {
        let keys = [rsa("r"), ec("e")];
        assert_eq!(found(&keys, Some("r"), JwtAlgorithm::RS256), "one");
        assert_eq!(found(&keys, Some("r"), JwtAlgorithm::PS512), "one");
        assert_eq!(found(&keys, Some("e"), JwtAlgorithm::ES256), "one");
        assert_eq!(found(&keys, Some("r"), JwtAlgorithm::ES256), "other algorithm");
        assert_eq!(found(&keys, Some("e"), JwtAlgorithm::ES384), "other algorithm");
        assert_eq!(found(&keys, Some("R"), JwtAlgorithm::RS256), "none");
    }

    #[test]
    fn a_key_with_an_algorithm_is_for_that_one_only() {
        let keys = [with(rsa("r"), "alg", json!("RS256"))];
        assert_eq!(found(&keys, Some("r"), JwtAlgorithm::RS256), "one");
        assert_eq!(found(&keys, Some("r"), JwtAlgorithm::RS512), "other algorithm");
        assert_eq!(found(&keys, None, JwtAlgorithm::PS256), "none");
    }

    #[test]
    fn without_an_id_the_key_must_be_the_only_one_that_fits() {
        let keys = [rsa("a"), ec("b")];
        assert_eq!(found(&keys, None, JwtAlgorithm::RS256), "one");
        assert_eq!(found(&keys, None, JwtAlgorithm::EdDSA), "none");
        let two = [rsa("a"), rsa("b")];
        assert_eq!(found(&two, None, JwtAlgorithm::RS256), "several");
        assert_eq!(found(&[without(rsa("a"), "kid")], None, JwtAlgorithm::RS256), "one");
    }

    #[test]
    fn the_same_key_twice_is_one_and_two_of_one_id_are_none_to_choose() {
        assert_eq!(found(&[rsa("a"), rsa("a")], Some("a"), JwtAlgorithm::RS256), "one");
        let other = with(rsa("a"), "n", json!(encoded(300)));
        assert_eq!(found(&[rsa("a"), other], Some("a"), JwtAlgorithm::RS256), "several");
    }

    #[test]
    fn keys_that_must_not_check_signatures_are_left_out() {
        for unusable in [
            with(rsa("a"), "use", json!("enc")),
            with(rsa("a"), "key_ops", json!(["encrypt"])),
            with(rsa("a"), "alg", json!("RSA-OAEP")),
            with(rsa("a"), "alg", json!("RS1")),
            with(rsa("a"), "n", json!(encoded(128))),
            with(rsa("a"), "n", json!(encoded(255))),
            with(rsa("a"), "n", json!(encoded(1025))),
            with(rsa("a"), "n", json!("AAAA")),
            with(rsa("a"), "n", json!("no base64!")),
            with(ec("a"), "crv", json!("P-521")),
            with(ec("a"), "crv", json!("secp256k1")),
            with(ec("a"), "x", json!(encoded(31))),
            with(ec("a"), "crv", json!("P-384")),
            json!({"kty": "oct", "kid": "a", "k": encoded(32)}),
            json!({"kty": "OKP", "crv": "X25519", "kid": "a", "x": encoded(32)}),
            json!({"kty": "AKP", "kid": "a", "pub": encoded(32)}),
            json!({}),
            json!("key"),
            Value::Null,
        ] {
            assert!(
                matches!(set(std::slice::from_ref(&unusable)), Err(InvalidKeySet::NoUsableKey(1))),
                "{unusable}"
            );
            // One bad key does not take the good one with it.
            assert_eq!(found(&[unusable, rsa("b")], Some("b"), JwtAlgorithm::RS256), "one");
        }
        let usable = with(with(rsa("a"), "use", json!("sig")), "key_ops", json!(["verify"]));
        assert_eq!(found(&[usable], Some("a"), JwtAlgorithm::RS256), "one");
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for bad in ["", "{}", "[]", r#"{"keys":{}}"#, "<html>", r#"{"keys":[]"#] {
            assert!(matches!(KeySet::parse(bad.as_bytes()), Err(InvalidKeySet::Form(_))), "{bad}");
        }
        assert!(matches!(set(&[]), Err(InvalidKeySet::NoUsableKey(0))));
    }

    #[test]
    fn leading_zeros_do_not_make_a_number_longer() {
        assert_eq!((bits(&[]), bits(&[0, 0]), bits(&[0, 1]), bits(&[0x80, 0])), (0, 0, 1, 16));
    }
}
