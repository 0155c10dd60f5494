//! Who may call `@connections`: signatures, and what stands in their place on loopback
//! (websocket-api, section 10 and item 112; clients, 1.3; tidegate, section 3; reliability, lines 15
//! and 19).
//!
//! In:  calls that are signed, unsigned, tampered with, late, or of strangers.
//! Out: 200, or a 403 that tells nothing.
//!
//! Holds always: a refused call changes nothing; the client's next message shows it.

use std::time::{Duration, SystemTime};

use tidegate_testkit::{HttpResponse, Signer, TestGateway, http_call};

use crate::management::{Open, assert_error};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A call with a signature of now, as an SDK sends it.
pub(crate) async fn signed_call(
    gateway: &TestGateway,
    signer: &Signer,
    method: &str,
    target: &str,
    body: &[u8],
) -> HttpResponse {
    let host = gateway.address().to_string();
    let added = signer.sign(method, target, &[("Host", &host)], body, SystemTime::now());
    let mut headers = vec![("Host", host.as_str())];
    headers.extend(added.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    http_call(&gateway.http_url(), method, target, &headers, body).await
}

/// A gateway that wants signatures, one open connection, and calls to it.
struct Signed {
    open: Open,
    host: String,
}

impl Signed {
    async fn start() -> Self {
        let open = Open::start_with(|toml| toml.signed(KEY, SECRET)).await;
        let host = open.gateway.address().to_string();
        Self { open, host }
    }

    /// Signs `method target body` and sends what `tamper` makes of it.
    async fn call(
        &self,
        signer: &Signer,
        at: SystemTime,
        tamper: impl FnOnce(&mut Sent),
    ) -> HttpResponse {
        let mut sent = Sent {
            method: "POST".to_owned(),
            target: self.open.target(),
            headers: vec![("Host".to_owned(), self.host.clone())],
            body: b"signed".to_vec(),
        };
        let headers = [("Host", self.host.as_str())];
        sent.headers.extend(signer.sign(&sent.method, &sent.target, &headers, &sent.body, at));
        tamper(&mut sent);
        let headers: Vec<_> =
            sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let url = self.open.gateway.http_url();
        http_call(&url, &sent.method, &sent.target, &headers, &sent.body).await
    }
}

/// Changes a request after it was signed.
type Tamper = Box<dyn Fn(&mut Sent)>;

struct Sent {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn header(&mut self, name: &str) -> &mut String {
        let found = self.headers.iter_mut().find(|(own, _)| own.eq_ignore_ascii_case(name));
        &mut found.expect("a header of the request").1
    }
}

/// websocket-api, item 112 and section 10; clients, 1.3: signed over the raw path, runs of `/`
/// as one.
#[tokio::test]
async fn a_signed_call_is_served_in_every_spelling_of_its_path() {
    let mut signed = Signed::start().await;
    let signer = Signer::new(KEY, SECRET);
    let now = SystemTime::now();
    assert_eq!(signed.call(&signer, now, |_| ()).await.status, 200);
    assert_eq!(signed.open.client.next_text().await, "signed");
    let id = signed.open.id.clone();
    let escaped = id.replace('=', "%3D");
    for target in [
        format!("/prod/@connections/{id}"),
        format!("/prod/@connections/{escaped}"),
        format!("/prod/%40connections/{escaped}"),
    ] {
        for (method, status) in [("GET", 200), ("POST", 200)] {
            let gateway = &signed.open.gateway;
            let response = signed_call(gateway, &signer, method, &target, b"").await;
            assert_eq!(response.status, status, "{target}: {response:?}");
        }
        assert_eq!(signed.open.client.next_text().await, "");
    }
    // JS v3 signs the path with one slash and sends it with two.
    let response =
        signed.call(&signer, now, |sent| sent.target = format!("/prod//@connections/{id}")).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(signed.open.client.next_text().await, "signed");
}

/// reliability, lines 15 and 19: a tampered byte anywhere, a stranger's key.
#[tokio::test]
async fn a_tampered_call_is_answered_403_and_changes_nothing() {
    let mut signed = Signed::start().await;
    let signer = Signer::new(KEY, SECRET);
    let now = SystemTime::now();
    let flip = |text: &mut String| {
        let last = text.pop().expect("not empty");
        text.push(if last == '0' { '1' } else { '0' });
    };
    let tampers: [(&str, Tamper); 9] = [
        ("method", Box::new(|sent| sent.method = "DELETE".to_owned())),
        ("path", Box::new(|sent| sent.target = sent.target.replace("prod", "%70rod"))),
        ("query", Box::new(|sent| sent.target += "?code=4000")),
        ("body", Box::new(|sent| sent.body = b"signeD".to_vec())),
        ("host", Box::new(|sent| *sent.header("host") = "test.localhost".to_owned())),
        (
            "date",
            Box::new(move |sent| {
                // Still a time of now, but another one than was signed.
                let date = sent.header("x-amz-date");
                let digit = if date.as_bytes()[14] == b'9' { "8" } else { "9" };
                date.replace_range(14..15, digit);
            }),
        ),
        ("signature", Box::new(move |sent| flip(sent.header("authorization")))),
        (
            "key",
            Box::new(|sent| {
                let header = sent.header("authorization");
                *header = header.replace(KEY, "AKIDSTRANGER");
            }),
        ),
        (
            "scope",
            Box::new(|sent| {
                let header = sent.header("authorization");
                *header = header.replace("us-east-1", "us-east-2");
            }),
        ),
    ];
    for (what, tamper) in tampers {
        let response = signed.call(&signer, now, tamper).await;
        assert_eq!(response.status, 403, "{what}: {response:?}");
        let error_type = response.header("x-amzn-errortype").expect("a class");
        assert_error(&response, 403, error_type);
        assert!(!response.text().contains(SECRET) && !response.text().contains("AKID"));
    }
    signed.open.client.ping_pong().await; // nothing came, nothing was closed
    assert_eq!(signed.call(&signer, now, |_| ()).await.status, 200);
}

/// reliability, line 19: an unknown key and a wrong secret are told in the same words.
#[tokio::test]
async fn a_stranger_learns_nothing_from_the_answer() {
    let mut signed = Signed::start().await;
    let mut answers = Vec::new();
    for signer in [Signer::new(KEY, "wrong"), Signer::new("AKIDSTRANGER", SECRET)] {
        // Whether the connection exists is nobody's business either.
        for id in [signed.open.id.clone(), "L0SM9cOFvHcCIhw=".to_owned(), "bad".to_owned()] {
            let target = format!("/prod/@connections/{id}");
            let response = signed_call(&signed.open.gateway, &signer, "GET", &target, b"").await;
            let error_type = response.header("x-amzn-errortype").unwrap_or_default().to_owned();
            answers.push((response.status, error_type, response.text().to_owned()));
        }
    }
    assert_eq!(answers[0].0, 403);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    signed.open.client.ping_pong().await;
}

/// reliability, line 15: dates outside 5 minutes.
#[tokio::test]
async fn a_signature_is_good_for_five_minutes_either_way() {
    let mut signed = Signed::start().await;
    let signer = Signer::new(KEY, SECRET);
    let now = SystemTime::now();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for (at, status) in [
        (now - minutes(6), 403),
        (now + minutes(6), 403),
        (now - minutes(24 * 60), 403),
        (now - minutes(4), 200),
        (now + minutes(4), 200),
    ] {
        let response = signed.call(&signer, at, |_| ()).await;
        assert_eq!(response.status, status, "{response:?}");
        if status == 200 {
            assert_eq!(signed.open.client.next_text().await, "signed");
        }
    }
    signed.open.client.ping_pong().await;
}

/// reliability, line 19; websocket-api, section 10: unsigned, or signed in another way.
#[tokio::test]
async fn an_unsigned_call_is_answered_403() {
    let mut signed = Signed::start().await;
    let other_service = Signer { service: "lambda".to_owned(), ..Signer::new(KEY, SECRET) };
    let response = signed.call(&other_service, SystemTime::now(), |_| ()).await;
    assert_eq!(response.status, 403, "{response:?}");
    let url = signed.open.gateway.http_url();
    for authorization in [
        None,
        Some(""),
        Some("Basic QUtJREVYQU1QTEU6c2VjcmV0"),
        Some("Bearer token"),
        Some("AWS4-HMAC-SHA256"),
        Some("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE, SignedHeaders=host, Signature=00"),
    ] {
        let headers: Vec<_> = authorization.iter().map(|value| ("Authorization", *value)).collect();
        for method in ["GET", "POST", "DELETE"] {
            let target = signed.open.target();
            let response = http_call(&url, method, &target, &headers, b"").await;
            let error_type = response.header("x-amzn-errortype").unwrap_or_default();
            assert_error(&response, 403, error_type);
            if authorization.is_none() {
                let known = ["ForbiddenException", "MissingAuthenticationTokenException"];
                assert!(known.contains(&error_type), "{error_type}");
            }
        }
    }
    signed.open.client.ping_pong().await;
}

/// tidegate, section 3: `auth = "none"` is for loopback peers. What a header claims changes it in
/// neither direction: a spoofed address does not shut a loopback peer out, since it is not read.
#[tokio::test]
async fn what_headers_claim_of_the_callers_address_does_not_matter() {
    let mut open = Open::start().await;
    let url = open.gateway.http_url();
    for headers in [
        [("X-Forwarded-For", "203.0.113.7")],
        [("Forwarded", "for=203.0.113.7")],
        [("X-Real-IP", "203.0.113.7")],
    ] {
        let response = http_call(&url, "POST", &open.target(), &headers, b"x").await;
        assert_eq!(response.status, 200, "{headers:?}");
        assert_eq!(open.client.next_text().await, "x");
    }
    // And where signatures are wanted, claiming to be local does not help.
    let signed = Signed::start().await;
    let url = signed.open.gateway.http_url();
    for headers in [[("X-Forwarded-For", "127.0.0.1")], [("Forwarded", "for=127.0.0.1")]] {
        let response = http_call(&url, "DELETE", &signed.open.target(), &headers, b"").await;
        assert_eq!(response.status, 403, "{headers:?}");
    }
}
