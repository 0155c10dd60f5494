//! What a JSON Web Token says, and whether an authorizer's rules let its bearer in (RFC 7519).
//!
//! In:  a token's text, or its claims once somebody has checked the signature; the rules of one
//!      authorizer; `now`.
//! Out: which key must have signed it, who it is about, or why it is refused.
//!
//! ```text
//! token --TokenHeader::parse--> algorithm and key id --(elsewhere: signature)--> TokenClaims
//!                                                                                    |
//!                                    Accepted: principal, context, end <---check-----/
//! ```
//!
//! Holds always: nothing here knows a key, so an [`Accepted`] means something only for claims whose
//! signature was right. A header or a payload that has a name twice is refused, since two readers
//! could see different tokens in it (RFC 8725, 2.4). Only algorithms with a public key exist here:
//! `none` and the `HS` family have no value in [`JwtAlgorithm`] to become. No refusal repeats a
//! token, a claim or a key id.

mod claims;
mod header;
#[cfg(test)]
mod tests;

pub use claims::{Accepted, TokenClaims, check};
pub use header::TokenHeader;

use std::{collections::HashSet, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tidegate_model::JwtAlgorithm;

/// The longest token that is looked at, bytes. A request's head holds no more.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How many bytes of claims, names and values, go into `requestContext.authorizer`: what Amazon
/// allows an authorizer to answer (websocket-api, 9.3). Each event of the connection repeats them.
pub const MAX_CONTEXT_BYTES: usize = 8 * 1024;

/// Why a token is refused. What it names comes from this program or the configuration, never from
/// the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// No three parts, no base64url, no JSON object, or a name that comes twice.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `none`, a shared secret's, or one that does not exist.
    #[error("the token is signed with an algorithm that is not allowed")]
    Algorithm,
    /// `crit` names extensions that must be understood; none is (RFC 7515, 4.1.11).
    #[error("the token has critical header parameters")]
    Critical,
    /// `typ` says that it is something else than a JWT to get access with (RFC 8725, 3.11).
    #[error("the token is of another type: `typ` must be JWT or at+jwt, or absent")]
    Type,
    /// A claim that must be there.
    #[error("the token has no claim `{0}`")]
    Missing(&'static str),
    /// A claim whose value is of another type than its definition says.
    #[error("the token's claim `{0}` has a value of the wrong type")]
    WrongType(&'static str),
    /// `iss` is somebody else.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` has none of the authorizer's audiences.
    #[error("the token is for another audience")]
    Audience,
    /// `exp` is not in the future.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is in the future.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// A required scope that is not in `scope` or `scp`.
    #[error("the token has no scope `{0}`")]
    Scope(String),
    /// A required claim that is absent or has another value.
    #[error("the token's claim `{0}` is not as required")]
    Claim(String),
    /// The claims come to more than [`MAX_CONTEXT_BYTES`].
    #[error("the token's claims come to more than {MAX_CONTEXT_BYTES} bytes")]
    ContextTooLarge,
}

impl Refused {
    /// A word for metrics, from a fixed set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed(_) => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::Type => "type",
            Self::Missing(_) => "missing_claim",
            Self::WrongType(_) => "wrong_type",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::Scope(_) => "scope",
            Self::Claim(_) => "claim",
            Self::ContextTooLarge => "context_too_large",
        }
    }
}

/// A token's header and payload, still encoded.
fn encoded_parts(token: &str) -> Result<[&str; 2], Refused> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refused::TooLong);
    }
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(_), None) => Ok([header, payload]),
        _ => Err(Refused::Malformed("it has not three parts")),
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed("a part is not base64url"))
}

/// A JSON object as it is written: values unread, order kept, no name twice.
#[derive(Debug)]
struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
        let mut names = HashSet::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom("a name comes twice"));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

/// The string that `value` is, if it is one.
fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The algorithm of that name (RFC 7518, 3.1; RFC 8037, 3.1).
fn algorithm(name: &str) -> Option<JwtAlgorithm> {
    Some(match name {
        "RS256" => JwtAlgorithm::RS256,
        "RS384" => JwtAlgorithm::RS384,
        "RS512" => JwtAlgorithm::RS512,
        "PS256" => JwtAlgorithm::PS256,
        "PS384" => JwtAlgorithm::PS384,
        "PS512" => JwtAlgorithm::PS512,
        "ES256" => JwtAlgorithm::ES256,
        "ES384" => JwtAlgorithm::ES384,
        "EdDSA" => JwtAlgorithm::EdDSA,
        _ => return None,
    })
}
