//! From what the operator wrote to what the gateway trusts: the apis.
//!
//! In, out and what holds: as in [`super::check`].

use std::collections::{BTreeMap, BTreeSet};

use tidegate_model::{
    AccessLogSettings, Api, ApiId, ApiMapping, DomainPattern, SelectionExpression, Stage, StageName,
};

use super::{
    api_file::{
        AccessLogSection, ApiMappingSection, ApiSection, Compression, Protocol, StageSection,
    },
    check::unless_bad,
    file::GatewayFile,
    key_path::KeyPath,
    lookup::Names,
    report::Report,
    surroundings::Surroundings,
};

/// API Gateway's bounds of a stage's variables.
const MAX_VARIABLES: usize = 100;
const MAX_VARIABLE_NAME: usize = 64;
const MAX_VARIABLE_VALUE: usize = 2048;

/// Everything below `[apis]`.
pub(super) fn apis(
    file: &GatewayFile,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<Api>> {
    let sections = &file.apis;
    if sections.is_empty() && !report.is_touched(key) {
        report.problem(key, "there are none, a gateway needs one at least");
    }
    let apis: Vec<_> = sections
        .iter()
        .map(|(id, section)| ApiCheck { file, section, key: key.key(id), around, report }.api(id))
        .collect();
    unique_domains(sections, key, report);
    unique_mappings(sections, key, report);
    apis.into_iter().collect()
}

/// A host leads to one api.
fn unique_domains(sections: &BTreeMap<String, ApiSection>, key: &KeyPath, report: &mut Report<'_>) {
    let mut taken = BTreeMap::new();
    for (id, section) in sections {
        let array = key.key(id).key("domains");
        for (index, text) in section.domains.iter().enumerate() {
            let Ok(domain) = text.parse::<DomainPattern>() else { continue };
            let key = report.item(&array, index);
            match taken.insert(domain.to_string(), id) {
                Some(other) if other == id => {
                    report.problem(&key, format_args!("`{domain}` is given twice"));
                }
                Some(other) => {
                    report.problem(&key, format_args!("`{domain}` leads to apis.{other} already"));
                }
                None => {}
            }
        }
    }
}

/// One api and where it stands.
pub(super) struct ApiCheck<'a, 'r, 't> {
    /// What is not the api's own, for it to name.
    pub(super) file: &'a GatewayFile,
    pub(super) section: &'a ApiSection,
    pub(super) key: KeyPath,
    pub(super) around: &'a Surroundings<'a>,
    pub(super) report: &'r mut Report<'t>,
}

/// A host that is mapped serves its mappings only, and each key of it leads to one stage.
fn unique_mappings(
    sections: &BTreeMap<String, ApiSection>,
    key: &KeyPath,
    report: &mut Report<'_>,
) {
    let domains: Vec<_> = sections
        .iter()
        .flat_map(|(id, section)| section.domains.iter().map(move |text| (id, text)))
        .filter_map(|(id, text)| Some((id, text.parse::<DomainPattern>().ok()?)))
        .collect();
    let mut taken = BTreeMap::new();
    for (id, section) in sections {
        let array = key.key(id).key("api_mappings");
        for (index, mapping) in section.api_mappings.iter().enumerate() {
            let domain = mapping.domain.as_deref().and_then(|text| text.parse().ok());
            let Some(domain) = domain.map(|domain: DomainPattern| domain) else { continue };
            let key = report.item(&array, index);
            if let Some((other, _)) = domains.iter().find(|(_, known)| *known == domain) {
                let message = format!("`{domain}` is one of the domains of apis.{other} already");
                report.problem(&key.key("domain"), message);
            }
            let pair = (domain.to_string(), mapping.key.clone());
            if let Some(other) = taken.insert(pair, id) {
                let message = match &mapping.key {
                    Some(name) => format!("`{name}` of `{domain}` leads to apis.{other} already"),
                    None => format!("the rest of `{domain}` leads to apis.{other} already"),
                };
                report.problem(&key, message);
            }
        }
    }
}

impl ApiCheck<'_, '_, '_> {
    /// The paths of custom domains.
    fn mappings(&mut self) -> Option<Vec<ApiMapping>> {
        let array = self.key.key("api_mappings");
        let section = self.section;
        let mut mappings = Some(Vec::new());
        for (index, section) in section.api_mappings.iter().enumerate() {
            let key = self.report.item(&array, index);
            let mapping = self.mapping(section, &key);
            mappings = mappings.zip(mapping).map(|(mut all, mapping)| {
                all.push(mapping);
                all
            });
        }
        mappings
    }

    fn mapping(&mut self, section: &ApiMappingSection, key: &KeyPath) -> Option<ApiMapping> {
        let domain = section.domain.as_deref();
        let domain = domain.and_then(|text| self.parsed(text, &key.key("domain")));
        let name = section.key.as_deref().map(|text| self.parsed(text, &key.key("key")));
        let stages = &self.section.stages;
        let names = Names::new("stage", "the api", self.key.key("stages"), stages.keys());
        let wanted = section.stage.as_deref();
        let stage = wanted.and_then(|name| names.find(name, &key.key("stage"), self.report));
        Some(ApiMapping { domain: domain?, key: unless_bad(name)?, stage: stage? })
    }

    fn api(mut self, id: &str) -> Option<Api> {
        let section = self.section;
        // The one protocol that there is, without compression: more of them are looked at here.
        let (Protocol::WebSocket, Compression::Off) = (section.protocol, section.compression);
        let id = self.parsed::<ApiId, _>(id, &self.key.clone());
        let route_selection_expression = self.route_selection_expression();
        let domains = self.all_parsed(&section.domains, "domains");
        let mappings = self.mappings();
        let allowed_origins = section
            .allowed_origins
            .as_ref()
            .map(|origins| self.all_parsed(origins, "allowed_origins"));
        for name in ["stages", "routes"] {
            let missing = match name {
                "stages" => section.stages.is_empty(),
                _ => section.routes.is_empty(),
            };
            let key = self.key.key(name);
            if missing && !self.report.is_touched(&key) {
                self.report
                    .problem(&key, format_args!("there are none, an api needs one at least"));
            }
        }
        let stages: Vec<_> =
            section.stages.iter().map(|(name, section)| self.stage(name, section)).collect();
        let api_key_source = self.api_key_source();
        let models = self.models();
        let authorizers: Vec<_> = section
            .authorizers
            .iter()
            .map(|(name, section)| self.authorizer(name, section))
            .collect();
        let integrations: Vec<_> = section
            .integrations
            .iter()
            .map(|(name, section)| self.integration(name, section))
            .collect();
        let routes: Vec<_> =
            section.routes.iter().map(|(key, section)| self.route(key, section)).collect();
        self.unused_integrations();
        self.unused_authorizers(&section.authorizers);
        Some(Api {
            id: id?,
            route_selection_expression: route_selection_expression?,
            domains: domains?,
            mappings: mappings?,
            allowed_origins: unless_bad(allowed_origins)?,
            binary: section.binary.into(),
            post_during_connect: section.post_during_connect.into(),
            stages: stages.into_iter().collect::<Option<_>>()?,
            routes: routes.into_iter().collect::<Option<_>>()?,
            integrations: integrations.into_iter().collect::<Option<_>>()?,
            authorizers: authorizers.into_iter().collect::<Option<_>>()?,
            models: models?,
            api_key_source: api_key_source?,
        })
    }

    fn route_selection_expression(&mut self) -> Option<SelectionExpression> {
        let key = self.key.key("route_selection_expression");
        let text = self.section.route_selection_expression.as_deref()?;
        self.selection(text, &key, |it| it.check_route_selection())
    }

    fn stage(&mut self, name: &str, section: &StageSection) -> Option<Stage> {
        let key = self.key.key("stages").key(name);
        let name = self.parsed::<StageName, _>(name, &key);
        self.variables(&section.variables, &key.key("variables"));
        let throttle = section.throttle.checked();
        let access_log =
            section.access_log.as_ref().map(|log| self.access_log(log, &key.key("access_log")));
        Some(Stage {
            name: name?,
            variables: section.variables.clone(),
            throttle: throttle?,
            access_log: unless_bad(access_log)?,
        })
    }

    fn variables(&mut self, variables: &BTreeMap<String, String>, key: &KeyPath) {
        if variables.len() > MAX_VARIABLES {
            let message =
                format!("a stage has at most {MAX_VARIABLES} variables, not {}", variables.len());
            self.report.problem(key, message);
        }
        for (name, value) in variables {
            let shaped = (1..=MAX_VARIABLE_NAME).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !shaped {
                let message = format!(
                    "{name:?} is no stage variable's name: 1 to {MAX_VARIABLE_NAME} of A-Z a-z 0-9 _"
                );
                self.report.problem(&key.key(name), message);
            }
            if value.chars().count() > MAX_VARIABLE_VALUE || value.contains(char::is_control) {
                let message = format!(
                    "a stage variable has at most {MAX_VARIABLE_VALUE} characters, and no control characters"
                );
                self.report.problem(&key.key(name), message);
            }
        }
    }

    fn access_log(
        &mut self,
        section: &AccessLogSection,
        key: &KeyPath,
    ) -> Option<AccessLogSettings> {
        let path = section.path.as_deref().and_then(|path| {
            self.around
                .writable_place(path)
                .map_err(|fault| self.report.problem(&key.key("path"), fault))
                .ok()
        });
        let format =
            section.format.as_deref().and_then(|format| self.parsed(format, &key.key("format")));
        Some(AccessLogSettings { path: path?, format: format? })
    }

    /// Where the integration that `at` names stands among the api's.
    pub(super) fn integration_index(&mut self, name: &str, at: &KeyPath) -> Option<usize> {
        let table = self.key.key("integrations");
        Names::new("integration", "the api", table, self.section.integrations.keys()).find(
            name,
            at,
            self.report,
        )
    }

    /// An integration that nothing names is likely the other half of a slip.
    fn unused_integrations(&mut self) {
        let routes = self.section.routes.values().map(|route| &route.integration);
        let authorizers = self.section.authorizers.values().map(|one| &one.integration);
        let used: BTreeSet<&String> = routes.chain(authorizers).flatten().collect();
        for name in self.section.integrations.keys().filter(|name| !used.contains(name)) {
            self.report.warning(&self.key.key("integrations").key(name), "no route uses it");
        }
    }

    pub(super) fn parsed<T, E>(&mut self, text: &str, key: &KeyPath) -> Option<T>
    where
        T: std::str::FromStr<Err = E>,
        E: std::fmt::Display,
    {
        text.parse().map_err(|error| self.report.problem(key, error)).ok()
    }

    fn all_parsed<T, E>(&mut self, texts: &[String], name: &str) -> Option<Vec<T>>
    where
        T: std::str::FromStr<Err = E>,
        E: std::fmt::Display,
    {
        let array = self.key.key(name);
        let items: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| self.parsed(text, &self.report.item(&array, index)))
            .collect();
        items.into_iter().collect()
    }
}
