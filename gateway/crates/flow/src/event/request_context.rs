//! `requestContext`: what every event says about itself and its connection (websocket-api, 4.1, 4.2).
//!
//! In:  one [`Event`].
//! Out: an object for serde.
//!
//! Holds always: what is not set is absent, never `null`.

use std::net::IpAddr;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::context::{AuthorizerFacts, Event, Occurrence, request_time};

/// `requestContext`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestContext<'a> {
    route_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_status_code: Option<u16>,
    event_type: &'static str,
    extended_request_id: &'a str,
    request_time: String,
    message_direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_reason: Option<&'a str>,
    stage: &'a str,
    connected_at: u64,
    request_time_epoch: u64,
    identity: Identity<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Authorizer<'a>>,
    request_id: &'a str,
    domain_name: &'a str,
    connection_id: &'a str,
    api_id: &'a str,
}

/// `identity`: fixed when the connection is accepted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    source_ip: IpAddr,
}

/// `authorizer`: one flat object.
struct Authorizer<'a>(&'a AuthorizerFacts);

impl<'a> RequestContext<'a> {
    pub(crate) fn of(event: &'a Event<'_>) -> Self {
        let connection = event.connection;
        let request_id = event.request_id.as_str();
        let authorization = connection.authorization.as_deref();
        let iam = authorization.and_then(|authorization| authorization.iam.as_ref());
        let api_key = authorization.and_then(|authorization| authorization.api_key.as_ref());
        let (mut message_id, mut disconnect) = (None, None);
        match event.occurrence {
            Occurrence::Connect(_) => {}
            Occurrence::Message { message_id: id, .. } => message_id = Some(id.as_str()),
            Occurrence::Disconnect { code, reason } => disconnect = Some((*code, &**reason)),
        }
        Self {
            route_key: event.route_key,
            message_id,
            disconnect_status_code: disconnect.map(|(code, _)| code),
            event_type: event.occurrence.event_type(),
            extended_request_id: request_id,
            request_time: request_time(event.at_ms),
            message_direction: "IN",
            disconnect_reason: disconnect.map(|(_, reason)| reason),
            stage: &connection.stage,
            connected_at: connection.connected_at_ms,
            request_time_epoch: event.at_ms,
            identity: Identity {
                account_id: iam.map(|signed| signed.account_id.as_str()),
                access_key: iam.map(|signed| signed.access_key.as_str()),
                caller: iam.map(|signed| signed.user.as_str()),
                user: iam.map(|signed| signed.user.as_str()),
                user_arn: iam.map(|signed| signed.user_arn.as_str()),
                api_key: api_key.map(|key| key.value.reveal()),
                api_key_id: api_key.map(|key| key.id.as_str()),
                user_agent: connection.user_agent.as_deref(),
                source_ip: connection.source_ip,
            },
            authorizer: authorization
                .and_then(|authorization| authorization.authorizer.as_ref())
                .map(Authorizer),
            request_id,
            domain_name: &connection.domain_name,
            connection_id: connection.id.as_str(),
            api_id: &connection.api_id,
        }
    }
}

impl Serialize for Authorizer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(said) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("principalId", &said.principal_id)?;
        if let Some(latency_ms) = said.integration_latency_ms {
            map.serialize_entry("integrationLatency", &latency_ms)?;
        }
        for (name, value) in &said.context {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
