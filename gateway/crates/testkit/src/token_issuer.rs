//! An issuer of tokens: it publishes its keys as an OpenID provider does, and signs what the test
//! wants signed.
//!
//! In:  [`TokenKey`]s to publish, claims to sign.
//! Out: tokens; the discovery document and the keys, over a real socket.
//!
//! Holds always: what is published is what [`TokenIssuer::publish`] named last, from its return on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{Answer, HttpBackend, RecordedRequest};

/// A private key for ES256 and the id that its issuer names it by.
#[derive(Debug)]
pub struct TokenKey {
    id: String,
    pair: EcdsaKeyPair,
}

impl TokenKey {
    /// A new key.
    pub fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key can be made");
        let pair = EcdsaKeyPair::from_pkcs8(kind, made.as_ref(), &random);
        Self { id: id.to_owned(), pair: pair.expect("a key that was made is one") }
    }

    /// What its issuer publishes of it (RFC 7517).
    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)
        })
    }

    /// The public point, as everybody may know it: 65 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A token with these claims and the header that goes with this key.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({ "typ": "JWT", "alg": "ES256", "kid": self.id }), claims)
    }

    /// A token with any header at all; the signature is this key's, whatever the header says.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes());
        let signature = signature.expect("a key of ours signs");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// A token without a signature, the last dot included where `alg` is `none` (RFC 7515, A.5).
pub fn unsecured_token(header: &Value, claims: &Value) -> String {
    unsigned(header, claims) + "."
}

/// A token signed with a shared secret (HS256).
pub fn shared_secret_token(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let text = unsigned(header, claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encoded(header), encoded(claims))
}

/// The issuer. Dropping it closes its port.
#[derive(Debug)]
pub struct TokenIssuer {
    http: HttpBackend,
    keys: Arc<Mutex<Vec<Value>>>,
}

impl TokenIssuer {
    /// Starts with these keys published.
    pub async fn start(keys: &[&TokenKey]) -> Self {
        let published = Arc::new(Mutex::new(documents(keys)));
        let served = Arc::clone(&published);
        let http = HttpBackend::start(move |request: RecordedRequest| {
            std::future::ready(document(&request, &served))
        })
        .await;
        Self { http, keys: published }
    }

    /// What tokens name as `iss`, and what an authorizer has as `issuer`.
    pub fn url(&self) -> String {
        self.http.url()
    }

    /// The web server below: how often it was asked.
    pub fn http(&self) -> &HttpBackend {
        &self.http
    }

    /// Publishes these keys and no others.
    pub fn publish(&self, keys: &[&TokenKey]) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = documents(keys);
    }

    /// Claims for audience `chat` and subject `u1`, good for `lifetime_s` from now on; negative for
    /// a token that has expired.
    pub fn claims(&self, lifetime_s: i64) -> Value {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let now_s = i64::try_from(now_s).expect("a date of this age");
        json!({
            "iss": self.url(), "aud": "chat", "sub": "u1", "iat": now_s, "exp": now_s + lifetime_s
        })
    }
}

fn documents(keys: &[&TokenKey]) -> Vec<Value> {
    keys.iter().map(|key| key.jwk()).collect()
}

fn document(request: &RecordedRequest, keys: &Mutex<Vec<Value>>) -> Answer {
    let json = match request.path.as_str() {
        "/.well-known/openid-configuration" => {
            let issuer = format!("http://{}", request.header("host").unwrap_or_default());
            json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") })
        }
        "/jwks" => json!({ "keys": *keys.lock().unwrap_or_else(PoisonError::into_inner) }),
        _ => return Answer::status(404),
    };
    Answer::body_of(json.to_string()).header("Content-Type", "application/json")
}
