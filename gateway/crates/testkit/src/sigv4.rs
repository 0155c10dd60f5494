//! Signing requests as an AWS SDK does (Signature Version 4), for tests of who may call what.
//!
//! In:  method, raw target, headers, body, time, a key. Out: the headers or the query to add.
//!
//! Holds always: the canonical path is the target's path with each segment escaped once more,
//! as SDKs do for every service but S3, and `//` is kept.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::RecordedRequest;

/// A key and what it signs for.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Named in the signature.
    pub access_key_id: String,
    /// What the signature is made with.
    pub secret_access_key: String,
    /// Region of the scope.
    pub region: String,
    /// Service of the scope; `execute-api` for gateways.
    pub service: String,
    /// Goes along as `X-Amz-Security-Token`.
    pub session_token: Option<String>,
}

impl Signer {
    /// For `execute-api` in `us-east-1`, without a session token.
    pub fn new(access_key_id: &str, secret_access_key: &str) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
            region: "us-east-1".to_owned(),
            service: "execute-api".to_owned(),
            session_token: None,
        }
    }

    /// The headers to add: `X-Amz-Date`, perhaps `X-Amz-Security-Token`, and `Authorization`.
    /// `headers` are those to be signed along; `Host` must be among them.
    pub fn sign(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        at: SystemTime,
    ) -> Vec<(String, String)> {
        let date = amz_date(at);
        let mut added = vec![("X-Amz-Date".to_owned(), date.clone())];
        if let Some(token) = &self.session_token {
            added.push(("X-Amz-Security-Token".to_owned(), token.clone()));
        }
        let own = added.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signed = canonical_headers(headers.iter().copied().chain(own));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let signature =
            self.signature(method, path, &canonical_query(query), &signed, &hex_hash(body), &date);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}",
            self.access_key_id,
            self.scope(&date),
            names(&signed),
        );
        added.push(("Authorization".to_owned(), authorization));
        added
    }

    /// The target with the signature in its query, as browsers need it for an upgrade.
    /// `headers` as for [`Self::sign`].
    pub fn presign(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        expires_s: u32,
        at: SystemTime,
    ) -> String {
        let date = amz_date(at);
        let signed = canonical_headers(headers.iter().copied());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let credential = format!("{}/{}", self.access_key_id, self.scope(&date));
        let mut parameters = vec![
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", credential),
            ("X-Amz-Date", date.clone()),
            ("X-Amz-Expires", expires_s.to_string()),
            ("X-Amz-SignedHeaders", names(&signed)),
        ];
        if let Some(token) = &self.session_token {
            parameters.push(("X-Amz-Security-Token", token.clone()));
        }
        let mut query = query.to_owned();
        for (name, value) in parameters {
            let and = if query.is_empty() { "" } else { "&" };
            query += &format!("{and}{name}={}", escape(&value));
        }
        let empty = hex_hash(b"");
        let signature =
            self.signature(method, path, &canonical_query(&query), &signed, &empty, &date);
        format!("{path}?{query}&X-Amz-Signature={signature}")
    }

    /// What of a request is not as this signer would have signed it within the last two minutes:
    /// the key, the scope's region and service, the signature; `None` when all is.
    ///
    /// The session token is compared where this signer has one.
    pub fn objection(&self, request: &RecordedRequest) -> Option<String> {
        let Some(authorization) = request.header("authorization") else {
            return Some("there is no Authorization".to_owned());
        };
        let signed = authorization
            .split_once("SignedHeaders=")
            .and_then(|(_, rest)| rest.split_once(','))
            .map_or("", |(names, _)| names);
        // Those the signer adds itself.
        let own = ["x-amz-date", "x-amz-security-token"];
        let headers: Vec<_> = signed
            .split(';')
            .filter(|name| !own.contains(name))
            .map(|name| (name, request.header(name).unwrap_or_default()))
            .collect();
        if !headers.iter().any(|(name, _)| *name == "host") {
            return Some(format!("host is not signed: {authorization}"));
        }
        let date = request.header("x-amz-date").unwrap_or_default();
        let signed_anew = (0..120)
            .filter_map(|age_s| SystemTime::now().checked_sub(Duration::from_secs(age_s)))
            .map(|at| self.sign(&request.method, &request.target, &headers, &request.body, at))
            .find(|added| added[0].1 == date);
        let Some(added) = signed_anew else {
            return Some(format!("it was not signed just now: {date:?}"));
        };
        let wrong = added.iter().find(|(name, value)| request.header(name) != Some(value))?;
        Some(format!("{} is {:?}, not {:?}", wrong.0, request.header(&wrong.0), wrong.1))
    }

    fn scope(&self, date: &str) -> String {
        format!("{}/{}/{}/aws4_request", &date[..8], self.region, self.service)
    }

    fn signature(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &BTreeMap<String, String>,
        body_hash: &str,
        date: &str,
    ) -> String {
        let path = path.split('/').map(escape).collect::<Vec<_>>().join("/");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request =
            format!("{method}\n{path}\n{query}\n{lines}\n{}\n{body_hash}", names(headers));
        let scope = self.scope(date);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex_hash(request.as_bytes()));
        let key = format!("AWS4{}", self.secret_access_key).into_bytes();
        let key = scope.split('/').fold(key, |key, part| hmac(&key, part.as_bytes()));
        hex(&hmac(&key, text.as_bytes()))
    }
}

/// Lower-case names, trimmed values, several values of one name joined by commas.
fn canonical_headers<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, value) in headers {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        all.entry(name.to_ascii_lowercase())
            .and_modify(|known: &mut String| *known += &format!(",{value}"))
            .or_insert(value);
    }
    all
}

fn names(headers: &BTreeMap<String, String>) -> String {
    headers.keys().map(String::as_str).collect::<Vec<_>>().join(";")
}

/// Pairs sorted by name, then value. They are escaped already, as they stand in the target.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// RFC 3986's unreserved characters stay, every other byte becomes `%XX`.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(byte.into());
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20150830T123600Z`.
fn amz_date(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (since / 86_400, since % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Days since 1970-01-01 as a date: eras of 400 years, counted from 1 March of year 0.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015-08-30 12:36:00 UTC, the time of AWS's Signature Version 4 test suite.
    fn suite_time() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_440_938_160)
    }

    fn suite_signer() -> Signer {
        Signer {
            service: "service".to_owned(),
            ..Signer::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(amz_date(suite_time()), "20150830T123600Z");
        assert_eq!(amz_date(UNIX_EPOCH + Duration::from_secs(1_709_164_799)), "20240228T235959Z");
        assert_eq!(amz_date(UNIX_EPOCH + Duration::from_secs(1_709_164_800)), "20240229T000000Z");
        assert_eq!(amz_date(UNIX_EPOCH), "19700101T000000Z");
    }

    /// AWS's Signature Version 4 test suite, case get-vanilla.
    #[test]
    fn a_plain_get_is_signed_as_in_the_published_suite() {
        let headers = [("Host", "example.amazonaws.com")];
        let added = suite_signer().sign("GET", "/", &headers, b"", suite_time());
        let wanted = "AWS4-HMAC-SHA256 \
            Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
            SignedHeaders=host;x-amz-date, \
            Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert_eq!(added[1], ("Authorization".to_owned(), wanted.to_owned()));
    }

    #[test]
    fn each_part_of_the_request_changes_the_signature() {
        let sign = |method, target, host, body: &[u8]| {
            suite_signer().sign(method, target, &[("Host", host)], body, suite_time())[1].clone()
        };
        let base = sign("POST", "/a?b=c&d=e", "h", b"x");
        for other in [
            sign("PUT", "/a?b=c&d=e", "h", b"x"),
            sign("POST", "/%61?b=c&d=e", "h", b"x"),
            sign("POST", "/a?b=c&d=f", "h", b"x"),
            sign("POST", "/a?b=c&d=e", "g", b"x"),
            sign("POST", "/a?b=c&d=e", "h", b"y"),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(base, sign("POST", "/a?d=e&b=c", "h", b"x"), "the query's order does not count");
    }

    #[test]
    fn a_presigned_target_carries_everything_but_the_secret() {
        let signer = Signer { session_token: Some("to/ken".to_owned()), ..suite_signer() };
        let target = signer.presign("GET", "/prod?x=1", &[("Host", "h")], 60, suite_time());
        assert!(target.starts_with("/prod?x=1&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="));
        assert!(target.contains("&X-Amz-Security-Token=to%2Fken"));
        assert!(target.contains("&X-Amz-Signature="));
        assert!(!target.contains(&signer.secret_access_key));
    }
}
