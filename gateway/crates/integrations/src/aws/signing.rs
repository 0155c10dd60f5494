//! Signature Version 4 on a request.
//!
//! In:  the request, credentials, what is signed for, the time.
//! Out: the request with the headers that prove who sends it.
//!
//! Holds always: what a signature needs is signed (`Host`, `Content-Type`, `X-Amz-*`, path, query
//! and body) and nothing else, so that a header which something on the way changes does no harm;
//! nothing of the request is logged.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign as sign_request,
    },
    sign::v4::SigningParams,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use tidegate_model::AwsCredentials;

use super::place::Place;
use crate::IntegrationError;

/// What only the signature may set.
const ITS_OWN: [&str; 4] =
    ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];

/// Signs `request` for `place`, and says whom it is for.
pub(super) fn sign(
    request: &mut Request<Bytes>,
    place: &Place,
    credentials: &AwsCredentials,
    now: SystemTime,
) -> Result<(), IntegrationError> {
    for name in ITS_OWN {
        request.headers_mut().remove(name);
    }
    // Here rather than where the request is made, for the crate panics without one.
    request.headers_mut().insert(header::HOST, place.host.clone());
    let signed = signature_headers(request, place, credentials, now)
        .map_err(IntegrationError::Unsignable)?;
    for (name, value) in signed {
        request.headers_mut().insert(name, value);
    }
    Ok(())
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn signature_headers(
    request: &Request<Bytes>,
    place: &Place,
    credentials: &AwsCredentials,
    now: SystemTime,
) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let token = credentials.session_token.as_ref().map(|token| token.reveal().to_owned());
    let secret = credentials.secret_access_key.reveal();
    let identity =
        Credentials::new(credentials.access_key_id.as_str(), secret, token, None, "tidegate")
            .into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(&place.region)
        .name(&place.signing_name)
        .time(now)
        .settings(settings(&place.signing_name))
        .build()?
        .into();
    let mut headers = Vec::with_capacity(request.headers().len());
    for (name, value) in request.headers() {
        let name = name.as_str();
        if matches!(name, "host" | "content-type") || name.starts_with("x-amz-") {
            headers.push((name, std::str::from_utf8(value.as_bytes())?));
        }
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let body = SignableBody::Bytes(request.body());
    let signable =
        SignableRequest::new(request.method().as_str(), target, headers.into_iter(), body)?;
    // On its lowest level the crate logs headers and query, which may hold a message.
    let (instructions, _) = tracing::dispatcher::with_default(&tracing::Dispatch::none(), || {
        sign_request(signable, &params)
    })?
    .into_parts();
    let (added, _) = instructions.into_parts();
    added
        .into_iter()
        .map(|added| {
            let mut value = HeaderValue::from_str(added.value())?;
            value.set_sensitive(added.sensitive());
            Ok((HeaderName::from_static(added.name()), value))
        })
        .collect()
}

/// S3 differs from all others: its paths are names, taken as they are, and the body's hash is a
/// header.
fn settings(signing_name: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if signing_name == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    settings
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        time::{Duration, UNIX_EPOCH},
    };

    use tidegate_model::{Endpoint, Secret};
    use tidegate_testkit::Signer;

    use super::*;

    fn place(signing_name: &str) -> Place {
        Place {
            endpoint: Endpoint::Http("h".to_owned(), 80),
            host: HeaderValue::from_static("h"),
            base_path: String::new(),
            region: "eu-west-1".to_owned(),
            signing_name: signing_name.to_owned(),
        }
    }

    fn credentials() -> AwsCredentials {
        AwsCredentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("s3cret".to_owned()),
            session_token: Some(Secret::new("to/ken".to_owned())),
        }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_440_938_160)
    }

    fn request(headers: &[(&'static str, &str)]) -> Request<Bytes> {
        let mut request = Request::post("/a%3Ab/c?z=%20&y={").body(Bytes::from("{}")).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request
    }

    fn authorization(request: &Request<Bytes>) -> &str {
        request.headers()[header::AUTHORIZATION].to_str().unwrap()
    }

    /// Another implementation of the same published algorithm signs alike.
    #[test]
    fn a_request_is_signed_as_the_algorithm_says() {
        let headers = [("host", "h"), ("content-type", "a/b"), ("x-amz-target", "T.A")];
        let mut request = request(&headers);
        sign(&mut request, &place("events"), &credentials(), now()).unwrap();
        let signer = Signer {
            region: "eu-west-1".to_owned(),
            service: "events".to_owned(),
            session_token: Some("to/ken".to_owned()),
            ..Signer::new("AKIDEXAMPLE", "s3cret")
        };
        let target = "/a%3Ab/c?z=%20&y=%7B";
        for (name, value) in signer.sign("POST", target, &headers, b"{}", now()) {
            assert_eq!(request.headers()[name.as_str()], value.as_str(), "{name}");
        }
        assert!(request.headers()["x-amz-security-token"].is_sensitive());
    }

    #[test]
    fn nothing_but_the_signature_sets_its_own_headers() {
        let mapped: Vec<_> = ITS_OWN.into_iter().map(|name| (name, "mine")).collect();
        let mut request = request(&mapped);
        sign(&mut request, &place("sqs"), &credentials(), now()).unwrap();
        assert!(request.headers().values().all(|value| value != "mine"));
    }

    #[test]
    fn a_header_that_may_change_on_the_way_is_not_signed() {
        let mut request = request(&[("host", "h"), ("user-agent", "u"), ("x-custom", "ä")]);
        sign(&mut request, &place("sqs"), &credentials(), now()).unwrap();
        let signed = "SignedHeaders=host;x-amz-date;x-amz-security-token,";
        assert!(authorization(&request).contains(signed), "{}", authorization(&request));
    }

    /// Takes every event of every level, and keeps their number.
    struct Counting(Arc<AtomicUsize>);

    impl tracing::Subscriber for Counting {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, SeqCst);
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn nothing_of_a_request_is_logged_on_any_level() {
        let events = Arc::new(AtomicUsize::new(0));
        tracing::subscriber::with_default(Counting(Arc::clone(&events)), || {
            tracing::trace!("counted");
            sign(&mut request(&[]), &place("sqs"), &credentials(), now()).unwrap();
        });
        assert_eq!(events.load(SeqCst), 1);
    }

    #[test]
    fn a_request_to_s3_has_its_bodys_hash_in_a_header() {
        let mut request = request(&[("host", "h")]);
        sign(&mut request, &place("s3"), &credentials(), now()).unwrap();
        assert!(request.headers().contains_key("x-amz-content-sha256"));
        assert!(authorization(&request).contains("host;x-amz-content-sha256;x-amz-date"));
    }
}
