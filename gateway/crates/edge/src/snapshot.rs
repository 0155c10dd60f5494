//! The whole configuration, compiled and indexed: one immutable value that a reload swaps.
//!
//! In:  a checked [`Configuration`].
//! Out: every look-up that a message's way needs, without a lock, a label or a parse.
//!
//! Open connections hold no part of it, only a [`StageIndex`], which stays the same over reloads:
//! routes are resolved per message against the snapshot of that moment.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use connection_store::Scope;
use parking_lot::Mutex;
use tidegate_authorizers::{
    CompiledAuthorizer, IamAuthorizer, RequestAuthorizer,
    jwt::{JwtKeyCache, JwtVerifier},
};
use tidegate_flow::{
    iam_access::StageArn,
    models::{BodyValidator, ModelSet},
    token_bucket::TokenBucket,
    usage_plan::UsagePlans,
};
use tidegate_integrations::{
    Aws, AwsEnvironment, CompiledIntegration, InvalidIntegration, LocalFunctions, Surroundings,
};
use tidegate_model::{
    AccessKey, AccessLogFormat, Api, ApiKeySource, AuthorizerKind, Binary, Configuration,
    DomainPattern, Limits, Management, MappingKey, OriginPattern, PostDuringConnect,
    RequiredParameter, Route, RouteKey, SelectionExpression, Stage, Throttle,
};
use tidegate_telemetry::{AccessLog, AccessLogError, Metrics, RouteMetrics, StageMetrics};
use tokio::sync::Semaphore;

use crate::lifecycle_gate::LifecycleGate;

/// Largest answer of a backend, as API Gateway's payload quota has it, unless clients may send
/// larger messages. Bytes.
const MAX_ANSWER_BYTES: usize = 10 * 1024 * 1024;

/// Names a stage of an api for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StageIndex(u32);

/// Why a configuration that was checked could still not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A uri does not expand, a template does not compile.
    #[error("apis.{api}.integrations.{integration}")]
    Integration {
        /// The api.
        api: String,
        /// The integration.
        integration: String,
        /// What is wrong.
        #[source]
        source: InvalidIntegration,
    },
    /// An authorizer cannot decide.
    #[error("apis.{api}.authorizers.{authorizer}: {reason}")]
    Authorizer {
        /// The api.
        api: String,
        /// The authorizer.
        authorizer: String,
        /// What is wrong.
        reason: String,
    },
    /// A model is no JSON Schema, or a route names none that there is.
    #[error("apis.{api}.models: {reason}")]
    Models {
        /// The api.
        api: String,
        /// What is wrong.
        reason: String,
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
    /// By api, integration and limit.
    lifecycle_places: Mutex<HashMap<(String, String, u32), Arc<Semaphore>>>,
    stages: Mutex<HashMap<(String, String), StageIndex>>,
    access_logs: Mutex<HashMap<PathBuf, AccessLog>>,
}

/// See the module.
pub(crate) struct Snapshot {
    pub(crate) limits: Limits,
    pub(crate) management: Management,
    /// Over all calls of the management API.
    pub(crate) management_throttle: Option<TokenBucket>,
    /// By id; of `management`.
    access_keys: HashMap<String, AccessKey>,
    /// What stands in ARNs.
    pub(crate) region: String,
    pub(crate) account_id: String,
    pub(crate) usage_plans: UsagePlans,
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
    mappings: Vec<Mapping>,
    stages: HashMap<String, StageIndex>,
    pub(crate) allowed_origins: Option<Vec<OriginPattern>>,
}

/// One path of a custom domain.
struct Mapping {
    domain: DomainPattern,
    key: Option<MappingKey>,
    stage: String,
}

/// Where a request's host and path lead.
pub(crate) struct Place<'s> {
    pub(crate) api: &'s ApiEntry,
    /// `None` where the path names no stage that is served.
    pub(crate) stage: Option<StageIndex>,
    /// Whether a stage of that name was served before a reload removed it.
    pub(crate) was_removed: bool,
    /// Whether the path's first segment named the stage, and what is asked for comes after it.
    pub(crate) is_named: bool,
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
    last_warning_ms: AtomicU64,
    unlogged: AtomicU64,
}

/// Who decides about a connect.
#[derive(Debug)]
pub(crate) enum RouteAuthorizer {
    /// A signature, which is checked while the request is there as it was received.
    Iam(IamAuthorizer),
    /// Somebody who is asked.
    Asked(CompiledAuthorizer),
}

/// What snapshots are compiled with, besides the configuration.
pub(crate) struct Compiler<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) metrics: &'a Arc<Metrics>,
    pub(crate) functions: &'a Arc<LocalFunctions>,
    pub(crate) jwt_keys: &'a JwtKeyCache,
}

impl Snapshot {
    /// Compiles a configuration that takes the place of `previous`.
    pub(crate) fn compile(
        configuration: &Configuration,
        previous: Option<&Self>,
        compiler: &Compiler<'_>,
    ) -> Result<Self, CompileError> {
        let registry = compiler.registry;
        let aws = Arc::new(Aws::new(configuration.aws.clone(), AwsEnvironment::of_process()));
        let max_answer_bytes = MAX_ANSWER_BYTES.max(configuration.limits.max_message_bytes);
        let mut apis = Vec::with_capacity(configuration.apis.len());
        let mut stages: Vec<Option<Arc<StageEntry>>> = Vec::new();
        let mut used_logs = Vec::new();
        for api in &configuration.apis {
            let mut names = HashMap::new();
            let models = ModelSet::compile(&api.models).map_err(|invalid| {
                CompileError::Models { api: api.id.to_string(), reason: joined(invalid.iter()) }
            })?;
            for stage in &api.stages {
                let index = registry.stage(api.id.as_str(), stage.name.as_str());
                let position = index.0 as usize;
                if stages.len() <= position {
                    stages.resize_with(position + 1, || None);
                }
                used_logs.extend(stage.access_log.as_ref().map(|log| log.path.clone()));
                let arn = StageArn {
                    region: &configuration.aws.region,
                    account_id: &configuration.aws.account_id,
                    api_id: api.id.as_str(),
                    stage: stage.name.as_str(),
                };
                let around = Surroundings {
                    api_id: api.id.as_str(),
                    variables: &stage.variables,
                    max_answer_bytes,
                    aws: &aws,
                    functions: compiler.functions,
                };
                let entry = StageCompiler {
                    api,
                    stage,
                    models: &models,
                    arn,
                    around,
                    lifecycle_calls: configuration.limits.lifecycle_calls_in_flight,
                    compiler,
                }
                .compile()?;
                stages[position] = Some(Arc::new(entry));
                names.insert(stage.name.to_string(), index);
            }
            apis.push(ApiEntry {
                id: api.id.to_string(),
                domains: api.domains.clone(),
                mappings: api
                    .mappings
                    .iter()
                    .map(|mapping| Mapping {
                        domain: mapping.domain.clone(),
                        key: mapping.key.clone(),
                        stage: api.stages[mapping.stage].name.to_string(),
                    })
                    .collect(),
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
        let access_keys = match &configuration.management {
            Management::LoopbackOnly => HashMap::new(),
            Management::SigV4(keys) => {
                keys.iter().map(|key| (key.access_key_id.clone(), key.clone())).collect()
            }
        };
        let usage_plans = UsagePlans::new(&configuration.api_keys, &configuration.usage_plans);
        let usage_plans = match previous {
            Some(previous) => usage_plans.carry_over(&previous.usage_plans),
            None => usage_plans,
        };
        let new_connections = configuration.limits.new_connections_per_s.map(|rate| {
            TokenBucket::new(Throttle { rate: f64::from(rate.get()), burst: rate.get() })
        });
        Ok(Self {
            limits: configuration.limits.clone(),
            management: configuration.management.clone(),
            management_throttle: configuration.management_throttle.map(TokenBucket::new),
            access_keys,
            region: configuration.aws.region.clone(),
            account_id: configuration.aws.account_id.clone(),
            usage_plans,
            new_connections,
            apis,
            stages,
            removed,
        })
    }

    /// Where a request for `host` leads whose path has `first` as its first segment, decoded. `None`
    /// where nobody answers to the host, or no mapping of it to the path.
    pub(crate) fn place(&self, host: &str, first: Option<&str>) -> Option<Place<'_>> {
        if let Some(mapped) = self.mapped(host_name(host), first) {
            return mapped;
        }
        let api = self.api(host)?;
        let stage = first.and_then(|name| api.stages.get(name).copied());
        let was_removed = stage.is_none()
            && first
                .is_some_and(|name| self.removed.contains_key(&(api.id.clone(), name.to_owned())));
        Some(Place { api, stage, was_removed, is_named: true })
    }

    /// The same for a host that has mappings; `None` where it has none. An exact host wins over a
    /// wildcard, a key over the mapping without one (websocket-api, 12.3).
    fn mapped(&self, name: &str, first: Option<&str>) -> Option<Option<Place<'_>>> {
        let all = || self.apis.iter().flat_map(|api| api.mappings.iter().map(move |m| (api, m)));
        let is_exact = |m: &Mapping| matches!(m.domain, DomainPattern::Exact(_));
        let (_, found) = all()
            .filter(|(_, mapping)| mapping.domain.matches(name))
            .max_by_key(|(_, mapping)| is_exact(mapping))?;
        let of_host = || all().filter(|(_, mapping)| mapping.domain == found.domain);
        let keyed = of_host().find(|(_, mapping)| {
            mapping.key.as_ref().is_some_and(|key| Some(key.as_str()) == first)
        });
        let chosen = keyed.or_else(|| of_host().find(|(_, mapping)| mapping.key.is_none()));
        Some(chosen.map(|(api, mapping)| Place {
            api,
            stage: api.stages.get(&mapping.stage).copied(),
            was_removed: false,
            is_named: mapping.key.is_some(),
        }))
    }

    /// Which api a request is for, by its `Host` (tidegate, section 2): an exact domain, a
    /// wildcard, `{api id}.execute-api.…`, `{api id}.localhost`, the only api there is.
    fn api(&self, host: &str) -> Option<&ApiEntry> {
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

    /// The stage of that name, which is served or was before a reload.
    pub(crate) fn stage_named(&self, api: &str, stage: &str) -> Option<&Arc<StageEntry>> {
        let of =
            |entry: &&Arc<StageEntry>| *entry.scope.api == *api && *entry.scope.stage == *stage;
        self.stages.iter().flatten().find(of)
    }

    /// Whether a stage is served, rather than being closed.
    pub(crate) fn serves(&self, index: StageIndex) -> bool {
        !self.removed.values().any(|removed| *removed == index)
    }

    /// An access key of the management API's.
    pub(crate) fn access_key(&self, access_key_id: &str) -> Option<&AccessKey> {
        self.access_keys.get(access_key_id)
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

impl Registry {
    fn stage(&self, api: &str, stage: &str) -> StageIndex {
        let mut stages = self.stages.lock();
        let next = u32::try_from(stages.len()).expect("stages are fewer than 4 billion");
        *stages.entry((api.to_owned(), stage.to_owned())).or_insert(StageIndex(next))
    }

    fn lifecycle_places(&self, api: &str, integration: &str, limit: NonZeroU32) -> Arc<Semaphore> {
        let key = (api.to_owned(), integration.to_owned(), limit.get());
        let places = usize::try_from(limit.get()).unwrap_or(Semaphore::MAX_PERMITS);
        let mut known = self.lifecycle_places.lock();
        known.entry(key).or_insert_with(|| Arc::new(Semaphore::new(places))).clone()
    }

    /// Opens every access log file anew (`logrotate`).
    pub(crate) fn reopen_access_logs(&self) {
        for log in self.access_logs.lock().values() {
            log.reopen();
        }
    }
}

/// One stage while it is compiled.
struct StageCompiler<'a> {
    api: &'a Api,
    stage: &'a Stage,
    models: &'a ModelSet,
    arn: StageArn<'a>,
    around: Surroundings<'a>,
    lifecycle_calls: NonZeroU32,
    compiler: &'a Compiler<'a>,
}

impl StageCompiler<'_> {
    fn compile(&self) -> Result<StageEntry, CompileError> {
        let Self { api, stage, .. } = self;
        let keys = api.routes.iter().map(|route| route.key.as_str());
        // Events of a kind that has no route are counted and logged under the kind's own key.
        let always = [RouteKey::CONNECT, RouteKey::DISCONNECT];
        let metrics =
            self.compiler.metrics.stage(api.id.as_str(), stage.name.as_str(), keys.chain(always));
        let handles = |key: &str| {
            metrics.route(key).cloned().expect("handles were made for every route and @connections")
        };
        let mut routes = HashMap::new();
        for route in &api.routes {
            let entry = self.route(route, handles(route.key.as_str()))?;
            routes.insert(Box::from(route.key.as_str()), Arc::new(entry));
        }
        Ok(StageEntry {
            scope: Arc::new(Scope {
                api: api.id.as_str().into(),
                stage: stage.name.as_str().into(),
            }),
            variables: stage.variables.clone(),
            expression: api.route_selection_expression.clone(),
            connect: routes.remove(RouteKey::CONNECT),
            disconnect: routes.remove(RouteKey::DISCONNECT),
            routes,
            binary: api.binary,
            post_during_connect: api.post_during_connect,
            api_key_source: api.api_key_source,
            throttle: stage.throttle.map(TokenBucket::new),
            access_log: self.access_log()?,
            posts: handles("@connections"),
            metrics,
        })
    }

    fn route(&self, route: &Route, metrics: Arc<RouteMetrics>) -> Result<RouteEntry, CompileError> {
        let named = route.integration.map(|index| &self.api.integrations[index]);
        let integration = match named {
            None => None,
            Some(integration) => Some(
                CompiledIntegration::compile(&self.around, integration)
                    .map_err(|source| self.bad_integration(&integration.name, source))?,
            ),
        };
        let validator = match &route.validation {
            None => None,
            Some(validation) => {
                Some(BodyValidator::compile(validation, self.models).map_err(|unknown| {
                    CompileError::Models {
                        api: self.api.id.to_string(),
                        reason: joined(unknown.iter()),
                    }
                })?)
            }
        };
        let is_lifecycle = matches!(route.key.as_str(), RouteKey::CONNECT | RouteKey::DISCONNECT);
        let is_waited_for =
            is_lifecycle && integration.as_ref().is_some_and(|target| !target.is_immediate());
        let authorizer_integration =
            route.authorizer.and_then(|index| match &self.api.authorizers[index].kind {
                AuthorizerKind::Request(settings) => Some(settings.integration),
                AuthorizerKind::Jwt(_) | AuthorizerKind::Iam(_) => None,
            });
        Ok(RouteEntry {
            key: route.key.as_str().into(),
            integration,
            gate: route.integration.filter(|_| is_waited_for).map(|index| self.gate(index)),
            authorizer_gate: authorizer_integration.map(|index| self.gate(index)),
            integration_name: named.map(|integration| integration.name.as_str().into()),
            reply: route.reply,
            throttle: route.throttle.map(TokenBucket::new),
            required: route.request_parameters.clone(),
            authorizer: route.authorizer.map(|index| self.authorizer(index)).transpose()?,
            authorizer_name: route
                .authorizer
                .map(|index| self.api.authorizers[index].name.as_str().into()),
            api_key_required: route.api_key_required,
            validator,
            metrics,
            last_warning_ms: AtomicU64::new(0),
            unlogged: AtomicU64::new(0),
        })
    }

    /// The bound of an integration: one for all stages and over all reloads.
    fn gate(&self, index: usize) -> LifecycleGate {
        let integration = &self.api.integrations[index];
        let places = self.compiler.registry.lifecycle_places(
            self.api.id.as_str(),
            &integration.name,
            self.lifecycle_calls,
        );
        LifecycleGate::new(places, integration.timeout)
    }

    fn authorizer(&self, index: usize) -> Result<RouteAuthorizer, CompileError> {
        let authorizer = &self.api.authorizers[index];
        Ok(match &authorizer.kind {
            AuthorizerKind::Iam(keys) => RouteAuthorizer::Iam(IamAuthorizer::new(keys, &self.arn)),
            AuthorizerKind::Jwt(rules) => {
                let verifier = JwtVerifier::new((**rules).clone(), self.compiler.jwt_keys);
                RouteAuthorizer::Asked(CompiledAuthorizer::Jwt(Box::new(verifier)))
            }
            AuthorizerKind::Request(settings) => {
                let integration = &self.api.integrations[settings.integration];
                let compiled =
                    RequestAuthorizer::compile(&self.around, &self.arn, settings, integration)
                        .map_err(|source| self.bad_integration(&integration.name, source))?;
                let compiled = compiled.ok_or_else(|| CompileError::Authorizer {
                    api: self.api.id.to_string(),
                    authorizer: authorizer.name.clone(),
                    reason: format!("the integration {} is no function", integration.name),
                })?;
                RouteAuthorizer::Asked(CompiledAuthorizer::Request(Box::new(compiled)))
            }
        })
    }

    fn bad_integration(&self, integration: &str, source: InvalidIntegration) -> CompileError {
        CompileError::Integration {
            api: self.api.id.to_string(),
            integration: integration.to_owned(),
            source,
        }
    }

    fn access_log(&self) -> Result<Option<(AccessLog, AccessLogFormat)>, CompileError> {
        let Some(settings) = &self.stage.access_log else { return Ok(None) };
        let mut open = self.compiler.registry.access_logs.lock();
        let log = match open.get(&settings.path) {
            Some(log) => log.clone(),
            None => {
                let dropped = self.compiler.metrics.access_log_dropped();
                let log = AccessLog::open(&settings.path, dropped).map_err(|source| {
                    CompileError::AccessLog {
                        api: self.api.id.to_string(),
                        stage: self.stage.name.to_string(),
                        source,
                    }
                })?;
                open.insert(settings.path.clone(), log.clone());
                log
            }
        };
        Ok(Some((log, settings.format.clone())))
    }
}

/// Several problems in one line.
fn joined<'p, P: std::fmt::Display + 'p>(problems: impl Iterator<Item = &'p P>) -> String {
    problems.map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A host without its port; an IPv6 address keeps its brackets.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
