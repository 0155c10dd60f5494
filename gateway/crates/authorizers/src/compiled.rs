//! One authorizer of one stage that is asked about a connect, whatever its kind.
//!
//! A signature is not asked about here: it is checked on the request as it was received, by
//! [`crate::IamAuthorizer`].

use tidegate_flow::{
    context::{AuthorizerFacts, Event, UpgradeRequest},
    iam_access::Circumstances,
};
use tidegate_integrations::BackendPools;
use tidegate_model::Secret;

use crate::{Denial, RequestAuthorizer, jwt::JwtVerifier};

/// An authorizer, ready to decide.
#[derive(Debug)]
pub enum CompiledAuthorizer {
    /// A function answers an IAM policy.
    Request(Box<RequestAuthorizer>),
    /// A token speaks for itself.
    Jwt(Box<JwtVerifier>),
}

/// Somebody who wants to connect.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The connect.
    pub event: &'a Event<'a>,
    /// The event's request.
    pub upgrade: &'a UpgradeRequest,
    /// Headers of the upgrade request that events do not show.
    pub hop_headers: &'a [(String, String)],
    /// What policies may ask about.
    pub circumstances: Circumstances<'a>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// What is known of somebody who may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// `requestContext.authorizer`.
    pub authorizer: Option<AuthorizerFacts>,
    /// The API key to count by, where the api takes it from the authorizer.
    pub usage_identifier_key: Option<Secret>,
    /// When the connection is to be closed, milliseconds since 1970.
    pub closes_at_ms: Option<u64>,
}

impl CompiledAuthorizer {
    /// Decides about a connect.
    ///
    /// # Errors
    /// Why it may not be.
    pub async fn authorize(
        &self,
        pools: &BackendPools,
        attempt: &Attempt<'_>,
    ) -> Result<Granted, Denial> {
        match self {
            Self::Request(authorizer) => authorizer.authorize(pools, attempt).await,
            Self::Jwt(verifier) => {
                let accepted = verifier.authorize(pools, attempt.upgrade, attempt.now_ms).await?;
                Ok(Granted {
                    authorizer: Some(accepted.authorizer),
                    closes_at_ms: accepted.closes_at_ms,
                    ..Granted::default()
                })
            }
        }
    }
}
