//! What is accepted and what is refused, on requests that clients of Amazon's signed and sent.

use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde::Deserialize;

use super::{canonical_request::UNSIGNED_PAYLOAD, *};

const REQUESTS: &str = include_str!("../../tests/data/sigv4_requests.json");

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
    static READ: LazyLock<Recorded> =
        LazyLock::new(|| serde_json::from_str(REQUESTS).expect("the recorded requests are JSON"));
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
        let signature = signature(secret, &claim, &scope, &canonical);
        let (kept, _) = self.header("authorization").rsplit_once('=').unwrap();
        let signed = format!("{kept}={signature}");
        self.set("authorization", &signed);
    }

    /// The same for what the query says, and a body of nothing.
    fn sign_query_again(&mut self) {
        let headers = self.borrowed_headers();
        let request = self.signed_request(&headers);
        let claim = Claim::read(&request).unwrap();
        let scope = Scope::parse(&claim.credential).unwrap();
        let mut canonical = canonical_request_without_payload(&request, &claim).unwrap();
        canonical.extend_from_slice(&hex(&Sha256::digest("").into()));
        let signature = signature(&recorded().secret_access_key, &claim, &scope, &canonical);
        let (kept, _) = self.query.rsplit_once("X-Amz-Signature=").unwrap();
        self.query = format!("{kept}X-Amz-Signature={signature}");
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

    fn verify_with(&self, keys: &mut SigningKeys, now_s: u64) -> Result<Verified, SignatureError> {
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

    /// With a key whose session token is `token`.
    fn verify_temporary(&self, token: &str, keys: &mut SigningKeys) -> Result<(), SignatureError> {
        let Recorded { access_key_id, secret_access_key, signed_at_s, .. } = recorded();
        let key = AccessKey {
            access_key_id: access_key_id.clone(),
            secret_access_key: Secret::new(secret_access_key.clone()),
            session_token: Some(Secret::new(token.to_owned())),
            user: None,
            policy: None,
        };
        let headers = self.borrowed_headers();
        let find = |id: &str| (id == key.access_key_id).then_some(&key);
        verify(&self.signed_request(&headers), find, keys, *signed_at_s).map(drop)
    }
}

fn signature(secret: &str, claim: &Claim<'_>, scope: &Scope<'_>, canonical: &[u8]) -> String {
    let text = [
        format!("{ALGORITHM}\n{}\n{}\n", claim.date, scope.text).as_bytes(),
        &hex(&Sha256::digest(canonical).into()),
    ]
    .concat();
    let signature = hex(&derive(secret, scope).chain_update(text).finalize().into_bytes().into());
    str::from_utf8(&signature).unwrap().to_owned()
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
    assert_eq!(keys.len(), 2, "one key, one day, two regions");
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
    assert_eq!(request.verify_knowing(|_| None, &mut keys, now_s), Err(SignatureError::Mismatch));
}

/// Somebody on the way could have put the header there.
#[test]
fn an_unsigned_payload_must_be_announced_by_a_signed_header() {
    let mut request = named("js v3 post with an unsigned payload");
    assert!(request.verify().is_ok());
    let changed = request.header("authorization").replace("host;x-amz-content-sha256;", "host;");
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

/// Amplify and aws4 sign an upgrade without saying how long it is good for.
#[test]
fn a_presigned_url_that_does_not_say_lasts_five_minutes() {
    let mut request = named("presigned upgrade");
    request.query = request.query.replace("X-Amz-Expires=600&", "");
    request.sign_query_again();
    let at = recorded().signed_at_s;
    assert!(request.verify_at(at + 300).is_ok());
    assert_eq!(request.verify_at(at + 301), Err(SignatureError::Expired));
}

/// websocket-api, 9.6: both forms.
#[test]
fn a_temporary_key_needs_its_own_session_token() {
    const TOKEN: &str = "FQoGZXIvYXdzEXAMPLE//token+with=signs";
    let mut keys = SigningKeys::new();
    for name in [
        "boto3 post with a session token",
        "presigned upgrade with a session token",
        "js v3 get with a session token",
    ] {
        for _ in ["derived", "remembered"] {
            assert_eq!(named(name).verify_temporary(TOKEN, &mut keys), Ok(()), "{name}");
            for other in ["", "FQoGZXIvYXdzEXAMPLE", &TOKEN.to_lowercase()] {
                let refused = named(name).verify_temporary(other, &mut keys);
                assert_eq!(refused, Err(SignatureError::SessionToken), "{name} {other}");
            }
        }
    }
    for name in ["boto3 post", "presigned upgrade", "js v3 post"] {
        let refused = named(name).verify_temporary(TOKEN, &mut keys);
        assert_eq!(refused, Err(SignatureError::SessionToken), "{name}");
    }
    let error = SignatureError::SessionToken;
    assert_eq!(error.error_type(), "UnrecognizedClientException");
    assert_eq!(error.message(), "The security token included in the request is invalid.");
}

/// Whoever does not know the secret learns nothing of the token.
#[test]
fn a_wrong_signature_is_a_mismatch_whatever_the_session_token() {
    let mut request = named("boto3 post with a session token");
    request.body.push('!');
    for token in ["FQoGZXIvYXdzEXAMPLE//token+with=signs", "another"] {
        let refused = request.verify_temporary(token, &mut SigningKeys::new());
        assert_eq!(refused, Err(SignatureError::Mismatch));
    }
    // The token is part of what is signed.
    let mut request = named("presigned upgrade with a session token");
    request.query = request.query.replace("EXAMPLE", "SAMPLE");
    let refused =
        request.verify_temporary("FQoGZXIvYXdzSAMPLE//token+with=signs", &mut SigningKeys::new());
    assert_eq!(refused, Err(SignatureError::Mismatch));
    let mut request = named("boto3 post with a session token");
    request.headers.push(("x-amz-security-token".to_owned(), "x".to_owned()));
    assert_eq!(
        request.verify(),
        Err(SignatureError::Incomplete("the request must have one X-Amz-Security-Token"))
    );
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
        ("/execute-api/", "/lambda/", "the service in the credential scope must be execute-api"),
        ("aws4_request,", "aws4_reques,", "the credential scope must end in aws4_request"),
        ("/20261122/", "/20261121/", "the date in the credential scope must be the request's date"),
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
    assert_eq!(keys.len(), 0);

    let secret = Secret::new("s".to_owned());
    let regions: Vec<String> = (0..200).map(|n| format!("r{n}")).collect();
    for region in &regions {
        let scope = Scope { access_key_id: "a", date: "20261122", region, text: "" };
        keys.remember(&scope, &secret, derive("s", &scope));
    }
    assert_eq!(keys.len(), SigningKeys::CAPACITY);
    let kept = |region| {
        let scope = Scope { access_key_id: "a", date: "20261122", region, text: "" };
        keys.get(&scope, &secret).is_some()
    };
    assert!(kept("r199") && kept("r136"));
    assert!(!kept("r135") && !kept("r0"));
    assert_eq!(format!("{keys:?}"), "SigningKeys(64 of 64)");
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
