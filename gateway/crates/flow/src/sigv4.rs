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
//! ```
//!
//! Holds always: nothing before the last step depends on the secrets, and an unknown access key
//! gets the answer of a wrong signature after the same work, so that callers cannot find out which
//! access keys exist. A derived key is remembered only after a signature made with it was right, so
//! that strangers cannot push others' keys out.
//!
//! What a signature does not cover, and what may therefore change on the way without notice: runs
//! of `/` in the path, the order of query parameters of different names, whether a byte of the query
//! is percent-encoded (`~` or `%7E`; a literal `+` is not a `%2B`, since some read it as a space),
//! white space around and inside header values, and headers that are not signed.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidegate_model::Secret;
use time::{Date, Month, PrimitiveDateTime, Time};

type HmacSha256 = Hmac<Sha256>;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "execute-api";
const TERMINATOR: &str = "aws4_request";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// Works in place of a secret that is not there, for the time it takes. As long as Amazon's are.
const STAND_IN_SECRET: &str = "........................................";

const LOWER_HEX: &[u8; 16] = b"0123456789abcdef";
const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

/// How far a request's date may be from ours (reliability: 5 minutes).
const MAX_SKEW_S: i64 = 5 * 60;

/// `X-Amz-Expires`: a second to a week.
const EXPIRES_S: std::ops::RangeInclusive<i64> = 1..=604_800;

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
        }
    }
}

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

    fn get(&self, scope: &Scope<'_>, secret: &Secret) -> Option<HmacSha256> {
        let same = |key: &&SigningKey| {
            *key.access_key_id == *scope.access_key_id
                && *key.date == *scope.date
                && *key.region == *scope.region
                && bool::from(key.secret.reveal().as_bytes().ct_eq(secret.reveal().as_bytes()))
        };
        self.keys.iter().find(same).map(|key| key.mac.clone())
    }

    fn remember(&mut self, scope: &Scope<'_>, secret: &Secret, mac: HmacSha256) {
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
        write!(out, "SigningKeys({} of {})", self.keys.len(), Self::CAPACITY)
    }
}

/// Checks `request`'s signature at `now_s`, in seconds since 1970.
///
/// `find_secret` gives the secret of an access key id; how long it takes should not depend on
/// whether there is one.
///
/// Any region is accepted. The region is a word that the caller mixed into its key and its text;
/// the signature proves the secret whatever the word is, a key derived for one region cannot be made
/// from another's, and handlers send the region of the cloud they were written for.
pub fn verify<'s>(
    request: &SignedRequest<'_>,
    find_secret: impl FnOnce(&str) -> Option<&'s Secret>,
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

    let secret = find_secret(scope.access_key_id);
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
    if let Some(key) = &remembered
        && verdict(key)
    {
        return Ok(Verified { access_key_id: scope.access_key_id.to_owned() });
    }

    // From here on all refusals cost the same: one derivation, and one verdict unless it was given
    // above.
    let key = derive(secret.map_or(STAND_IN_SECRET, Secret::reveal), &scope);
    match secret {
        Some(secret) if remembered.is_none() && verdict(&key) => {
            keys.remember(&scope, secret, key);
            Ok(Verified { access_key_id: scope.access_key_id.to_owned() })
        }
        Some(_) => Err(SignatureError::Mismatch),
        None => {
            std::hint::black_box(verdict(&key));
            Err(SignatureError::Mismatch)
        }
    }
}

/// What the request says about its signature.
struct Claim<'a> {
    form: Form,
    credential: Cow<'a, str>,
    /// Lower-case names, `;` between them.
    signed_headers: Cow<'a, str>,
    signature: Cow<'a, str>,
    date: Cow<'a, str>,
    /// Seconds after `date` that the signature is good for.
    lifetime_s: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Header,
    Query,
}

impl<'a> Claim<'a> {
    fn read(request: &SignedRequest<'a>) -> Result<Self, SignatureError> {
        use SignatureError::{Incomplete, Missing};
        let authorization = request
            .single("authorization")
            .map_err(|()| Incomplete("the request must have one Authorization header"))?;
        let scheme = authorization.and_then(|value| value.strip_prefix(ALGORITHM));
        let presigned = Presigned::find(request.raw_query)?;
        match (scheme, presigned) {
            (Some(_), Some(_)) => {
                Err(Incomplete("sign with the Authorization header or with the query, not both"))
            }
            (Some(parameters), None) => Self::from_header(parameters, request),
            // Another scheme's Authorization is for the backend, or for nobody.
            (None, Some(presigned)) => Self::from_query(presigned),
            (None, None) => match authorization {
                Some(_) => Err(Incomplete("the Authorization header must be AWS4-HMAC-SHA256")),
                None => Err(Missing),
            },
        }
    }

    fn from_header(
        parameters: &'a str,
        request: &SignedRequest<'a>,
    ) -> Result<Self, SignatureError> {
        use SignatureError::Incomplete;
        const SHAPE: SignatureError = Incomplete(
            "the Authorization header must have Credential, SignedHeaders and Signature, once each",
        );
        let mut found: [Option<&str>; 3] = [None; 3];
        for parameter in parameters.strip_prefix(' ').ok_or(SHAPE)?.split(',') {
            let (name, value) = parameter.trim_matches(' ').split_once('=').ok_or(SHAPE)?;
            let place = match name {
                "Credential" => 0,
                "SignedHeaders" => 1,
                "Signature" => 2,
                _ => return Err(SHAPE),
            };
            if found[place].replace(value).is_some() {
                return Err(SHAPE);
            }
        }
        let [Some(credential), Some(signed_headers), Some(signature)] = found else {
            return Err(SHAPE);
        };
        let single =
            |name| request.single(name).map_err(|()| Incomplete("the request must have one date"));
        let (date_header, date) = match single("x-amz-date")? {
            Some(date) => ("x-amz-date", date),
            None => match single("date")? {
                Some(date) => ("date", date),
                None => return Err(Incomplete("the request must have an X-Amz-Date header")),
            },
        };
        if !signed_headers.split(';').any(|name| name == date_header) {
            return Err(Incomplete("the date header must be signed"));
        }
        Ok(Self {
            form: Form::Header,
            credential: credential.into(),
            signed_headers: signed_headers.into(),
            signature: signature.into(),
            date: date.into(),
            lifetime_s: MAX_SKEW_S,
        })
    }

    fn from_query(presigned: Presigned<'a>) -> Result<Self, SignatureError> {
        use SignatureError::Incomplete;
        const SHAPE: SignatureError = Incomplete(
            "a presigned url must have X-Amz-Algorithm, -Credential, -Date, -Expires, \
             -SignedHeaders and -Signature, once each",
        );
        let [
            Some(algorithm),
            Some(credential),
            Some(date),
            Some(expires),
            Some(signed_headers),
            Some(signature),
        ] = presigned.values
        else {
            return Err(SHAPE);
        };
        if algorithm != ALGORITHM {
            return Err(Incomplete("X-Amz-Algorithm must be AWS4-HMAC-SHA256"));
        }
        let lifetime_s = Some(&*expires)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|seconds| EXPIRES_S.contains(seconds))
            .ok_or(Incomplete("X-Amz-Expires must be 1 to 604800 seconds"))?;
        Ok(Self { form: Form::Query, credential, signed_headers, signature, date, lifetime_s })
    }
}

/// The query's parameters of a presigned url, decoded.
struct Presigned<'a> {
    /// In the order of [`Presigned::NAMES`].
    values: [Option<Cow<'a, str>>; 6],
}

impl<'a> Presigned<'a> {
    const NAMES: [&'static str; 6] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    ];

    /// `None` for a query that does not claim to be signed.
    fn find(raw_query: &'a str) -> Result<Option<Self>, SignatureError> {
        let mut found = Self { values: Default::default() };
        for pair in raw_query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decode_str(name).decode_utf8_lossy();
            let Some(place) = Self::NAMES.iter().position(|known| *known == name) else {
                continue;
            };
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| SignatureError::Incomplete("an X-Amz parameter is not UTF-8"))?;
            if found.values[place].replace(value).is_some() {
                return Err(SignatureError::Incomplete("an X-Amz parameter is there twice"));
            }
        }
        let [algorithm, .., signature] = &found.values;
        Ok((algorithm.is_some() || signature.is_some()).then_some(found))
    }
}

/// `AKID/YYYYMMDD/region/execute-api/aws4_request`.
struct Scope<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    /// All but the access key.
    text: &'a str,
}

impl<'a> Scope<'a> {
    fn parse(credential: &'a str) -> Result<Self, SignatureError> {
        use SignatureError::{Incomplete, Scope as Wrong};
        const SHAPE: SignatureError = Incomplete(
            "the Credential must be access key, date, region, service and aws4_request, `/` between them",
        );
        let (access_key_id, text) = credential.split_once('/').ok_or(SHAPE)?;
        let mut parts = text.split('/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(SHAPE);
        let (date, region, service, terminator) = (part()?, part()?, part()?, part()?);
        if access_key_id.is_empty() || parts.next().is_some() {
            return Err(SHAPE);
        }
        if service != SERVICE {
            return Err(Wrong("the service in the credential scope must be execute-api"));
        }
        if terminator != TERMINATOR {
            return Err(Wrong("the credential scope must end in aws4_request"));
        }
        Ok(Self { access_key_id, date, region, text })
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

/// The canonical request up to the payload's hash, which the caller adds.
fn canonical_request_without_payload(
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

fn encode(byte: u8, out: &mut Vec<u8>) {
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
enum Payload {
    /// The signer did not look at the body, and says so in what it signed.
    Unsigned,
    /// SHA-256 of the body, in lower-case hex.
    Hash([u8; 64]),
}

impl Payload {
    /// boto3 signs the body's hash without sending it; the JavaScript SDKs send it too, and then it
    /// must be right even where it is not signed.
    fn of(request: &SignedRequest<'_>, claim: &Claim<'_>) -> Result<Self, SignatureError> {
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

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Unsigned => UNSIGNED_PAYLOAD.as_bytes(),
            Self::Hash(hash) => hash,
        }
    }
}

/// The key that signs on one day in one region.
fn derive(secret: &str, scope: &Scope<'_>) -> HmacSha256 {
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

/// When the signature was made.
struct SignedAt {
    /// `YYYYMMDD'T'HHMMSS'Z'`, as the string to sign has it.
    iso: String,
    unix_s: i64,
}

/// `20261122T115953Z`, or the form of a `Date` header, `Sun, 22 Nov 2026 11:59:53 GMT`.
fn parse_date(text: &str) -> Option<SignedAt> {
    let (year, month, day, hour, minute, second) = match text.as_bytes() {
        [digits @ .., b'Z'] if digits.len() == 15 && digits[8] == b'T' => (
            number(&digits[..4])?,
            number(&digits[4..6])?,
            number(&digits[6..8])?,
            number(&digits[9..11])?,
            number(&digits[11..13])?,
            number(&digits[13..])?,
        ),
        _ => {
            const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
            // The day of the week is text for people; the signature covers it.
            let rest = text.as_bytes().get(3..)?.strip_prefix(b", ")?;
            let rest = ["GMT", "+0000", "-0000"]
                .iter()
                .find_map(|zone| rest.strip_suffix(zone.as_bytes())?.strip_suffix(b" "))?;
            let &[d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ', ref clock @ ..] = rest
            else {
                return None;
            };
            let &[h1, h2, b':', n1, n2, b':', s1, s2] = clock else { return None };
            let month = MONTHS.chunks(3).position(|name| name == [m1, m2, m3])?;
            (
                number(&[y1, y2, y3, y4])?,
                u16::try_from(month).ok()? + 1,
                number(&[d1, d2])?,
                number(&[h1, h2])?,
                number(&[n1, n2])?,
                number(&[s1, s2])?,
            )
        }
    };
    let small = |number: u16| u8::try_from(number).ok();
    let date = Date::from_calendar_date(
        i32::from(year),
        Month::try_from(small(month)?).ok()?,
        small(day)?,
    );
    let time = Time::from_hms(small(hour)?, small(minute)?, small(second)?);
    Some(SignedAt {
        iso: format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"),
        unix_s: PrimitiveDateTime::new(date.ok()?, time.ok()?).assume_utc().unix_timestamp(),
    })
}

/// Up to four decimal digits.
fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
    })
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    const REQUESTS: &str = include_str!("../tests/data/sigv4_requests.json");

    /// Requests that clients of Amazon's signed and sent.
    #[derive(Deserialize)]
    struct Recorded {
        access_key_id: String,
        secret_access_key: String,
        signed_at_s: u64,
        requests: Vec<Request>,
    }

    #[derive(Clone, Deserialize)]
    struct Request {
        name: String,
        method: String,
        path: String,
        query: String,
        headers: Vec<(String, String)>,
        body: String,
    }

    fn recorded() -> &'static Recorded {
        static READ: LazyLock<Recorded> = LazyLock::new(|| {
            serde_json::from_str(REQUESTS).expect("the recorded requests are JSON")
        });
        &READ
    }

    fn named(name: &str) -> Request {
        recorded().requests.iter().find(|r| r.name == name).expect("a recorded request").clone()
    }

    impl Request {
        fn set(&mut self, name: &str, value: &str) {
            self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
            self.headers.push((name.to_owned(), value.to_owned()));
        }

        fn header(&self, name: &str) -> &str {
            &self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).expect("a header").1
        }

        /// Signs what the Authorization header says with another secret or payload, by the code
        /// that checks it.
        fn sign_again(&mut self, secret: &str, payload: &[u8]) {
            let headers = self.borrowed_headers();
            let request = self.signed_request(&headers);
            let claim = Claim::read(&request).unwrap();
            let scope = Scope::parse(&claim.credential).unwrap();
            let mut canonical = canonical_request_without_payload(&request, &claim).unwrap();
            canonical.extend_from_slice(payload);
            let text = [
                format!("{ALGORITHM}\n{}\n{}\n", claim.date, scope.text).as_bytes(),
                &hex(&Sha256::digest(&canonical).into()),
            ]
            .concat();
            let signature =
                hex(&derive(secret, &scope).chain_update(text).finalize().into_bytes().into());
            let (kept, _) = self.header("authorization").rsplit_once('=').unwrap();
            let signed = format!("{kept}={}", str::from_utf8(&signature).unwrap());
            self.set("authorization", &signed);
        }

        fn borrowed_headers(&self) -> Vec<(&str, &[u8])> {
            self.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect()
        }

        fn signed_request<'a>(&'a self, headers: &'a [(&'a str, &'a [u8])]) -> SignedRequest<'a> {
            SignedRequest {
                method: &self.method,
                raw_path: &self.path,
                raw_query: &self.query,
                headers,
                body: self.body.as_bytes(),
            }
        }

        fn verify(&self) -> Result<Verified, SignatureError> {
            self.verify_at(recorded().signed_at_s)
        }

        fn verify_at(&self, now_s: u64) -> Result<Verified, SignatureError> {
            self.verify_with(&mut SigningKeys::new(), now_s)
        }

        fn verify_with(
            &self,
            keys: &mut SigningKeys,
            now_s: u64,
        ) -> Result<Verified, SignatureError> {
            let Recorded { access_key_id, secret_access_key, .. } = recorded();
            let secret = Secret::new(secret_access_key.clone());
            self.verify_knowing(|id| (id == access_key_id).then_some(&secret), keys, now_s)
        }

        fn verify_knowing<'s>(
            &self,
            find_secret: impl FnOnce(&str) -> Option<&'s Secret>,
            keys: &mut SigningKeys,
            now_s: u64,
        ) -> Result<Verified, SignatureError> {
            let headers = self.borrowed_headers();
            verify(&self.signed_request(&headers), find_secret, keys, now_s)
        }
    }

    /// clients.md, 1.1 to 1.3, with the clients themselves as the source.
    #[test]
    fn what_boto3_and_the_javascript_sdks_sign_is_accepted() {
        let Recorded { access_key_id, signed_at_s, requests, .. } = recorded();
        let mut keys = SigningKeys::new();
        for request in requests {
            for _ in ["derived", "remembered"] {
                assert_eq!(
                    request.verify_with(&mut keys, *signed_at_s),
                    Ok(Verified { access_key_id: access_key_id.clone() }),
                    "{}",
                    request.name
                );
            }
        }
        assert_eq!(keys.keys.len(), 2, "one key, one day, two regions");
    }

    #[test]
    fn an_unsigned_request_misses_its_token() {
        let mut request = named("boto3 post");
        request.headers.retain(|(name, _)| name != "Authorization");
        let error = request.verify().unwrap_err();
        assert_eq!(error, SignatureError::Missing);
        assert_eq!(error.error_type(), "MissingAuthenticationTokenException");
        assert_eq!(error.message(), "Missing Authentication Token");
    }

    /// websocket-api, 9.6; the expected canonical string stays ours.
    #[test]
    fn a_wrong_signature_is_told_so_and_no_more() {
        let mut request = named("boto3 post");
        request.body.push('!');
        let error = request.verify().unwrap_err();
        assert_eq!(error, SignatureError::Mismatch);
        assert_eq!(
            error.message(),
            "The request signature we calculated does not match the signature you provided. \
             Check your AWS Secret Access Key and signing method."
        );
    }

    #[test]
    fn an_unknown_access_key_gets_the_answer_of_a_wrong_signature() {
        let request = named("boto3 post");
        let other = Secret::new("another secret".to_owned());
        let now_s = recorded().signed_at_s;
        let mut keys = SigningKeys::new();
        let unknown = request.verify_knowing(|_| None, &mut keys, now_s);
        let wrong = request.verify_knowing(|_| Some(&other), &mut keys, now_s);
        assert_eq!(unknown, Err(SignatureError::Mismatch));
        assert_eq!(unknown, wrong);
    }

    /// The stand-in for a missing secret must never be a secret that works.
    #[test]
    fn a_signature_made_with_the_stand_in_secret_is_refused() {
        let mut request = named("boto3 post");
        let hash = hex(&Sha256::digest(&request.body).into());
        request.sign_again(STAND_IN_SECRET, &hash);
        let stand_in = Secret::new(STAND_IN_SECRET.to_owned());
        let now_s = recorded().signed_at_s;
        let mut keys = SigningKeys::new();
        assert!(request.verify_knowing(|_| Some(&stand_in), &mut keys, now_s).is_ok());
        assert_eq!(
            request.verify_knowing(|_| None, &mut keys, now_s),
            Err(SignatureError::Mismatch)
        );
    }

    /// Somebody on the way could have put the header there.
    #[test]
    fn an_unsigned_payload_must_be_announced_by_a_signed_header() {
        let mut request = named("js v3 post with an unsigned payload");
        assert!(request.verify().is_ok());
        let changed =
            request.header("authorization").replace("host;x-amz-content-sha256;", "host;");
        request.set("authorization", &changed);
        request.sign_again(&recorded().secret_access_key, UNSIGNED_PAYLOAD.as_bytes());
        assert_eq!(request.verify(), Err(SignatureError::Mismatch));
    }

    /// reliability, line 15.
    #[test]
    fn a_date_may_be_five_minutes_off_and_no_more() {
        let request = named("boto3 post");
        let at = recorded().signed_at_s;
        assert!(request.verify_at(at + 300).is_ok());
        assert_eq!(request.verify_at(at + 301), Err(SignatureError::Expired));
        assert!(request.verify_at(at - 300).is_ok());
        assert_eq!(request.verify_at(at - 301), Err(SignatureError::NotYetCurrent));
        assert_eq!(request.verify_at(u64::MAX), Err(SignatureError::Expired));
        assert_eq!(request.verify_at(0), Err(SignatureError::NotYetCurrent));
    }

    #[test]
    fn a_presigned_url_lasts_as_long_as_it_says() {
        let request = named("presigned upgrade");
        let at = recorded().signed_at_s;
        assert!(request.query.contains("X-Amz-Expires=600"));
        assert!(request.verify_at(at + 600).is_ok());
        assert_eq!(request.verify_at(at + 601), Err(SignatureError::Expired));
        assert_eq!(request.verify_at(at - 301), Err(SignatureError::NotYetCurrent));
        for expires in ["0", "604801", "-1", "+600", "", "99999999999999999999"] {
            let mut request = request.clone();
            request.query = request.query.replace("Expires=600", &format!("Expires={expires}"));
            assert_eq!(
                request.verify(),
                Err(SignatureError::Incomplete("X-Amz-Expires must be 1 to 604800 seconds"))
            );
        }
    }

    /// A week-old url must not take a body that its signer never saw.
    #[test]
    fn a_presigned_url_takes_no_body_but_the_signed_one_unless_it_says_so() {
        let mut request = named("presigned upgrade");
        request.body = "x".to_owned();
        assert_eq!(request.verify(), Err(SignatureError::Mismatch));
        let mut request = named("js v3 presigned upgrade with an unsigned payload");
        request.body = "x".to_owned();
        assert!(request.verify().is_ok());
    }

    #[test]
    fn the_scope_must_name_the_service_the_date_and_the_terminator() {
        for (from, to, wrong) in [
            (
                "/execute-api/",
                "/lambda/",
                "the service in the credential scope must be execute-api",
            ),
            ("aws4_request,", "aws4_reques,", "the credential scope must end in aws4_request"),
            (
                "/20261122/",
                "/20261121/",
                "the date in the credential scope must be the request's date",
            ),
        ] {
            let mut request = named("boto3 post");
            let changed = request.header("Authorization").replace(from, to);
            request.set("Authorization", &changed);
            assert_eq!(request.verify(), Err(SignatureError::Scope(wrong)));
        }
    }

    #[test]
    fn the_host_and_the_date_must_be_signed() {
        for (list, wrong) in [
            ("x-amz-date", "the host header must be signed"),
            ("host", "the date header must be signed"),
            ("x-amz-date;host", "SignedHeaders must be lower-case names in order"),
            ("host;host;x-amz-date", "SignedHeaders must be lower-case names in order"),
        ] {
            let mut request = named("boto3 post");
            let changed = request.header("Authorization").replace("host;x-amz-date", list);
            request.set("Authorization", &changed);
            assert_eq!(request.verify(), Err(SignatureError::Incomplete(wrong)), "{list}");
        }
        let mut request = named("boto3 post");
        request.headers.retain(|(name, _)| name != "X-Amz-Date");
        assert_eq!(
            request.verify(),
            Err(SignatureError::Incomplete("the request must have an X-Amz-Date header"))
        );
    }

    /// Two values of a header that decides are two readings of one request.
    #[test]
    fn a_second_date_or_authorization_is_refused() {
        for name in ["X-Amz-Date", "Authorization", "X-Amz-Content-Sha256"] {
            let mut request = named("js v2 post");
            let again = request.header(name).to_owned();
            request.headers.push((name.to_owned(), again));
            assert!(request.verify().is_err(), "{name}");
        }
        let mut both = named("boto3 post");
        both.query = named("presigned upgrade").query;
        assert_eq!(
            both.verify(),
            Err(SignatureError::Incomplete(
                "sign with the Authorization header or with the query, not both"
            ))
        );
    }

    /// clients.md, 1.3: compare the header before using it.
    #[test]
    fn a_hash_of_another_body_is_refused_even_where_it_is_not_signed() {
        let mut request = named("boto3 post");
        request.set("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD);
        assert_eq!(request.verify(), Err(SignatureError::Mismatch));
        request.set("X-Amz-Content-Sha256", &"0".repeat(64));
        assert_eq!(request.verify(), Err(SignatureError::Mismatch));
        let right = hex(&Sha256::digest(&request.body).into());
        request.set("X-Amz-Content-Sha256", str::from_utf8(&right).unwrap());
        assert!(request.verify().is_ok());
    }

    #[test]
    fn a_plus_sign_is_not_the_escape_that_was_signed() {
        let mut request = named("js v3 presigned upgrade");
        assert!(request.query.contains("a%20b%2Bc"));
        request.query = request.query.replace("%2B", "+");
        assert_eq!(request.verify(), Err(SignatureError::Mismatch));
    }

    #[test]
    fn a_changed_or_revoked_secret_ends_at_once_though_its_key_is_remembered() {
        let Recorded { secret_access_key, signed_at_s, .. } = recorded();
        let old = Secret::new(secret_access_key.clone());
        let new = Secret::new("the next secret".to_owned());
        let request = named("boto3 post");
        let mut keys = SigningKeys::new();
        assert!(request.verify_knowing(|_| Some(&old), &mut keys, *signed_at_s).is_ok());
        assert!(request.verify_knowing(|_| Some(&new), &mut keys, *signed_at_s).is_err());
        assert!(request.verify_knowing(|_| None, &mut keys, *signed_at_s).is_err());
    }

    #[test]
    fn keys_are_remembered_for_right_signatures_only_and_within_bounds() {
        let mut keys = SigningKeys::new();
        let mut request = named("boto3 post");
        request.body.push('!');
        let _ = request.verify_with(&mut keys, recorded().signed_at_s);
        assert_eq!(keys.keys.len(), 0);

        let secret = Secret::new("s".to_owned());
        let regions: Vec<String> = (0..200).map(|n| format!("r{n}")).collect();
        for region in &regions {
            let scope = Scope { access_key_id: "a", date: "20261122", region, text: "" };
            keys.remember(&scope, &secret, derive("s", &scope));
        }
        assert_eq!(keys.keys.len(), SigningKeys::CAPACITY);
        let kept = |region| {
            let scope = Scope { access_key_id: "a", date: "20261122", region, text: "" };
            keys.get(&scope, &secret).is_some()
        };
        assert!(kept("r199") && kept("r136"));
        assert!(!kept("r135") && !kept("r0"));
        assert_eq!(format!("{keys:?}"), "SigningKeys(64 of 64)");
    }

    #[test]
    fn dates_are_read_in_both_forms_and_refused_in_others() {
        let at = |text| parse_date(text).map(|at| (at.iso, at.unix_s));
        let right = Some(("20261122T115953Z".to_owned(), 1_795_348_793));
        for good in
            ["20261122T115953Z", "Sun, 22 Nov 2026 11:59:53 GMT", "Sun, 22 Nov 2026 11:59:53 -0000"]
        {
            assert_eq!(at(good), right, "{good}");
        }
        for bad in [
            "",
            "20261122",
            "20261322T115953Z",
            "20260230T115953Z",
            "20261122T245953Z",
            "20261122t115953Z",
            "2026112 T115953Z",
            "+0261122T115953Z",
            "Sun, 22 Nov 2026 11:59:53",
            "Sun, 22 Nov 2026 11:59:53 PST",
            "Sun, 22 nov 2026 11:59:53 GMT",
            "Sün, 22 Nov 2026 11:59:53 GMT",
            "Sunday, 22-Nov-26 11:59:53 GMT",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    /// The parts of a request that a signature covers.
    fn parts(request: &mut Request) -> Vec<(&'static str, &mut String)> {
        let signed = if request.query.contains("X-Amz-Signature") {
            "host".to_owned()
        } else {
            let (_, list) = request.header("authorization").split_once("SignedHeaders=").unwrap();
            list.split_once(',').unwrap().0.to_owned()
        };
        let covered = |name: &str| {
            let name = name.to_ascii_lowercase();
            name == "authorization" || signed.split(';').any(|n| n == name)
        };
        let mut parts = vec![
            ("method", &mut request.method),
            ("path", &mut request.path),
            ("query", &mut request.query),
        ];
        if !request.name.contains("unsigned payload") {
            parts.push(("body", &mut request.body));
        }
        for (name, value) in &mut request.headers {
            if covered(name) {
                parts.push(("header", value));
            }
        }
        parts.retain(|(_, text)| !text.is_empty());
        parts
    }

    /// Whether two queries say the same to whoever decodes them; see the module's header.
    fn same_query(a: &str, b: &str) -> bool {
        let decoded = |query: &str| {
            let pair = |pair: &str| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let text =
                    |raw: &str| percent_decode_str(&raw.replace('+', "\u{1}")).collect::<Vec<_>>();
                (text(name), text(value))
            };
            let mut pairs: Vec<_> = query.split('&').map(pair).collect();
            pairs.sort();
            pairs
        };
        decoded(a) == decoded(b)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// reliability, line 15.
        #[test]
        fn a_tampered_byte_anywhere_is_refused(
            which in any::<prop::sample::Index>(),
            part in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            replacement in 0x21u8..0x7f,
        ) {
            let request = which.get(&recorded().requests).clone();
            let mut tampered = request.clone();
            let mut parts = parts(&mut tampered);
            let (kind, text) = part.get_mut(&mut parts);
            let mut bytes = std::mem::take(*text).into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at].is_ascii() && bytes[at] != replacement);
            bytes[at] = replacement;
            **text = String::from_utf8(bytes).unwrap();
            let kind = *kind;
            prop_assume!(kind != "query" || !same_query(&request.query, &tampered.query));
            prop_assert!(tampered.verify().is_err(), "{kind} at {at} of {}", request.name);
        }

    }

    proptest! {
        #[test]
        fn nothing_that_arrives_can_panic(
            method in ".{0,8}",
            raw_path in ".{0,40}",
            raw_query in "(X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature)=.{0,20}&|.){0,8}",
            headers in prop::collection::vec(
                (
                    "(?i)(authorization|x-amz-date|date|host|x-amz-content-sha256|.{0,6})",
                    prop_oneof![
                        prop::collection::vec(any::<u8>(), 0..40),
                        "AWS4-HMAC-SHA256 ((Credential|SignedHeaders|Signature)=[a/0-9;=]{0,20},? ?){0,4}"
                            .prop_map(String::into_bytes),
                        "AWS4-HMAC-SHA256 Credential=a/20261122/r/execute-api/aws4_request, SignedHeaders=(date;)?host(;x-amz-date)?, Signature=.{0,64}"
                            .prop_map(String::into_bytes),
                        "20261122T1159[0-9]{2}Z|.{3}, [0-9]{2} Nov 2026 11:59:53 GMT"
                            .prop_map(String::into_bytes),
                    ],
                ),
                0..6,
            ),
            body in prop::collection::vec(any::<u8>(), 0..20),
            now_s in prop_oneof![any::<u64>(), Just(1_795_348_793)],
        ) {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
            let request = SignedRequest {
                method: &method,
                raw_path: &raw_path,
                raw_query: &raw_query,
                headers: &headers,
                body: &body,
            };
            let secret = Secret::new("s".to_owned());
            let verdict = verify(&request, |_| Some(&secret), &mut SigningKeys::new(), now_s);
            prop_assert!(verdict.is_err());
        }
    }
}
