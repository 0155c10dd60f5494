//! A request as the one text that its signature covers, however it was spelled on the way.
//!
//! In:  [`SignedRequest`] and its [`Claim`], which says which headers are signed.
//! Out: the canonical request's bytes up to its last line, and that line: the [`Payload`].
//!
//! ```text
//! method
//! path         runs of `/` become one, all else is encoded once more
//! query        each byte in one spelling, sorted; without the signature itself
//! name:value   each signed header, its white space made one
//!
//! names        of the signed headers
//! payload      the body's hash, or that it is not signed
//! ```
//!
//! Holds always: two requests of one text are the same to whoever serves them, but for what
//! [`sigv4`](super) lists as not covered; the host is among the signed headers; the work is bounded
//! by what was received, however often the claim repeats a name.

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::{
    SignatureError, SignedRequest,
    claim::{Claim, Form},
    hex, nibbles,
};

pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The canonical request up to the payload's hash, which the caller adds.
pub(super) fn canonical_request_without_payload(
    request: &SignedRequest<'_>,
    claim: &Claim<'_>,
) -> Result<Vec<u8>, SignatureError> {
    use SignatureError::{Incomplete, Mismatch};
    let mut out = Vec::with_capacity(512 + request.raw_query.len());
    out.extend_from_slice(request.method.as_bytes());
    out.push(b'\n');
    canonical_path(request.raw_path, &mut out);
    out.push(b'\n');
    canonical_query(request.raw_query, claim.form, &mut out);
    out.push(b'\n');

    // In order and without repetition, as signers write it. This bounds the work by the headers
    // that are there, however long the list is.
    let mut previous = "";
    let mut host_is_signed = false;
    for name in claim.signed_headers.split(';') {
        if name <= previous || name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(Incomplete("SignedHeaders must be lower-case names in order"));
        }
        previous = name;
        host_is_signed |= name == "host";
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        let mut values = request.values(name);
        canonical_value(values.next().ok_or(Mismatch)?, &mut out);
        for value in values {
            out.push(b',');
            canonical_value(value, &mut out);
        }
        out.push(b'\n');
    }
    if !host_is_signed {
        return Err(Incomplete("the host header must be signed"));
    }
    out.push(b'\n');
    out.extend_from_slice(claim.signed_headers.as_bytes());
    out.push(b'\n');
    Ok(out)
}

/// Runs of `/` become one; all other bytes are encoded once more, those of escapes too.
fn canonical_path(raw_path: &str, out: &mut Vec<u8>) {
    if !raw_path.starts_with('/') {
        out.push(b'/');
    }
    let mut after_slash = false;
    for byte in raw_path.bytes() {
        match byte {
            b'/' if after_slash => {}
            b'/' => out.push(b'/'),
            _ => encode(byte, out),
        }
        after_slash = byte == b'/';
    }
}

/// Parameters in the order of their encoded names, then values; without the signature itself.
fn canonical_query(raw_query: &str, form: Form, out: &mut Vec<u8>) {
    if raw_query.is_empty() {
        return;
    }
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for pair in raw_query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = canonical_parameter(name);
        if form == Form::Query && name == b"X-Amz-Signature" {
            continue;
        }
        pairs.push((name, canonical_parameter(value)));
    }
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

/// Decoded and encoded again, so that both spellings of a byte are one. A literal `+` stays: whoever
/// reads it as a space must not be given it for a `%2B` that was signed.
fn canonical_parameter(raw: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for (index, piece) in raw.split('+').enumerate() {
        if index > 0 {
            out.push(b'+');
        }
        for byte in percent_decode_str(piece) {
            encode(byte, &mut out);
        }
    }
    out
}

/// As RFC 3986, 2.1 and 2.3, with upper-case digits.
fn encode(byte: u8, out: &mut Vec<u8>) {
    const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        out.push(byte);
    } else {
        let [high, low] = nibbles(byte);
        out.extend_from_slice(&[b'%', UPPER_HEX[high], UPPER_HEX[low]]);
    }
}

/// Without white space around it, and with one space for each run of it inside.
fn canonical_value(value: &[u8], out: &mut Vec<u8>) {
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// The last line of the canonical request.
pub(super) enum Payload {
    /// The signer did not look at the body, and says so in what it signed.
    Unsigned,
    /// SHA-256 of the body, in lower-case hex.
    Hash([u8; 64]),
}

impl Payload {
    /// boto3 signs the body's hash without sending it; the JavaScript SDKs send it too, and then it
    /// must be right even where it is not signed.
    pub(super) fn of(
        request: &SignedRequest<'_>,
        claim: &Claim<'_>,
    ) -> Result<Self, SignatureError> {
        const HEADER: &str = "x-amz-content-sha256";
        let claimed = request.single(HEADER).map_err(|()| SignatureError::Mismatch)?;
        let is_signed = || claim.signed_headers.split(';').any(|name| name == HEADER);
        if claimed == Some(UNSIGNED_PAYLOAD) && is_signed() {
            return Ok(Self::Unsigned);
        }
        let hash = hex(&Sha256::digest(request.body).into());
        match claimed {
            Some(claimed) if claimed.as_bytes() != hash => Err(SignatureError::Mismatch),
            _ => Ok(Self::Hash(hash)),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Unsigned => UNSIGNED_PAYLOAD.as_bytes(),
            Self::Hash(hash) => hash,
        }
    }
}
