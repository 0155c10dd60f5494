//! From what the operator wrote to what the gateway trusts: `[api_keys]` and `[usage_plans]`.
//!
//! In, out and what holds: as in [`super::check`].

use std::collections::{BTreeMap, BTreeSet};

use tidegate_model::{ApiKey, Quota, RouteKey, Secret, UsagePlan};

use super::{
    api_file::ThrottleSection,
    check::unless_bad,
    check_access_key::secret,
    file::GatewayFile,
    key_path::KeyPath,
    lookup::Names,
    report::Report,
    surroundings::Surroundings,
    usage_file::{ApiKeySection, QuotaSection, UsagePlanSection},
};

/// API Gateway's bounds of a key's value.
const MIN_KEY_CHARS: usize = 20;
const MAX_KEY_CHARS: usize = 128;
const MAX_NAME_CHARS: usize = 128;

/// `[api_keys]`. Values are unique: a value says which key it is.
pub(super) fn api_keys(
    sections: &BTreeMap<String, ApiKeySection>,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<ApiKey>> {
    let mut keys = Vec::new();
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for (name, section) in sections {
        let key = key.key(name);
        // It stands in access logs and events.
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !(1..=MAX_NAME_CHARS).contains(&name.len()) || !name.bytes().all(allowed) {
            let message =
                format!("{name:?} is no api key's name: 1 to {MAX_NAME_CHARS} of A-Z a-z 0-9 _ -");
            report.problem(&key, message);
        }
        let value = key_value(section, &key.key("value"), around, report);
        if let Some(value) = &value
            && let Some(other) = taken.insert(value.reveal().to_owned(), name)
        {
            let message = format!("is the value of api_keys.{other} too, expected another one");
            report.problem(&key.key("value"), message);
        }
        keys.push(value.map(|value| ApiKey {
            name: name.clone(),
            value,
            enabled: section.enabled,
        }));
    }
    keys.into_iter().collect()
}

fn key_value(
    section: &ApiKeySection,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Secret> {
    let value = secret(section.value.as_ref(), key, around, report)?;
    let length = value.reveal().chars().count();
    let expected = format!("expected {MIN_KEY_CHARS} to {MAX_KEY_CHARS} visible ASCII characters");
    if !(MIN_KEY_CHARS..=MAX_KEY_CHARS).contains(&length) {
        report.problem(key, format_args!("{expected}, found {length}"));
        None
    } else if !value.reveal().bytes().all(|b| b.is_ascii_graphic()) {
        report.problem(key, format_args!("{expected}, found another one: it comes in a header"));
        None
    } else {
        Some(value)
    }
}

/// `[usage_plans]`.
pub(super) fn usage_plans(file: &GatewayFile, report: &mut Report<'_>) -> Option<Vec<UsagePlan>> {
    let mut check = PlanCheck { file, report, opened: BTreeMap::new(), used: BTreeSet::new() };
    let plans: Vec<_> =
        file.usage_plans.iter().map(|(name, section)| check.plan(name, section)).collect();
    check.unused_keys();
    check.stages_that_nobody_opens();
    plans.into_iter().collect()
}

struct PlanCheck<'a, 'r, 't> {
    file: &'a GatewayFile,
    report: &'r mut Report<'t>,
    /// By stage and key, the plan that has both.
    opened: BTreeMap<(&'a str, &'a str), &'a str>,
    /// Keys that stand in a plan.
    used: BTreeSet<&'a str>,
}

impl<'a> PlanCheck<'a, '_, '_> {
    fn plan(&mut self, name: &'a str, section: &'a UsagePlanSection) -> Option<UsagePlan> {
        let key = KeyPath::root().key("usage_plans").key(name);
        if name.is_empty() {
            self.report.problem(&key, "the name is empty");
        }
        for (what, missing) in
            [("stages", section.stages.is_empty()), ("api_keys", section.api_keys.is_empty())]
        {
            if missing && !self.report.is_touched(&key.key(what)) {
                let message = format_args!("there are none, so the plan opens nothing");
                self.report.warning(&key.key(what), message);
            }
        }
        let stages = self.stages(section, &key.key("stages"));
        let api_keys = self.api_keys(section, &key.key("api_keys"));
        self.one_plan_for_a_key(name, section, &key.key("api_keys"));
        let throttle = section.throttle.as_ref().map(ThrottleSection::checked);
        let quota = section.quota.as_ref().map(quota);
        Some(UsagePlan {
            name: name.to_owned(),
            stages: stages?,
            api_keys: api_keys?,
            throttle: unless_bad(throttle)?,
            quota: unless_bad(quota)?,
        })
    }

    fn stages(
        &mut self,
        section: &UsagePlanSection,
        array: &KeyPath,
    ) -> Option<Vec<(String, String)>> {
        let mut seen = BTreeSet::new();
        let mut stages = Vec::new();
        for (index, text) in section.stages.iter().enumerate() {
            let key = self.report.item(array, index);
            if !seen.insert(text) {
                self.report.problem(&key, format_args!("{text:?} is given twice"));
            }
            stages.push(self.stage(text, &key));
        }
        stages.into_iter().collect()
    }

    fn stage(&mut self, text: &str, key: &KeyPath) -> Option<(String, String)> {
        let Some((api, stage)) = text.split_once('/') else {
            let message = format!("{text:?} is no stage: an api id and a stage name, as chat/prod");
            self.report.problem(key, message);
            return None;
        };
        let apis = KeyPath::root().key("apis");
        Names::new("api", "the file", apis.clone(), self.file.apis.keys()).find(
            api,
            key,
            self.report,
        )?;
        let stages = &self.file.apis.get(api)?.stages;
        Names::new("stage", "the api", apis.key(api).key("stages"), stages.keys()).find(
            stage,
            key,
            self.report,
        )?;
        Some((api.to_owned(), stage.to_owned()))
    }

    fn api_keys(&mut self, section: &'a UsagePlanSection, array: &KeyPath) -> Option<Vec<String>> {
        let table = KeyPath::root().key("api_keys");
        let names = Names::new("api key", "the file", table, self.file.api_keys.keys());
        let mut seen = BTreeSet::new();
        let mut keys = Vec::new();
        for (index, name) in section.api_keys.iter().enumerate() {
            let key = self.report.item(array, index);
            self.used.insert(name);
            if !seen.insert(name) {
                self.report.problem(&key, format_args!("{name:?} is given twice"));
            }
            keys.push(names.find(name, &key, self.report).map(|_| name.clone()));
        }
        keys.into_iter().collect()
    }

    /// A key is in at most one plan of a stage, or it could not be told whose figures hold.
    fn one_plan_for_a_key(
        &mut self,
        plan: &'a str,
        section: &'a UsagePlanSection,
        array: &KeyPath,
    ) {
        for (index, name) in section.api_keys.iter().enumerate() {
            let key = self.report.item(array, index);
            for stage in &section.stages {
                let other = *self.opened.entry((stage, name)).or_insert(plan);
                if other != plan {
                    let message =
                        format!("{name:?} is in usage_plans.{other} for {stage:?} already");
                    self.report.problem(&key, message);
                }
            }
        }
    }

    fn unused_keys(&mut self) {
        let plans = KeyPath::root().key("usage_plans");
        if self.report.is_touched(&plans) {
            return;
        }
        for name in self.file.api_keys.keys().filter(|name| !self.used.contains(name.as_str())) {
            let key = KeyPath::root().key("api_keys").key(name);
            self.report.warning(&key, "no usage plan has it, so it opens nothing");
        }
    }

    fn stages_that_nobody_opens(&mut self) {
        if self.report.is_touched(&KeyPath::root().key("usage_plans")) {
            return;
        }
        for (id, api) in &self.file.apis {
            let Some(connect) = api.routes.get(RouteKey::CONNECT) else { continue };
            let opened = |stage: &String| {
                let stage = format!("{id}/{stage}");
                self.opened.keys().any(|(open, _)| *open == stage)
            };
            let closed: Vec<_> =
                api.stages.keys().filter(|stage| !opened(stage)).map(String::as_str).collect();
            if connect.api_key_required && !closed.is_empty() {
                let key = KeyPath::root().key("apis").key(id).key("routes").key(RouteKey::CONNECT);
                let message = format!(
                    "no usage plan has a key for stage {}, so nobody can connect there",
                    closed.join(", ")
                );
                self.report.warning(&key.key("api_key_required"), message);
            }
        }
    }
}

/// `None` where a figure has been reported.
fn quota(section: &QuotaSection) -> Option<Quota> {
    Some(Quota { limit: section.limit?, period: section.period?.into() })
}
