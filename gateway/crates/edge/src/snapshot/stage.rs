//! One stage and its routes, as messages find them.
//!
//! In:  the key of a route; the time.
//! Out: the route, compiled; whether a throttle admits a message; whether a failure may be logged.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use connection_store::Scope;
use tidegate_authorizers::{CompiledAuthorizer, IamAuthorizer};
use tidegate_flow::{models::BodyValidator, token_bucket::TokenBucket};
use tidegate_integrations::CompiledIntegration;
use tidegate_model::{
    AccessLogFormat, ApiKeySource, Binary, PostDuringConnect, RequiredParameter,
    SelectionExpression,
};
use tidegate_telemetry::{AccessLog, RouteMetrics, StageMetrics};

use crate::lifecycle_gate::LifecycleGate;

/// One stage with the routes of its api.
pub(crate) struct StageEntry {
    pub(crate) scope: Arc<Scope>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) expression: SelectionExpression,
    pub(super) routes: HashMap<Box<str>, Arc<RouteEntry>>,
    pub(crate) connect: Option<Arc<RouteEntry>>,
    pub(crate) disconnect: Option<Arc<RouteEntry>>,
    pub(crate) binary: Binary,
    pub(crate) post_during_connect: PostDuringConnect,
    pub(crate) api_key_source: ApiKeySource,
    pub(crate) throttle: Option<TokenBucket>,
    pub(crate) access_log: Option<(AccessLog, AccessLogFormat)>,
    pub(crate) metrics: StageMetrics,
    /// What the management API sends.
    pub(crate) posts: Arc<RouteMetrics>,
}

/// One route of a stage.
pub(crate) struct RouteEntry {
    pub(crate) key: Box<str>,
    pub(crate) integration: Option<CompiledIntegration>,
    /// Of `$connect` and `$disconnect`, where the integration is one that is waited for.
    pub(crate) gate: Option<LifecycleGate>,
    pub(crate) integration_name: Option<Box<str>>,
    pub(crate) reply: bool,
    pub(crate) throttle: Option<TokenBucket>,
    pub(crate) required: Vec<RequiredParameter>,
    pub(crate) authorizer: Option<RouteAuthorizer>,
    /// Of the function that the authorizer asks.
    pub(crate) authorizer_gate: Option<LifecycleGate>,
    pub(crate) authorizer_name: Option<Box<str>>,
    pub(crate) api_key_required: bool,
    pub(crate) validator: Option<BodyValidator>,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// When a failure of this route was last logged, and how many were not; milliseconds.
    pub(super) last_warning_ms: AtomicU64,
    pub(super) unlogged: AtomicU64,
}

/// Who decides about a connect.
#[derive(Debug)]
pub(crate) enum RouteAuthorizer {
    /// A signature, which is checked while the request is there as it was received.
    Iam(IamAuthorizer),
    /// Somebody who is asked.
    Asked(CompiledAuthorizer),
}

impl StageEntry {
    /// The route of exactly that key.
    pub(crate) fn route(&self, key: &str) -> Option<&Arc<RouteEntry>> {
        self.routes.get(key)
    }

    /// Takes a token of the route's throttle, or of the stage's where the route has none
    /// (websocket-api, section 11.1).
    pub(crate) fn admits(&self, route: Option<&RouteEntry>, now_ns: u64) -> bool {
        route
            .and_then(|route| route.throttle.as_ref())
            .or(self.throttle.as_ref())
            .is_none_or(|bucket| bucket.take(now_ns))
    }
}

impl RouteEntry {
    /// Whether what the integration answers is a backend's own answer.
    pub(crate) fn is_proxy(&self) -> bool {
        self.integration.as_ref().is_some_and(CompiledIntegration::is_proxy)
    }

    /// Whether a failure may be logged now: one a second and route, with how many were not since.
    pub(crate) fn may_warn(&self, now_ms: u64) -> Option<u64> {
        let last = self.last_warning_ms.load(Ordering::Relaxed);
        let due = now_ms.saturating_sub(last) >= 1000
            && self
                .last_warning_ms
                .compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if due {
            Some(self.unlogged.swap(0, Ordering::Relaxed))
        } else {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}
