//! Why a token lets nobody in: what the client is told, whose fault it is, what the log keeps.

use std::{error::Error, fmt::Write as _, sync::Arc};

use jsonwebtoken::errors::ErrorKind;
use tidegate_flow::jwt::{Refused, TokenHeader};
use tidegate_integrations::Owner;

use super::KeyFetchError;
use crate::{Denial, DenialStatus};

/// Why an upgrade request is not let in by its token. No text repeats a token, a claim or a key id.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JwtRefused {
    /// None of the places where a token may be has one.
    #[error("there is no token where the authorizer looks for one")]
    NoToken,
    /// Two tokens in one place: which of them counts is not for us to guess.
    #[error("there is more than one token in one place")]
    TokenTwice,
    /// The token's form or its claims break a rule.
    #[error(transparent)]
    Token(#[from] Refused),
    /// The issuer publishes no such key.
    #[error("the token's key is not one that the issuer publishes")]
    UnknownKey,
    /// The key that the token names is for another algorithm than the token's.
    #[error("the token's key is for another algorithm")]
    KeyOfOtherAlgorithm,
    /// The token names no key, and the issuer has several that could be meant.
    #[error("the token does not say by which of the issuer's keys it is signed")]
    SeveralKeys,
    /// The signature is not that key's, or not over this token.
    #[error("the token's signature is wrong")]
    Signature,
    /// The issuer's keys are not known and cannot be had.
    #[error("the issuer's keys cannot be had")]
    KeysUnavailable(#[source] Arc<KeyFetchError>),
}

impl JwtRefused {
    /// What the client sees. The only place that decides it.
    pub fn status(&self) -> DenialStatus {
        match self {
            Self::NoToken => DenialStatus::Unauthorized,
            // As an authorizer whose answer is too large (websocket-api, 9.3).
            Self::Token(Refused::ContextTooLarge) | Self::KeysUnavailable(_) => {
                DenialStatus::Failed
            }
            Self::TokenTwice
            | Self::Token(_)
            | Self::UnknownKey
            | Self::KeyOfOtherAlgorithm
            | Self::SeveralKeys
            | Self::Signature => DenialStatus::Forbidden,
        }
    }

    /// A word for metrics, from a fixed set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::TokenTwice => "token_twice",
            Self::Token(refused) => refused.kind(),
            Self::UnknownKey => "unknown_key",
            Self::KeyOfOtherAlgorithm => "key_of_other_algorithm",
            Self::SeveralKeys => "several_keys",
            Self::Signature => "signature",
            Self::KeysUnavailable(_) => "keys_unavailable",
        }
    }

    /// Whose fault it is: the client's, unless the issuer, whom the api's owner chose, gives no
    /// keys or claims beyond bounds.
    pub fn blame(&self) -> Owner {
        match self.status() {
            DenialStatus::Failed => Owner::ApiOwner,
            DenialStatus::Unauthorized | DenialStatus::Forbidden => Owner::Client,
        }
    }

    /// Whether other keys might give another verdict. A wrong signature counts where no key is
    /// named: an issuer with one key may exchange it without a word.
    pub(super) fn may_change_with_the_keys(&self, header: &TokenHeader) -> bool {
        match self {
            Self::UnknownKey => true,
            Self::Signature => header.key_id.is_none(),
            _ => false,
        }
    }

    /// What the library says of a token whose header we have read and whose key we have chosen.
    pub(super) fn of_library(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
                Refused::Algorithm.into()
            }
            ErrorKind::Base64(_) => Refused::Malformed("a part is not base64url").into(),
            _ => Refused::Malformed(
                "its payload is no JSON object, or has a name that comes twice, or its header has \
                 a parameter of the wrong type",
            )
            .into(),
        }
    }
}

impl From<JwtRefused> for Denial {
    fn from(refused: JwtRefused) -> Self {
        let log = with_causes(&refused);
        Self::new(refused.status(), refused.kind(), refused.blame(), log)
    }
}

/// An error and what is behind it, in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
