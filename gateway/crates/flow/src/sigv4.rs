//! Is this request signed by somebody we know? AWS Signature Version 4, service `execute-api`.
//!
//! In:  [`SignedRequest`]: a request as it was received, nothing decoded; the secrets of the
//!      operator's; `now`; and [`SigningKeys`], this core's memory of derived keys.
//! Out: who signed it, or why it is refused.
//!
//! ```text
//! what is claimed        Authorization header, or X-Amz-* in the query
//!   -> is it recent      5 minutes either way; a presigned one until it expires
//!   -> canonical text    method, path, query, signed headers, body's hash
//!   -> the key           secret -> date -> region -> service
//!   -> compare           in constant time
//!   -> session token     the key's own, where it has one
//! ```
//!
//! `claim` reads what is claimed, `canonical_request` writes the text, `signing_keys` makes and
//! remembers the key; the order of the steps, the clock and the verdict are here.
//!
//! Holds always: nothing before the comparison depends on the secrets, and an unknown access key
//! gets the answer of a wrong signature after the same work, so that callers cannot find out which
//! access keys exist. A derived key is remembered only after a signature made with it was right, so
//! that strangers cannot push others' keys out.
//!
//! What a signature does not cover, and what may therefore change on the way without notice: runs
//! of `/` in the path, the order of query parameters of different names, whether a byte of the query
//! is percent-encoded (`~` or `%7E`; a literal `+` is not a `%2B`, since some read it as a space),
//! white space around and inside header values, and headers that are not signed.

mod canonical_request;
mod claim;
mod signing_keys;
#[cfg(test)]
mod tests;

pub use signing_keys::SigningKeys;

use canonical_request::{Payload, canonical_request_without_payload};
use claim::{Claim, Form, MAX_SKEW_S, Scope, parse_date};
use hmac::Mac;
use sha2::{Digest, Sha256};
use signing_keys::{HmacSha256, derive};
use subtle::ConstantTimeEq;
use tidegate_model::{AccessKey, Secret};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "execute-api";
const TERMINATOR: &str = "aws4_request";
/// Works in place of a secret that is not there, for the time it takes. As long as Amazon's are.
const STAND_IN_SECRET: &str = "........................................";

/// A request as it was received.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// Case as received.
    pub method: &'a str,
    /// The target's part before `?`, undecoded: `/prod/@connections/x%3D`.
    pub raw_path: &'a str,
    /// The target's part after `?`, undecoded; empty when there is none.
    pub raw_query: &'a str,
    /// Name (in any case) and value; order and duplicates kept.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// All of it.
    pub body: &'a [u8],
}

/// What an access key id stands for: a secret alone, or an access key whole.
#[derive(Debug, Clone, Copy)]
pub struct Credential<'s> {
    /// What signatures are made with.
    pub secret: &'s Secret,
    /// What must come along as `X-Amz-Security-Token`. Without one, whatever comes along is passed
    /// over: handlers take one from an environment that they share with others.
    pub session_token: Option<&'s Secret>,
}

impl<'s> From<&'s Secret> for Credential<'s> {
    fn from(secret: &'s Secret) -> Self {
        Self { secret, session_token: None }
    }
}

impl<'s> From<&'s AccessKey> for Credential<'s> {
    fn from(key: &'s AccessKey) -> Self {
        Self { secret: &key.secret_access_key, session_token: key.session_token.as_ref() }
    }
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The access key whose secret made the signature.
    pub access_key_id: String,
}

/// Why a request is refused. The client is at fault, and the status is always 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is not signed at all.
    #[error("the request is not signed")]
    Missing,
    /// It claims to be signed, but not in the way that Signature Version 4 asks for.
    #[error("incomplete signature: {0}")]
    Incomplete(&'static str),
    /// It is for another service, or its scope has another date than the request.
    #[error("wrong credential scope: {0}")]
    Scope(&'static str),
    /// Older than 5 minutes, or presigned and past its `X-Amz-Expires`.
    #[error("the signature has expired")]
    Expired,
    /// More than 5 minutes ahead of our clock.
    #[error("the signature is not yet current")]
    NotYetCurrent,
    /// Made with another secret, over another request, or with a key that nobody has.
    #[error("the signature does not match the request")]
    Mismatch,
    /// The signature is right, but the key is a temporary one and its session token is another or
    /// not there.
    #[error("the session token is not the access key's")]
    SessionToken,
}

impl SignatureError {
    /// `x-amzn-ErrorType`.
    ///
    /// The JavaScript SDK recognizes a wrong clock of its own by `InvalidSignatureException` and a
    /// `Date` header in the answer, corrects it and tries again.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::Expired | Self::NotYetCurrent => "InvalidSignatureException",
            // The class that the SDKs' model of the management API knows.
            Self::Scope(_) | Self::Mismatch => "ForbiddenException",
            Self::SessionToken => "UnrecognizedClientException",
        }
    }

    /// `message` of the answer's body. It never repeats what was sent nor says what would have been
    /// right for a secret of ours.
    pub fn message(&self) -> &'static str {
        match self {
            Self::Missing => "Missing Authentication Token",
            Self::Incomplete(what) | Self::Scope(what) => what,
            Self::Expired => "Signature expired",
            Self::NotYetCurrent => "Signature not yet current",
            Self::Mismatch => {
                "The request signature we calculated does not match the signature you provided. \
                 Check your AWS Secret Access Key and signing method."
            }
            Self::SessionToken => "The security token included in the request is invalid.",
        }
    }
}

/// Checks `request`'s signature at `now_s`, in seconds since 1970.
///
/// `find_key` gives what an access key id stands for; how long it takes should not depend on whether
/// there is one.
///
/// Any region is accepted. The region is a word that the caller mixed into its key and its text;
/// the signature proves the secret whatever the word is, a key derived for one region cannot be made
/// from another's, and handlers send the region of the cloud they were written for.
pub fn verify<'s, K: Into<Credential<'s>>>(
    request: &SignedRequest<'_>,
    find_key: impl FnOnce(&str) -> Option<K>,
    keys: &mut SigningKeys,
    now_s: u64,
) -> Result<Verified, SignatureError> {
    let claim = Claim::read(request)?;
    let scope = Scope::parse(&claim.credential)?;
    let signed_at = parse_date(&claim.date)
        .ok_or(SignatureError::Incomplete("the request's date must be YYYYMMDD'T'HHMMSS'Z'"))?;
    if scope.date != &signed_at.iso[..8] {
        return Err(SignatureError::Scope(
            "the date in the credential scope must be the request's date",
        ));
    }
    let age_s = i64::try_from(now_s).unwrap_or(i64::MAX).saturating_sub(signed_at.unix_s);
    if age_s < -MAX_SKEW_S {
        return Err(SignatureError::NotYetCurrent);
    }
    if age_s > claim.lifetime_s {
        return Err(SignatureError::Expired);
    }

    let canonical = canonical_request_without_payload(request, &claim)?;
    let string_to_sign = |payload: &[u8]| {
        let hash = Sha256::new().chain_update(&canonical).chain_update(payload).finalize();
        let mut text = Vec::with_capacity(192);
        for line in [ALGORITHM, &signed_at.iso, scope.text] {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        text.extend_from_slice(&hex(&hash.into()));
        text
    };
    let text = string_to_sign(Payload::of(request, &claim)?.as_bytes());

    let known: Option<Credential<'_>> = find_key(scope.access_key_id).map(Into::into);
    let secret = known.map(|credential| credential.secret);
    let remembered = secret.and_then(|secret| keys.get(&scope, secret));
    let right = |key: &HmacSha256, text: &[u8]| -> bool {
        let expected = hex(&key.clone().chain_update(text).finalize().into_bytes().into());
        expected.ct_eq(claim.signature.as_bytes()).into()
    };
    // A url that was presigned before there was a body says so in the signed text and nowhere else.
    let text_without_body = match claim.form {
        Form::Header => None,
        Form::Query => Some(string_to_sign(Payload::Unsigned.as_bytes())),
    };
    let verdict = |key: &HmacSha256| {
        right(key, &text) || text_without_body.as_ref().is_some_and(|text| right(key, text))
    };
    // Asked only of whoever knows the secret.
    let admitted = || {
        let needed = known.and_then(|credential| credential.session_token);
        let sent = claim.session_token.as_deref().unwrap_or("");
        match needed {
            Some(token) if !bool::from(token.reveal().as_bytes().ct_eq(sent.as_bytes())) => {
                Err(SignatureError::SessionToken)
            }
            _ => Ok(Verified { access_key_id: scope.access_key_id.to_owned() }),
        }
    };
    if let Some(key) = &remembered
        && verdict(key)
    {
        return admitted();
    }

    // From here on all refusals cost the same: one derivation, and one verdict unless it was given
    // above.
    let key = derive(secret.map_or(STAND_IN_SECRET, Secret::reveal), &scope);
    match secret {
        Some(secret) if remembered.is_none() && verdict(&key) => {
            keys.remember(&scope, secret, key);
            admitted()
        }
        Some(_) => Err(SignatureError::Mismatch),
        None => {
            std::hint::black_box(verdict(&key));
            Err(SignatureError::Mismatch)
        }
    }
}

impl<'a> SignedRequest<'a> {
    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |header: &&(&str, &[u8])| header.0.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|header| header.1)
    }

    /// The trimmed value of a header that must not be there twice; `Err` if it is, or is no text.
    fn single(&self, name: &str) -> Result<Option<&'a str>, ()> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                str::from_utf8(value).map(|v| Some(v.trim_ascii())).map_err(drop)
            }
            (Some(_), Some(_)) => Err(()),
        }
    }
}

/// In lower case, as hashes and signatures are written.
fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const LOWER_HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        let [high, low] = nibbles(*byte);
        pair.copy_from_slice(&[LOWER_HEX[high], LOWER_HEX[low]]);
    }
    text
}

fn nibbles(byte: u8) -> [usize; 2] {
    [usize::from(byte >> 4), usize::from(byte & 15)]
}
