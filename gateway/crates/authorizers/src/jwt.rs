//! The JWT authorizer: a token that an issuer signed speaks for its bearer (RFC 7519).
//!
//! In:  an upgrade request, and the keys that the issuer publishes.
//! Out: principal, context and end of the connection; or why it may not be.
//!
//! ```text
//! upgrade ─ token_source ─► token ─ header ─► key ─ signature ─► claims ─ flow::jwt::check ─► accepted
//!                                              ▲
//!            JwtKeyCache: one per node, kept fresh in the background, asked again for a key that
//!            nobody knows
//! ```
//!
//! Holds always: claims let somebody in only after their signature was right under a key that the
//! issuer publishes for just that algorithm. A token is refused for its unknown key only after a
//! document that was asked for since the token came has been read: a key that an issuer publishes
//! before it signs with it is never refused. Where the keys cannot be had, nobody is let in.

mod fetch;
mod issuer_keys;
mod key_cache;
mod key_set;
mod refused;
mod ring_provider;
mod token_lookup;

pub use fetch::KeyFetchError;
pub use key_cache::JwtKeyCache;
pub use refused::JwtRefused;

use std::sync::Arc;

use issuer_keys::IssuerKeys;
use jsonwebtoken::{DecodingKey, Validation};
use key_set::{Found, KeySet};
use tidegate_flow::{
    context::{AuthorizerFacts, UpgradeRequest},
    jwt::{self, Accepted, Refused, TokenClaims, TokenHeader},
};
use tidegate_integrations::BackendPools;
use tidegate_model::{JwtAlgorithm, JwtAuthorizer, OnExpiry, TokenSource};
use tokio::time::Instant;

/// One JWT authorizer, ready to decide.
#[derive(Debug)]
pub struct JwtVerifier {
    rules: JwtAuthorizer,
    keys: Arc<IssuerKeys>,
}

/// Whom a token lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtAccepted {
    /// `sub` as principal, the claims as context.
    pub authorizer: AuthorizerFacts,
    /// When the connection ends with its token (1008), milliseconds since 1970; may be past
    /// already, where the keys had to be waited for. `None` where `on_expiry` is `keep`.
    pub closes_at_ms: Option<u64>,
}

impl JwtVerifier {
    /// An authorizer with these rules. The issuer's keys are `cache`'s, shared with all others that
    /// have them from the same place; they are asked for at once where
    /// [`JwtKeyCache::keep_fresh`] runs, or else with the first token.
    pub fn new(rules: JwtAuthorizer, cache: &JwtKeyCache) -> Self {
        ring_provider::install();
        let keys = cache.of(&rules.issuer, &rules.keys);
        Self { rules, keys }
    }

    /// Whether the request's token lets its bearer in at `now_ms` (milliseconds since 1970).
    ///
    /// Waits only where the token's key is not known: for at most two fetches of the issuer's keys,
    /// which 5 s part, so 10 s. `pools` are those of the core that this runs on.
    ///
    /// # Errors
    /// Each reason not to let it in. [`JwtRefused::KeysUnavailable`] where nobody can know.
    pub async fn authorize(
        &self,
        pools: &BackendPools,
        upgrade: &UpgradeRequest,
        now_ms: u64,
    ) -> Result<JwtAccepted, JwtRefused> {
        let token = token_lookup::find(&self.rules.token_source, upgrade)?;
        let accepted = self.verify(pools, token, now_ms).await?;
        let closes_at_ms = match self.rules.on_expiry {
            OnExpiry::Close => Some(accepted.expires_at_ms),
            OnExpiry::Keep => None,
        };
        let authorizer = AuthorizerFacts {
            principal_id: accepted.principal,
            integration_latency_ms: None,
            context: accepted.context,
        };
        Ok(JwtAccepted { authorizer, closes_at_ms })
    }

    /// Takes what carries a token out of the request's `Sec-WebSocket-Protocol`, and the header
    /// with it if nothing else is offered. To be called, whatever the verdict, before anybody else
    /// sees the request: so no backend reads the token there, nor can name it as the subprotocol.
    /// Does nothing unless `subprotocol` is a token source.
    pub fn strip_subprotocol(&self, upgrade: &mut UpgradeRequest) {
        if self.rules.token_source.contains(&TokenSource::Subprotocol) {
            token_lookup::strip_subprotocol(upgrade);
        }
    }

    async fn verify(
        &self,
        pools: &BackendPools,
        token: &str,
        now_ms: u64,
    ) -> Result<Accepted, JwtRefused> {
        let header = TokenHeader::parse(token)?;
        if !self.rules.algorithms.contains(&header.algorithm) {
            return Err(Refused::Algorithm.into());
        }
        let arrived = Instant::now();
        loop {
            // Asked before the keys are looked at: a fetch that ends in between is seen in them.
            let settled = self.keys.settled_since(arrived);
            let refused = match self.verdict(self.keys.current().as_deref(), token, &header, now_ms)
            {
                Err(refused) if refused.may_change_with_the_keys(&header) => refused,
                verdict => return verdict,
            };
            match settled {
                Some(Ok(())) => return Err(refused),
                Some(Err(cause)) => return Err(JwtRefused::KeysUnavailable(cause)),
                None => {}
            }
            // A client that comes back with an old token must not make us ask for its old key.
            jwt::check(&TokenClaims::unverified(token)?, &self.rules, now_ms)?;
            self.keys.advance(arrived, pools).await;
        }
    }

    /// What `keys` say about `token`.
    fn verdict(
        &self,
        keys: Option<&KeySet>,
        token: &str,
        header: &TokenHeader,
        now_ms: u64,
    ) -> Result<Accepted, JwtRefused> {
        let found = keys.map(|keys| keys.find(header.key_id.as_deref(), header.algorithm));
        let claims = match found {
            None | Some(Found::None) => return Err(JwtRefused::UnknownKey),
            Some(Found::OtherAlgorithm) => return Err(JwtRefused::KeyOfOtherAlgorithm),
            Some(Found::Several) => return Err(JwtRefused::SeveralKeys),
            Some(Found::One(key)) => signed_claims(token, header.algorithm, key)?,
        };
        Ok(jwt::check(&claims, &self.rules, now_ms)?)
    }
}

/// The claims of `token` if `key` signed it with `algorithm`. The only way to claims that count.
fn signed_claims(
    token: &str,
    algorithm: JwtAlgorithm,
    key: &DecodingKey,
) -> Result<TokenClaims, JwtRefused> {
    // The rules are ours (`flow::jwt`); the library checks algorithm, family and signature.
    let mut validation = Validation::new(key_set::algorithm(algorithm));
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode::<TokenClaims>(token, key, &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(JwtRefused::of_library(error.kind())),
    }
}
