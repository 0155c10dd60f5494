//! The whole configuration, compiled and indexed: one immutable value that a reload swaps.
//!
//! In:  a checked [`Configuration`].
//! Out: every look-up that a message's way needs, without a lock, a label or a parse.
//!
//! Open connections hold no part of it, only a [`StageIndex`], which stays the same over reloads:
//! routes are resolved per message against the snapshot of that moment.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use connection_store::Scope;
use parking_lot::Mutex;
use tidegate_flow::token_bucket::TokenBucket;
use tidegate_integrations::CompiledIntegration;
use tidegate_model::{
    AccessLogFormat, Api, Binary, Configuration, DomainPattern, InvalidUri, Limits, Management,
    OriginPattern, PostDuringConnect, RequiredParameter, RouteKey, Secret, SelectionExpression,
    Stage, Throttle,
};
use tidegate_telemetry::{AccessLog, AccessLogError, Metrics, RouteMetrics, StageMetrics};

/// Largest answer of a backend, as API Gateway's payload quota has it, unless clients may send
/// larger messages. Bytes.
const MAX_ANSWER_BYTES: usize = 10 * 1024 * 1024;

/// Names a stage of an api for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StageIndex(u32);

/// Why a configuration that was checked could still not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A uri does not expand.
    #[error("apis.{api}.integrations.{integration}.uri")]
    Uri {
        /// The api.
        api: String,
        /// The integration.
        integration: String,
        /// What is wrong.
        #[source]
        source: InvalidUri,
    },
    /// An access log does not open.
    #[error("apis.{api}.stages.{stage}.access_log")]
    AccessLog {
        /// The api.
        api: String,
        /// The stage.
        stage: String,
        /// What is wrong.
        #[source]
        source: AccessLogError,
    },
}

/// What outlives a reload: indexes, access log files.
#[derive(Default)]
pub(crate) struct Registry {
    stages: Mutex<HashMap<(String, String), StageIndex>>,
    access_logs: Mutex<HashMap<PathBuf, AccessLog>>,
}

/// See the module.
pub(crate) struct Snapshot {
    pub(crate) limits: Limits,
    pub(crate) management: Management,
    secrets: HashMap<String, Secret>,
    pub(crate) new_connections: Option<TokenBucket>,
    apis: Vec<ApiEntry>,
    /// By [`StageIndex`]. A stage that a reload removed stays here as it was last: its connections
    /// are being closed, and their `$disconnect` shall still run.
    stages: Vec<Option<Arc<StageEntry>>>,
    /// Names of such stages. Whoever posts to one shall read that the connection is gone.
    removed: HashMap<(String, String), StageIndex>,
}

/// One api.
pub(crate) struct ApiEntry {
    id: String,
    domains: Vec<DomainPattern>,
    stages: HashMap<String, StageIndex>,
    pub(crate) allowed_origins: Option<Vec<OriginPattern>>,
}

/// One stage with the routes of its api.
pub(crate) struct StageEntry {
    pub(crate) scope: Arc<Scope>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) expression: SelectionExpression,
    routes: HashMap<Box<str>, Arc<RouteEntry>>,
    pub(crate) connect: Option<Arc<RouteEntry>>,
    pub(crate) disconnect: Option<Arc<RouteEntry>>,
    pub(crate) binary: Binary,
    pub(crate) post_during_connect: PostDuringConnect,
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
    pub(crate) reply: bool,
    pub(crate) throttle: Option<TokenBucket>,
    pub(crate) required: Vec<RequiredParameter>,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// When a failure of this route was last logged, and how many were not; milliseconds.
    last_warning_ms: AtomicU64,
    unlogged: AtomicU64,
}

impl Snapshot {
    /// Compiles a configuration that takes the place of `previous`.
    pub(crate) fn compile(
        configuration: &Configuration,
        previous: Option<&Self>,
        registry: &Registry,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, CompileError> {
        let mut apis = Vec::with_capacity(configuration.apis.len());
        let mut stages: Vec<Option<Arc<StageEntry>>> = Vec::new();
        let mut used_logs = Vec::new();
        for api in &configuration.apis {
            let mut names = HashMap::new();
            for stage in &api.stages {
                let index = registry.stage(api.id.as_str(), stage.name.as_str());
                let position = index.0 as usize;
                if stages.len() <= position {
                    stages.resize_with(position + 1, || None);
                }
                used_logs.extend(stage.access_log.as_ref().map(|log| log.path.clone()));
                let max_answer_bytes = MAX_ANSWER_BYTES.max(configuration.limits.max_message_bytes);
                let entry = compile_stage(api, stage, max_answer_bytes, registry, metrics)?;
                stages[position] = Some(Arc::new(entry));
                names.insert(stage.name.to_string(), index);
            }
            apis.push(ApiEntry {
                id: api.id.to_string(),
                domains: api.domains.clone(),
                stages: names,
                allowed_origins: api.allowed_origins.clone(),
            });
        }
        let mut removed = HashMap::new();
        for (name, index) in registry.stages.lock().iter() {
            let position = index.0 as usize;
            if stages.get(position).is_none_or(Option::is_none) {
                removed.insert(name.clone(), *index);
                let last = previous.and_then(|previous| previous.stage(*index)).cloned();
                if stages.len() <= position {
                    stages.resize_with(position + 1, || None);
                }
                stages[position] = last;
            }
        }
        registry.access_logs.lock().retain(|path, _| used_logs.contains(path));
        let secrets = match &configuration.management {
            Management::LoopbackOnly => HashMap::new(),
            Management::SigV4(credentials) => credentials
                .iter()
                .map(|c| (c.access_key_id.clone(), c.secret_access_key.clone()))
                .collect(),
        };
        let new_connections = configuration.limits.new_connections_per_s.map(|rate| {
            TokenBucket::new(Throttle { rate: f64::from(rate.get()), burst: rate.get() })
        });
        Ok(Self {
            limits: configuration.limits.clone(),
            management: configuration.management.clone(),
            secrets,
            new_connections,
            apis,
            stages,
            removed,
        })
    }

    /// Which api a request is for, by its `Host` (tidegate, section 2): an exact domain, a
    /// wildcard, `{api id}.execute-api.…`, `{api id}.localhost`, the only api there is.
    pub(crate) fn api(&self, host: &str) -> Option<&ApiEntry> {
        let name = host_name(host);
        let by = |wanted: &dyn Fn(&ApiEntry) -> bool| self.apis.iter().find(|api| wanted(api));
        by(&|api| {
            api.domains.iter().any(|d| matches!(d, DomainPattern::Exact(_)) && d.matches(name))
        })
        .or_else(|| by(&|api| api.domains.iter().any(|domain| domain.matches(name))))
        .or_else(|| {
            let (label, rest) = name.split_once('.')?;
            let rest = rest.to_ascii_lowercase();
            let local = rest == "localhost" || rest.starts_with("execute-api.");
            by(&|api| local && api.id.eq_ignore_ascii_case(label))
        })
        .or(match &self.apis[..] {
            [only] => Some(only),
            _ => None,
        })
    }

    /// The stage that a connection belongs to; as it was last, if a reload removed it.
    pub(crate) fn stage(&self, index: StageIndex) -> Option<&Arc<StageEntry>> {
        self.stages.get(index.0 as usize)?.as_ref()
    }

    /// Whether `stage` of `api` was served before a reload removed it.
    pub(crate) fn was_removed(&self, api: &ApiEntry, stage: &str) -> bool {
        !self.removed.is_empty() && self.removed.contains_key(&(api.id.clone(), stage.to_owned()))
    }

    /// Whether a stage is served, rather than being closed.
    pub(crate) fn serves(&self, index: StageIndex) -> bool {
        !self.removed.values().any(|removed| *removed == index)
    }

    /// The secret of an access key.
    pub(crate) fn secret(&self, access_key_id: &str) -> Option<&Secret> {
        self.secrets.get(access_key_id)
    }
}

impl ApiEntry {
    /// The stage of that name.
    pub(crate) fn stage(&self, name: &str) -> Option<StageIndex> {
        self.stages.get(name).copied()
    }
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

impl Registry {
    fn stage(&self, api: &str, stage: &str) -> StageIndex {
        let mut stages = self.stages.lock();
        let next = u32::try_from(stages.len()).expect("stages are fewer than 4 billion");
        *stages.entry((api.to_owned(), stage.to_owned())).or_insert(StageIndex(next))
    }

    /// Opens every access log file anew (`logrotate`).
    pub(crate) fn reopen_access_logs(&self) {
        for log in self.access_logs.lock().values() {
            log.reopen();
        }
    }
}

fn compile_stage(
    api: &Api,
    stage: &Stage,
    max_answer_bytes: usize,
    registry: &Registry,
    metrics: &Arc<Metrics>,
) -> Result<StageEntry, CompileError> {
    let keys = api.routes.iter().map(|route| route.key.as_str());
    // Events of a kind that has no route are counted and logged under the kind's own key.
    let always = [RouteKey::CONNECT, RouteKey::DISCONNECT];
    let stage_metrics = metrics.stage(api.id.as_str(), stage.name.as_str(), keys.chain(always));
    let handles = |key: &str| {
        stage_metrics
            .route(key)
            .cloned()
            .expect("handles were made for every route and @connections")
    };
    let mut routes = HashMap::new();
    for route in &api.routes {
        let integration = match route.integration.map(|index| &api.integrations[index]) {
            None => None,
            Some(integration) => Some(
                CompiledIntegration::compile(
                    api.id.as_str(),
                    integration,
                    &stage.variables,
                    max_answer_bytes,
                )
                .map_err(|source| CompileError::Uri {
                    api: api.id.to_string(),
                    integration: integration.name.clone(),
                    source,
                })?,
            ),
        };
        let entry = Arc::new(RouteEntry {
            key: route.key.as_str().into(),
            integration,
            reply: route.reply,
            throttle: route.throttle.map(TokenBucket::new),
            required: route.request_parameters.clone(),
            metrics: handles(route.key.as_str()),
            last_warning_ms: AtomicU64::new(0),
            unlogged: AtomicU64::new(0),
        });
        routes.insert(Box::from(route.key.as_str()), entry);
    }
    let access_log = match &stage.access_log {
        None => None,
        Some(settings) => {
            let mut open = registry.access_logs.lock();
            let log = match open.get(&settings.path) {
                Some(log) => log.clone(),
                None => {
                    let log = AccessLog::open(&settings.path, metrics.access_log_dropped())
                        .map_err(|source| CompileError::AccessLog {
                            api: api.id.to_string(),
                            stage: stage.name.to_string(),
                            source,
                        })?;
                    open.insert(settings.path.clone(), log.clone());
                    log
                }
            };
            Some((log, settings.format.clone()))
        }
    };
    Ok(StageEntry {
        scope: Arc::new(Scope { api: api.id.as_str().into(), stage: stage.name.as_str().into() }),
        variables: stage.variables.clone(),
        expression: api.route_selection_expression.clone(),
        connect: routes.remove(RouteKey::CONNECT),
        disconnect: routes.remove(RouteKey::DISCONNECT),
        routes,
        binary: api.binary,
        post_during_connect: api.post_during_connect,
        throttle: stage.throttle.map(TokenBucket::new),
        access_log,
        posts: handles("@connections"),
        metrics: stage_metrics,
    })
}

/// A host without its port; an IPv6 address keeps its brackets.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
