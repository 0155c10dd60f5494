//! What a surviving node needs to run the `$disconnect` of a connection whose node has died.
//!
//! In:  the facts of an accepted connection; on the survivor, the bytes that the store kept of them.
//! Out: those bytes; the facts again, as [`ConnectionFacts`].
//!
//! The form is JSON with a version: a survivor may be of another release. No API key's value is in
//! it, only its name: the survivor has the value in its own configuration.

use std::net::IpAddr;

use bytes::Bytes;
use connection_store::ConnectionId;
use serde::{Deserialize, Serialize};
use tidegate_flow::{
    context::{ApiKeyFacts, Authorization, AuthorizerFacts, ConnectionFacts, IamFacts},
    opaque_id::OpaqueId,
};
use tidegate_model::Secret;

/// The version that this release writes and reads.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Kept {
    v: u32,
    api: String,
    stage: String,
    domain: String,
    ip: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// Milliseconds since 1970.
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authorizer: Option<KeptAuthorizer>,
    /// An API key's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iam: Option<KeptIam>,
}

#[derive(Serialize, Deserialize)]
struct KeptAuthorizer {
    principal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    context: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct KeptIam {
    access_key: String,
    account_id: String,
    user: String,
    user_arn: String,
}

/// Why facts cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusableFacts {
    #[error("they are not what a gateway wrote")]
    Unreadable(#[from] serde_json::Error),
    #[error("they are of version {0}, and this release reads version {VERSION}")]
    Version(u32),
}

/// The bytes to keep.
pub(crate) fn encode(facts: &ConnectionFacts) -> Bytes {
    let known = facts.authorization.as_deref();
    let kept = Kept {
        v: VERSION,
        api: facts.api_id.to_string(),
        stage: facts.stage.to_string(),
        domain: facts.domain_name.to_string(),
        ip: facts.source_ip,
        agent: facts.user_agent.as_deref().map(str::to_owned),
        at: facts.connected_at_ms,
        authorizer: known.and_then(|known| known.authorizer.as_ref()).map(|said| KeptAuthorizer {
            principal: said.principal_id.clone(),
            latency_ms: said.integration_latency_ms,
            context: said.context.clone(),
        }),
        api_key: known.and_then(|known| known.api_key.as_ref()).map(|key| key.id.clone()),
        iam: known.and_then(|known| known.iam.as_ref()).map(|signed| KeptIam {
            access_key: signed.access_key.clone(),
            account_id: signed.account_id.clone(),
            user: signed.user.clone(),
            user_arn: signed.user_arn.clone(),
        }),
    };
    serde_json::to_vec(&kept).expect("strings, numbers and lists are JSON").into()
}

/// The facts of the connection `id`. `value_of` tells an API key's value by its name; where it does
/// not know the name any more, events show an empty value.
pub(crate) fn decode(
    id: ConnectionId,
    bytes: &[u8],
    value_of: impl Fn(&str) -> Option<Secret>,
) -> Result<ConnectionFacts, UnusableFacts> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let Versioned { v } = serde_json::from_slice(bytes)?;
    if v != VERSION {
        return Err(UnusableFacts::Version(v));
    }
    let kept: Kept = serde_json::from_slice(bytes)?;
    let authorization = Authorization {
        authorizer: kept.authorizer.map(|said| AuthorizerFacts {
            principal_id: said.principal,
            integration_latency_ms: said.latency_ms,
            context: said.context,
        }),
        api_key: kept.api_key.map(|id| ApiKeyFacts {
            value: value_of(&id).unwrap_or_else(|| Secret::new(String::new())),
            id,
        }),
        iam: kept.iam.map(|signed| IamFacts {
            access_key: signed.access_key,
            account_id: signed.account_id,
            user: signed.user,
            user_arn: signed.user_arn,
        }),
        expires_at_ms: None,
    };
    Ok(ConnectionFacts {
        id: OpaqueId::from_text(id.as_bytes()),
        api_id: kept.api.into(),
        stage: kept.stage.into(),
        domain_name: kept.domain.into(),
        source_ip: kept.ip,
        user_agent: kept.agent.map(Into::into),
        connected_at_ms: kept.at,
        authorization: (authorization != Authorization::default()).then(|| Box::new(authorization)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> ConnectionId {
        "AAAAAAAAAAAAAAA=".parse().expect("an id")
    }

    prop_compose! {
        fn any_facts()(
            (api, stage, domain) in ("[a-z]{1,8}", "[a-z]{1,8}", "\\PC{0,20}"),
            ip in any::<IpAddr>(),
            agent in proptest::option::of("\\PC{0,20}"),
            at in any::<u64>(),
            who in proptest::option::of(("\\PC{0,9}", any::<Option<u64>>())),
            context in proptest::collection::vec(("[a-z]{1,9}", "\\PC{0,9}"), 0..3),
            key in proptest::option::of("[a-z]{1,9}"),
            user in proptest::option::of("[a-z]{1,9}"),
        ) -> ConnectionFacts {
            let authorization = Authorization {
                authorizer: who.map(|(principal_id, integration_latency_ms)| AuthorizerFacts {
                    principal_id, integration_latency_ms, context,
                }),
                api_key: key.map(|id| ApiKeyFacts { value: Secret::new(format!("of {id}")), id }),
                iam: user.map(|user| IamFacts { user, ..IamFacts::default() }),
                expires_at_ms: None,
            };
            ConnectionFacts {
                id: OpaqueId::from_text(id().as_bytes()),
                api_id: api.into(),
                stage: stage.into(),
                domain_name: domain.into(),
                source_ip: ip,
                user_agent: agent.map(Into::into),
                connected_at_ms: at,
                authorization: (authorization != Authorization::default())
                    .then(|| Box::new(authorization)),
            }
        }
    }

    proptest! {
        #[test]
        fn a_survivor_reads_what_the_dead_node_kept(facts in any_facts()) {
            let kept = encode(&facts);
            prop_assert!(!String::from_utf8_lossy(&kept).contains("of "), "a key's value is kept");
            let value_of = |name: &str| Some(Secret::new(format!("of {name}")));
            let read = decode(id(), &kept, value_of).expect("it is what a gateway wrote");
            prop_assert_eq!(format!("{facts:?}"), format!("{read:?}"));
            prop_assert_eq!(facts.authorization, read.authorization);
        }

        #[test]
        fn anything_else_is_refused_and_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(decode(id(), &bytes, |_| None).is_err());
        }
    }

    #[test]
    fn facts_of_another_release_are_told_apart() {
        let later = decode(id(), br#"{"v":2,"something":"else"}"#, |_| None);
        assert!(matches!(later, Err(UnusableFacts::Version(2))), "{later:?}");
    }

    #[test]
    fn the_value_of_a_key_that_is_configured_no_more_is_empty() {
        let key = ApiKeyFacts { value: Secret::new("secret".to_owned()), id: "mobile".to_owned() };
        let known = Authorization { api_key: Some(key), ..Authorization::default() };
        let facts = ConnectionFacts {
            id: OpaqueId::from_text(id().as_bytes()),
            api_id: "chat".into(),
            stage: "prod".into(),
            domain_name: "localhost".into(),
            source_ip: [127, 0, 0, 1].into(),
            user_agent: None,
            connected_at_ms: 0,
            authorization: Some(Box::new(known)),
        };
        let read = decode(id(), &encode(&facts), |_| None).expect("readable");
        let key = read.authorization.and_then(|known| known.api_key).expect("its name is kept");
        assert_eq!((key.id.as_str(), key.value.reveal()), ("mobile", ""));
    }
}
