//! Who may connect: what stands between a good upgrade request and `$connect`.
//!
//! ```text
//! with the request's head      API key of the header -> signature
//! while the client waits       authorizer -> API key of the authorizer -> declared parameters
//! ```
//!
//! Holds always: whoever is not surely let in is refused; a route without an authorizer and without
//! a key asks nobody and waits for nothing.

use std::time::Instant;

use tidegate_authorizers::{Attempt, CompiledAuthorizer, Denial, Granted};
use tidegate_flow::{
    context::{ApiKeyFacts, Authorization, ConnectionFacts, Event, Occurrence},
    iam_access::Circumstances,
    request_parameters::missing_required,
    trace_context::TraceContext,
    usage_plan::KeyUse,
};
use tidegate_integrations::Owner;
use tidegate_model::{ApiKeySource, Secret};
use tracing::{debug, warn};

use super::{
    connection::now_ms,
    ending::{AuthorizerLog, DecidedBy},
    refusal::Refusal,
    run::Run,
};
use crate::{
    core_state::Core,
    http::head::Head,
    snapshot::{RouteAuthorizer, RouteEntry, Snapshot, StageEntry},
    traces,
    transport::Peer,
};

/// What the authorizer is told that events do not show.
#[derive(Debug, Default)]
pub(crate) struct Request {
    hop_headers: Vec<(String, String)>,
    secure_transport: bool,
    referer: Option<String>,
}

impl Request {
    /// Keeps what `route`'s authorizer will ask for.
    pub(crate) fn of(route: &RouteEntry, peer: &Peer, head: &Head<'_, '_>) -> Self {
        if !matches!(route.authorizer, Some(RouteAuthorizer::Asked(_))) {
            return Self::default();
        }
        let is_hop = |name: &str| {
            ["connection", "upgrade", "content-length"].iter().any(|h| name.eq_ignore_ascii_case(h))
        };
        let hop_headers = head.headers.iter().filter(|header| is_hop(header.name));
        Self {
            hop_headers: hop_headers
                .map(|header| {
                    let value = String::from_utf8_lossy(header.value).trim().to_owned();
                    (header.name.to_owned(), value)
                })
                .collect(),
            secure_transport: peer.tls.is_some(),
            referer: head.header("referer").map(str::to_owned),
        }
    }
}

/// What the head alone decides: the API key in it, the signature on it. `log` is filled where a
/// signature was asked for.
pub(crate) fn check_head(
    core: &Core,
    snapshot: &Snapshot,
    (stage, route): (&StageEntry, &RouteEntry),
    peer: &Peer,
    head: &Head<'_, '_>,
    facts: &mut ConnectionFacts,
    log: &mut Option<AuthorizerLog>,
) -> Result<(), Refusal> {
    if route.api_key_required && stage.api_key_source == ApiKeySource::Header {
        let key = admit_key(core, snapshot, stage, head.header("x-api-key"))?;
        authorization(facts).api_key = Some(key);
    }
    if let Some(RouteAuthorizer::Iam(authorizer)) = &route.authorizer {
        let circumstances = Circumstances {
            source_ip: facts.source_ip,
            secure_transport: peer.tls.is_some(),
            user_agent: head.header("user-agent"),
            referer: head.header("referer"),
            now_s: now_ms() / 1000,
        };
        let began = Instant::now();
        let checked = head.with_signed_request(&[], |request| {
            authorizer.check(request, &mut core.signing_keys.lock(), &circumstances)
        });
        *log = Some(AuthorizerLog::new(DecidedBy::Signature, began.elapsed(), &checked));
        let iam = checked.map_err(|denial| refused(facts, route, &denial))?;
        authorization(facts).iam = Some(iam);
    }
    Ok(())
}

/// What takes time: the authorizer, and what depends on its answer. `log` is filled on every way
/// out.
pub(crate) async fn ask(
    core: &Core,
    (stage, route): (&StageEntry, &RouteEntry),
    facts: &mut ConnectionFacts,
    run: &mut Run,
    request: &Request,
    log: &mut Option<AuthorizerLog>,
) -> Result<(), Refusal> {
    if let Some(RouteAuthorizer::Asked(authorizer)) = &route.authorizer {
        let began = Instant::now();
        let span = traces::authorizer(&run.trace, route, authorizer);
        let within = (&*run, span.context());
        let asked = asked(core, authorizer, (stage, route), facts, within, request).await;
        traces::authorizer_ended(span, &asked);
        // The token is taken out whatever it was worth: it is for nobody else to see.
        if let (CompiledAuthorizer::Jwt(verifier), Occurrence::Connect(upgrade)) =
            (authorizer, &mut run.occurrence)
        {
            verifier.strip_subprotocol(upgrade);
        }
        let by = match authorizer {
            CompiledAuthorizer::Request(_) => DecidedBy::Function,
            CompiledAuthorizer::Jwt(_) => DecidedBy::Token,
        };
        *log = Some(AuthorizerLog::asked(by, began.elapsed(), &asked));
        let granted = asked.map_err(|denial| refused(facts, route, &denial))?;
        let named_key = granted.usage_identifier_key.as_ref().map(Secret::reveal);
        let api_key = match (route.api_key_required, stage.api_key_source) {
            (true, ApiKeySource::Authorizer) => {
                Some(admit_key(core, &core.node.snapshot(), stage, named_key)?)
            }
            _ => None,
        };
        let known = authorization(facts);
        known.authorizer = granted.authorizer;
        known.expires_at_ms = granted.closes_at_ms;
        known.api_key = api_key.or(known.api_key.take());
    } else if route.api_key_required && stage.api_key_source == ApiKeySource::Authorizer {
        // There is no authorizer that could name a key.
        admit_key(core, &core.node.snapshot(), stage, None)?;
    }
    let event = run.event(facts, stage, &route.key);
    match missing_required(&route.required, &event) {
        Some(_) => Err(Refusal::bad_request()),
        None => Ok(()),
    }
}

async fn asked(
    core: &Core,
    authorizer: &CompiledAuthorizer,
    (stage, route): (&StageEntry, &RouteEntry),
    facts: &ConnectionFacts,
    (run, trace): (&Run, Option<TraceContext>),
    request: &Request,
) -> Result<Granted, Denial> {
    let event = Event { trace, ..run.event(facts, stage, &route.key) };
    let Occurrence::Connect(upgrade) = &run.occurrence else {
        let log = "authorizers are asked about connects only";
        let status = tidegate_authorizers::DenialStatus::Failed;
        return Err(Denial::new(status, "no_connect", Owner::Gateway, log));
    };
    let _place = match &route.authorizer_gate {
        None => None,
        Some(gate) => Some(gate.enter_soon().await.map_err(|waited| {
            let log = format!("too many of its calls were under way for {waited:?}");
            let status = tidegate_authorizers::DenialStatus::Failed;
            Denial::new(status, "busy", Owner::ApiOwner, log)
        })?),
    };
    let now_ms = now_ms();
    let attempt = Attempt {
        event: &event,
        upgrade,
        hop_headers: &request.hop_headers,
        circumstances: Circumstances {
            source_ip: facts.source_ip,
            secure_transport: request.secure_transport,
            user_agent: facts.user_agent.as_deref(),
            referer: request.referer.as_deref(),
            now_s: now_ms / 1000,
        },
        now_ms,
    };
    authorizer.authorize(&core.pools, &attempt).await
}

fn admit_key(
    core: &Core,
    snapshot: &Snapshot,
    stage: &StageEntry,
    value: Option<&str>,
) -> Result<ApiKeyFacts, Refusal> {
    let key_use = KeyUse {
        value,
        api_id: &stage.scope.api,
        stage: &stage.scope.stage,
        now_ns: core.node.now_ns(),
        now_ms: now_ms(),
    };
    snapshot.usage_plans.admit(key_use).map_err(|refused| {
        debug!(
            api_id = &*stage.scope.api,
            stage = &*stage.scope.stage,
            error = %refused,
            "api key refused"
        );
        refused.into()
    })
}

fn authorization(facts: &mut ConnectionFacts) -> &mut Authorization {
    facts.authorization.get_or_insert_default()
}

/// Logs a denial: a client's at `debug`, for anybody can cause as many as they like; an authorizer
/// that does not work at `warn`, at most once a second.
fn refused(facts: &ConnectionFacts, route: &RouteEntry, denial: &Denial) -> Refusal {
    let (connection_id, api_id, stage) = (&facts.id, &*facts.api_id, &*facts.stage);
    let (kind, error) = (denial.kind, &*denial.log);
    if denial.blame == Owner::Client {
        debug!(%connection_id, api_id, stage, kind, error, "not authorized");
    } else if let Some(unlogged) = route.may_warn(now_ms()) {
        let blame = denial.blame;
        warn!(%connection_id, api_id, stage, kind, error, ?blame, unlogged, "authorizer failed");
    }
    Refusal::from(denial)
}
