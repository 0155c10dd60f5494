//! A token's header: what its signature must be checked with.
//!
//! In:  a token.
//! Out: the algorithm and the key that it claims, or why it is not worth a look at any key.
//!
//! Holds always: a key or the address of one that the header brings along (`jwk`, `jku`, `x5c`,
//! `x5u`) is not read at all; only keys that the issuer publishes count (RFC 8725, 3.10).

use tidegate_model::JwtAlgorithm;

use super::{Members, Refused, algorithm, decoded, encoded_parts, string};

/// What a token claims about its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHeader {
    /// `alg`.
    pub algorithm: JwtAlgorithm,
    /// `kid`: names the key among the issuer's. Whatever the token's maker wrote.
    pub key_id: Option<String>,
}

impl TokenHeader {
    /// Reads the header of `token`, a JWS in compact form (RFC 7515, 7.1).
    ///
    /// # Errors
    /// [`Refused::TooLong`], [`Refused::Malformed`], [`Refused::Algorithm`], [`Refused::Critical`]
    /// or [`Refused::Type`].
    pub fn parse(token: &str) -> Result<Self, Refused> {
        let [header, _] = encoded_parts(token)?;
        let header: Members = serde_json::from_slice(&decoded(header)?).map_err(|_| {
            Refused::Malformed("its header is no JSON object, or has a name that comes twice")
        })?;
        if header.get("crit").is_some() {
            return Err(Refused::Critical);
        }
        let text = |name: &'static str, why| match header.get(name) {
            None => Ok(None),
            Some(value) => string(value).map(Some).ok_or(Refused::Malformed(why)),
        };
        if text("typ", "`typ` is no string")?.is_some_and(|kind| !is_access_token(&kind)) {
            return Err(Refused::Type);
        }
        let named = text("alg", "`alg` is no string")?;
        let named = named.ok_or(Refused::Malformed("its header has no `alg`"))?;
        let algorithm = algorithm(&named).ok_or(Refused::Algorithm)?;
        Ok(Self { algorithm, key_id: text("kid", "`kid` is no string")? })
    }
}

/// RFC 7519, 5.1 and RFC 9068, 2.1; `application/` may be left out (RFC 7515, 4.1.9). A logout
/// token or a security event of the same issuer has another type, and must open nothing.
fn is_access_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}
