//! What a request claims about its own signature.
//!
//! In:  [`SignedRequest`], nothing decoded.
//! Out: a [`Claim`], as the Authorization header or the query makes it; its [`Scope`]; and its
//!      date as [`SignedAt`].
//!
//! Holds always: nothing here is proven, and no secret is at hand. What has two readings has none:
//! a value that decides (the header, the date, a query parameter) is there once, and a request is
//! signed in one form.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use time::{Date, Month, PrimitiveDateTime, Time};

use super::{ALGORITHM, SERVICE, SignatureError, SignedRequest, TERMINATOR};

/// How far a request's date may be from ours (reliability: 5 minutes).
pub(super) const MAX_SKEW_S: i64 = 5 * 60;

/// `X-Amz-Expires`: a second to a week.
const EXPIRES_S: std::ops::RangeInclusive<i64> = 1..=604_800;

/// What the request says about its signature.
pub(super) struct Claim<'a> {
    pub(super) form: Form,
    pub(super) credential: Cow<'a, str>,
    /// Lower-case names, `;` between them.
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    pub(super) date: Cow<'a, str>,
    /// Seconds after `date` that the signature is good for.
    pub(super) lifetime_s: i64,
    /// `X-Amz-Security-Token`.
    pub(super) session_token: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Header,
    Query,
}

impl<'a> Claim<'a> {
    pub(super) fn read(request: &SignedRequest<'a>) -> Result<Self, SignatureError> {
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
            session_token: request
                .single("x-amz-security-token")
                .map_err(|()| Incomplete("the request must have one X-Amz-Security-Token"))?
                .map(Cow::Borrowed),
        })
    }

    fn from_query(presigned: Presigned<'a>) -> Result<Self, SignatureError> {
        use SignatureError::Incomplete;
        const SHAPE: SignatureError = Incomplete(
            "a presigned url must have X-Amz-Algorithm, -Credential, -Date, -SignedHeaders and \
             -Signature, once each",
        );
        let [
            Some(algorithm),
            Some(credential),
            Some(date),
            expires,
            Some(signed_headers),
            session_token,
            Some(signature),
        ] = presigned.values
        else {
            return Err(SHAPE);
        };
        if algorithm != ALGORITHM {
            return Err(Incomplete("X-Amz-Algorithm must be AWS4-HMAC-SHA256"));
        }
        let is_number = |text: &Cow<'_, str>| text.bytes().all(|b| b.is_ascii_digit());
        let lifetime_s = match expires {
            // Signers of other services than S3 leave it out, and mean a request like any other.
            None => MAX_SKEW_S,
            Some(text) => Some(text)
                .filter(is_number)
                .and_then(|text| text.parse().ok())
                .filter(|seconds| EXPIRES_S.contains(seconds))
                .ok_or(Incomplete("X-Amz-Expires must be 1 to 604800 seconds"))?,
        };
        Ok(Self {
            form: Form::Query,
            credential,
            signed_headers,
            signature,
            date,
            lifetime_s,
            session_token,
        })
    }
}

/// The query's parameters of a presigned url, decoded.
struct Presigned<'a> {
    /// In the order of [`Presigned::NAMES`].
    values: [Option<Cow<'a, str>>; 7],
}

impl<'a> Presigned<'a> {
    const NAMES: [&'static str; 7] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Security-Token",
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
pub(super) struct Scope<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    /// All but the access key.
    pub(super) text: &'a str,
}

impl<'a> Scope<'a> {
    pub(super) fn parse(credential: &'a str) -> Result<Self, SignatureError> {
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

/// When the signature was made.
pub(super) struct SignedAt {
    /// `YYYYMMDD'T'HHMMSS'Z'`, as the string to sign has it.
    pub(super) iso: String,
    pub(super) unix_s: i64,
}

/// `20261122T115953Z`, or the form of a `Date` header, `Sun, 22 Nov 2026 11:59:53 GMT`.
pub(super) fn parse_date(text: &str) -> Option<SignedAt> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
