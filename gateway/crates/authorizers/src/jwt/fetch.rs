//! One fetch of an issuer's keys, with the discovery document before it where the configuration
//! names no address.
//!
//! In:  the issuer, where its keys are, and a core's connections.
//! Out: the keys and how long they may be relied on, or why there are none.
//!
//! Holds always: a fetch ends within [`FETCH_TIMEOUT`]; a document is at most
//! [`MAX_DOCUMENT_BYTES`]; a discovery document of another issuer gives no keys (OpenID Connect
//! Discovery 1.0, 4.3), and what it names is not asked over a weaker scheme than itself.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tidegate_integrations::{BackendPools, IntegrationError};
use tidegate_model::{BackendUri, Endpoint, InvalidUri, JwtKeys, UriTemplate};
use tokio::time::Instant;

use super::key_set::{InvalidKeySet, KeySet};

/// Both documents together.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// How long keys are relied on where their issuer does not say, and the bounds of what it may say.
const LIFETIME: Duration = Duration::from_secs(10 * 60);
const MIN_LIFETIME: Duration = Duration::from_secs(60);
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Why an issuer's keys could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{document}: {cause}")]
pub struct KeyFetchError {
    document: Document,
    #[source]
    cause: Cause,
}

#[derive(Debug, Clone, Copy)]
enum Document {
    Discovery,
    Keys,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("no answer that can be used")]
    NoAnswer(#[source] IntegrationError),
    #[error("answered {0} instead of 200")]
    Status(StatusCode),
    #[error("it has no text `issuer` and `jwks_uri`")]
    Discovery(#[source] serde_json::Error),
    /// At most its first 200 characters.
    #[error("its `issuer` is {0:?}, which is not the configured one")]
    Issuer(String),
    #[error("its `jwks_uri` is none to call")]
    KeysUri(#[source] InvalidUri),
    #[error("its `jwks_uri` must be https, as the document's own address")]
    WeakerScheme,
    #[error("there are no keys in it")]
    Keys(#[source] InvalidKeySet),
}

/// Keys as they were published.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    /// How long they are relied on before they are asked for again.
    pub(super) lifetime: Duration,
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

impl std::fmt::Display for Document {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Discovery => "the issuer's discovery document",
            Self::Keys => "the issuer's key document",
        })
    }
}

impl Document {
    fn failed(self, cause: Cause) -> KeyFetchError {
        KeyFetchError { document: self, cause }
    }
}

/// Fetches the keys of `issuer` from `place`.
pub(super) async fn fetch(
    issuer: &str,
    place: &JwtKeys,
    pools: &BackendPools,
) -> Result<Fetched, KeyFetchError> {
    let deadline = Instant::now() + FETCH_TIMEOUT;
    let get = async |document: Document, uri: &BackendUri| {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = pools.fetch(uri, MAX_DOCUMENT_BYTES, left).await;
        let answer = answer.map_err(|error| document.failed(Cause::NoAnswer(error)))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => Err(document.failed(Cause::Status(status))),
        }
    };
    let found;
    let uri = match place {
        JwtKeys::Jwks(uri) => uri,
        JwtKeys::Discovery(uri) => {
            let document = get(Document::Discovery, uri).await?;
            found = keys_uri(issuer, uri, document.body())
                .map_err(|cause| Document::Discovery.failed(cause))?;
            &found
        }
    };
    let document = get(Document::Keys, uri).await?;
    let keys = KeySet::parse(document.body())
        .map_err(|error| Document::Keys.failed(Cause::Keys(error)))?;
    Ok(Fetched { keys, lifetime: lifetime(document.headers()) })
}

/// Where the discovery document at `from` says that the keys of `issuer` are.
fn keys_uri(issuer: &str, from: &BackendUri, document: &[u8]) -> Result<BackendUri, Cause> {
    let document: DiscoveryDocument = serde_json::from_slice(document).map_err(Cause::Discovery)?;
    if document.issuer != issuer {
        return Err(Cause::Issuer(document.issuer.chars().take(200).collect()));
    }
    let uri = UriTemplate::parse(&document.jwks_uri)
        .and_then(|uri| uri.expand(&BTreeMap::new()))
        .map_err(Cause::KeysUri)?;
    match (&from.endpoint, &uri.endpoint) {
        (_, Endpoint::Https(..)) | (Endpoint::Http(..) | Endpoint::Unix(_), Endpoint::Http(..)) => {
            Ok(uri)
        }
        _ => Err(Cause::WeakerScheme),
    }
}

/// `max-age` of `Cache-Control` within the bounds (RFC 9111, 5.2.2.1).
fn lifetime(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter();
    let max_age_s = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|directive| directive.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
        .find_map(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok());
    max_age_s.map_or(LIFETIME, Duration::from_secs).clamp(MIN_LIFETIME, MAX_LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> BackendUri {
        UriTemplate::parse(text).unwrap().expand(&BTreeMap::new()).unwrap()
    }

    #[test]
    fn keys_are_relied_on_for_as_long_as_their_issuer_says_within_bounds() {
        let of = |text: &'static str| {
            let value = header::HeaderValue::from_static(text);
            lifetime(&HeaderMap::from_iter([(header::CACHE_CONTROL, value)])).as_secs()
        };
        assert_eq!(of("public, max-age=3600, must-revalidate"), 3600);
        assert_eq!(of("Max-Age = \"120\""), 120);
        assert_eq!(of("max-age=0"), 60);
        assert_eq!(of("max-age=31536000"), 86_400);
        assert_eq!(of("max-age=18446744073709551616"), 600);
        assert_eq!(of("s-maxage=5, no-cache"), 600);
        assert_eq!(lifetime(&HeaderMap::new()).as_secs(), 600);
    }

    #[test]
    fn a_discovery_document_must_be_the_issuers_and_name_no_weaker_address() {
        let issuer = "https://id.example.com";
        let https = uri("https://id.example.com/.well-known/openid-configuration");
        let verdict = |from: &BackendUri, issuer_says: &str, keys: &str| {
            let document = format!(r#"{{"issuer":"{issuer_says}","jwks_uri":"{keys}"}}"#);
            keys_uri(issuer, from, document.as_bytes()).map_err(|cause| cause.to_string())
        };
        let keys = "https://keys.example.com/jwks?v=1";
        assert_eq!(verdict(&https, issuer, keys), Ok(uri(keys)));
        for other in ["https://id.example.com/", "http://id.example.com", "", "https://evil"] {
            assert!(verdict(&https, other, keys).is_err(), "{other}");
        }
        for weaker in ["http://keys.example.com/", "unix:/run/keys.sock:/", "/jwks", "ftp://k/"] {
            assert!(verdict(&https, issuer, weaker).is_err(), "{weaker}");
        }
        let http = uri("http://127.0.0.1:8080/.well-known/openid-configuration");
        assert!(verdict(&http, issuer, "http://127.0.0.1:8080/jwks").is_ok());
        assert!(verdict(&http, issuer, "unix:/run/keys.sock:/").is_err());
        assert!(verdict(&https, issuer, "https://${stageVariables.host}/").is_err());
        assert!(keys_uri(issuer, &https, b"{}").is_err());
        assert!(keys_uri(issuer, &https, b"<html>").is_err());
    }
}
