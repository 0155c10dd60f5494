//! `gateway.toml` as the operator wrote it: authorizers, and the access keys that requests to the
//! gateway are signed with.
//!
//! The same rules hold as in [`super::file`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_model::{JwtAlgorithm, OnExpiry};

use super::{document::JsonDocument, secret_text::SecretText};

/// Who may connect. Each key but `type` belongs to one type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["type"]))]
pub(super) struct AuthorizerSection {
    /// How it decides.
    #[serde(rename = "type")]
    pub(super) kind: Option<AuthorizerType>,
    /// `"request"`: the name of an integration of type `"aws_proxy"`, the function that answers
    /// the policy. Required there.
    pub(super) integration: Option<String>,
    /// `"request"`: `route.request.header.NAME`, `route.request.querystring.NAME`,
    /// `stageVariables.NAME` or `context.NAME`. Where one of them is missing or empty, the client
    /// gets 401 and the function is not called.
    pub(super) identity_source: Vec<String>,
    /// `"request"`: how long the function may take, milliseconds.
    #[schemars(range(min = 50, max = 10_000))]
    pub(super) timeout_ms: u32,
    /// `"jwt"`: what `iss` must equal, an `https://` or `http://` url. Required there. Without
    /// `jwks_uri`, the keys are found through `{issuer}/.well-known/openid-configuration`.
    pub(super) issuer: Option<String>,
    /// `"jwt"`: where the issuer's keys are, `https://` or `http://`.
    pub(super) jwks_uri: Option<String>,
    /// `"jwt"`: one of them must be in `aud` (or, where a token has no `aud`, be its `client_id`).
    /// Required there.
    pub(super) audiences: Vec<String>,
    /// `"jwt"`: what tokens may be signed with.
    pub(super) algorithms: Vec<JwtAlgorithmWord>,
    /// `"jwt"`: where a token is looked for, in this order: `route.request.header.NAME` (with or
    /// without `Bearer` before the token), `route.request.querystring.NAME`, or `subprotocol`, an
    /// entry of `Sec-WebSocket-Protocol`, the one header that browsers can set.
    pub(super) token_source: Vec<String>,
    /// `"jwt"`: each must be in `scope` or `scp`.
    pub(super) required_scopes: Vec<String>,
    /// `"jwt"`: by claim, the text that it must be, or contain where it is a list.
    #[schemars(extend("x-key" = "<claim>"))]
    pub(super) required_claims: BTreeMap<String, String>,
    /// `"jwt"`: what a token's end does to the connection that it opened.
    pub(super) on_expiry: OnExpiryWord,
    /// `"jwt"`: by how much the issuer's clock and this one may differ, seconds.
    #[schemars(range(max = 300))]
    pub(super) leeway_s: u32,
    /// `"iam"`: the access keys that upgrade requests may be signed with, Signature Version 4,
    /// service `execute-api`. Required there.
    pub(super) credentials: Vec<AccessKeySection>,
}

impl Default for AuthorizerSection {
    fn default() -> Self {
        use JwtAlgorithmWord::*;
        Self {
            kind: None,
            integration: None,
            identity_source: Vec::new(),
            timeout_ms: 10_000,
            issuer: None,
            jwks_uri: None,
            audiences: Vec::new(),
            // All with a public key: a shared secret among them would let a token be signed with
            // what everyone can read.
            algorithms: vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA],
            token_source: vec!["route.request.header.Authorization".to_owned()],
            required_scopes: Vec::new(),
            required_claims: BTreeMap::new(),
            on_expiry: OnExpiryWord::Close,
            leeway_s: 60,
            credentials: Vec::new(),
        }
    }
}

/// How an authorizer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum AuthorizerType {
    /// a function answers an IAM policy, as a Lambda authorizer on API Gateway
    Request,
    /// a token signed by an OpenID provider speaks for itself
    Jwt,
    /// the upgrade request is signed with an access key
    Iam,
}

impl AuthorizerType {
    /// As the file has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Jwt => "jwt",
            Self::Iam => "iam",
        }
    }
}

/// Signature algorithms with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(super) enum JwtAlgorithmWord {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl From<JwtAlgorithmWord> for JwtAlgorithm {
    fn from(word: JwtAlgorithmWord) -> Self {
        match word {
            JwtAlgorithmWord::RS256 => Self::RS256,
            JwtAlgorithmWord::RS384 => Self::RS384,
            JwtAlgorithmWord::RS512 => Self::RS512,
            JwtAlgorithmWord::PS256 => Self::PS256,
            JwtAlgorithmWord::PS384 => Self::PS384,
            JwtAlgorithmWord::PS512 => Self::PS512,
            JwtAlgorithmWord::ES256 => Self::ES256,
            JwtAlgorithmWord::ES384 => Self::ES384,
            JwtAlgorithmWord::EdDSA => Self::EdDSA,
        }
    }
}

/// What a token's end does to the connection that it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnExpiryWord {
    /// it is closed with 1008
    Close,
    /// it stays open
    Keep,
}

impl From<OnExpiryWord> for OnExpiry {
    fn from(word: OnExpiryWord) -> Self {
        match word {
            OnExpiryWord::Close => Self::Close,
            OnExpiryWord::Keep => Self::Keep,
        }
    }
}

/// One access key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["access_key_id", "secret_access_key"]))]
pub(super) struct AccessKeySection {
    /// Names the key in each signature: 1 to 128 of `A-Z a-z 0-9 _ -`.
    pub(super) access_key_id: Option<String>,
    /// What signatures are made with.
    pub(super) secret_access_key: Option<SecretText>,
    /// Where it is set, requests must bring it as `X-Amz-Security-Token`.
    pub(super) session_token: Option<SecretText>,
    /// Whose the key is: what `$context.identity.user` says.
    pub(super) user: Option<String>,
    /// What the key may do: an IAM policy document as a table, or as JSON text. Under
    /// `[management]` it speaks of `execute-api:ManageConnections`, in an authorizer of
    /// `execute-api:Invoke`. Absent: everything here.
    pub(super) policy: Option<JsonDocument>,
}
