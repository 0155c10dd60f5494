//! Who may connect: the authorizers of an api, and the access keys that signatures are made with.

use std::{collections::BTreeMap, time::Duration};

use crate::{BackendUri, ParameterSource, PolicyDocument, Secret};

/// One authorizer (`[apis.<id>.authorizers.<name>]`). Runs on `$connect` only.
#[derive(Debug, Clone)]
pub struct Authorizer {
    /// The table's name.
    pub name: String,
    /// How it decides.
    pub kind: AuthorizerKind,
}

/// How an authorizer decides.
#[derive(Debug, Clone)]
pub enum AuthorizerKind {
    /// A function answers an IAM policy (websocket-api, 9.1 to 9.5).
    Request(RequestAuthorizer),
    /// A signed token speaks for itself (RFC 7519).
    Jwt(Box<JwtAuthorizer>),
    /// The upgrade request is signed with one of these (websocket-api, 9.6).
    Iam(Vec<AccessKey>),
}

/// `type = "request"`.
#[derive(Debug, Clone)]
pub struct RequestAuthorizer {
    /// Index into the api's integrations, one that is a function.
    pub integration: usize,
    /// Each must be there and not empty, or the client gets 401 and the function is not called.
    pub identity_source: Vec<ParameterSource>,
    /// How long the function may take. At most 10 s.
    pub timeout: Duration,
}

/// `type = "jwt"`.
#[derive(Debug, Clone)]
pub struct JwtAuthorizer {
    /// What `iss` must equal.
    pub issuer: String,
    /// One of them must be in `aud` (or, where a token has no `aud`, be its `client_id`).
    pub audiences: Vec<String>,
    /// Where the keys are.
    pub keys: JwtKeys,
    /// What tokens may be signed with; never empty.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Where a token is looked for; the first that is there is taken.
    pub token_source: Vec<TokenSource>,
    /// Each must be in `scope` or `scp`.
    pub required_scopes: Vec<String>,
    /// By claim, the text that it must be, or contain where it is a list.
    pub required_claims: BTreeMap<String, String>,
    /// What a token's end does to the connection that it opened.
    pub on_expiry: OnExpiry,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone)]
pub enum JwtKeys {
    /// `{issuer}/.well-known/openid-configuration` names the place (OpenID Connect Discovery).
    Discovery(BackendUri),
    /// Here (RFC 7517).
    Jwks(BackendUri),
}

/// Signature algorithms with a public key (RFC 7518, 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names are their definitions")]
pub enum JwtAlgorithm {
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

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A header, with or without `Bearer ` before the token.
    Header(String),
    /// A query parameter.
    QueryString(String),
    /// An entry of `Sec-WebSocket-Protocol`: browsers can set no other header.
    Subprotocol,
}

/// What a token's end does to the connection that it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExpiry {
    /// It closes with 1008.
    Close,
    /// Nothing.
    Keep,
}

/// An access key that requests to this gateway are signed with.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// Named in each signature.
    pub access_key_id: String,
    /// What signatures are made with.
    pub secret_access_key: Secret,
    /// Must come along as `X-Amz-Security-Token` where it is set.
    pub session_token: Option<Secret>,
    /// Whose it is: what `identity.user` says.
    pub user: Option<String>,
    /// What it may do; `None` allows everything here.
    pub policy: Option<PolicyDocument>,
}
