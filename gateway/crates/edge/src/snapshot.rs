//! The whole configuration, compiled and indexed: one immutable value that a reload swaps.
//!
//! In:  a checked [`Configuration`](tidegate_model::Configuration).
//! Out: every look-up that a message's way needs, without a lock, a label or a parse.
//!
//! Open connections hold no part of it, only a [`StageIndex`], which stays the same over reloads:
//! routes are resolved per message against the snapshot of that moment.

mod compile;
mod registry;
mod stage;

use std::{collections::HashMap, sync::Arc};

use tidegate_flow::{token_bucket::TokenBucket, usage_plan::UsagePlans};
use tidegate_model::{AccessKey, DomainPattern, Limits, Management, MappingKey, OriginPattern};

pub use self::compile::CompileError;
pub(crate) use self::{
    compile::Compiler,
    registry::Registry,
    stage::{RouteAuthorizer, RouteEntry, StageEntry},
};

/// Names a stage of an api for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StageIndex(u32);

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

impl Snapshot {
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

/// A host without its port; an IPv6 address keeps its brackets.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
