//! From a checked configuration to a snapshot.
//!
//! In:  the configuration; the snapshot whose place it takes; what outlives a reload.
//! Out: the snapshot, or what is wrong, named as the file has it.
//!
//! Holds always: what does not compile changes nothing of what is served.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, atomic::AtomicU64},
};

use connection_store::Scope;
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
    AccessLogFormat, Api, AuthorizerKind, Configuration, Management, Route, RouteKey, Stage,
    Throttle,
};
use tidegate_telemetry::{AccessLog, AccessLogError, Metrics, RouteMetrics};

use super::{ApiEntry, Mapping, Registry, RouteAuthorizer, RouteEntry, Snapshot, StageEntry};
use crate::lifecycle_gate::LifecycleGate;

/// Largest answer of a backend, as API Gateway's payload quota has it, unless clients may send
/// larger messages. Bytes.
const MAX_ANSWER_BYTES: usize = 10 * 1024 * 1024;

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
        if let Some(integration) = &integration {
            metrics.expect_failures(integration.failures());
        }
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
