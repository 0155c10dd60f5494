//! From what the operator wrote to what the gateway trusts: the apis.
//!
//! In, out and what holds: as in [`super::check`].

use std::{collections::BTreeMap, time::Duration};

use tidegate_model::{
    AccessLogSettings, Api, ApiId, DomainPattern, HttpTarget, Integration, IntegrationKind,
    ParameterSource, ParameterTarget, RequestParameter, RequiredParameter, Route, RouteKey,
    SelectionExpression, Stage, StageName, Throttle, UriTemplate,
};

use super::{
    api_file::{
        AccessLogSection, ApiSection, Compression, IntegrationSection, IntegrationType, Protocol,
        RouteSection, StageSection, StageThrottle, ThrottleSection,
    },
    check::unless_bad,
    key_path::KeyPath,
    report::Report,
    suggestion::nearest,
    surroundings::Surroundings,
};

/// API Gateway's bounds of a stage's variables.
const MAX_VARIABLES: usize = 100;
const MAX_VARIABLE_NAME: usize = 64;
const MAX_VARIABLE_VALUE: usize = 2048;

/// Everything below `[apis]`.
pub(super) fn apis(
    sections: &BTreeMap<String, ApiSection>,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<Api>> {
    if sections.is_empty() && !report.is_touched(key) {
        report.problem(key, "there are none, a gateway needs one at least");
    }
    let apis: Vec<_> = sections
        .iter()
        .map(|(id, section)| ApiCheck { section, key: key.key(id), around, report }.api(id))
        .collect();
    unique_domains(sections, key, report);
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
struct ApiCheck<'a, 'r, 't> {
    section: &'a ApiSection,
    key: KeyPath,
    around: &'a Surroundings<'a>,
    report: &'r mut Report<'t>,
}

impl<'a> ApiCheck<'a, '_, '_> {
    fn api(mut self, id: &str) -> Option<Api> {
        let section = self.section;
        // The one protocol that there is, without compression: more of them are looked at here.
        let (Protocol::WebSocket, Compression::Off) = (section.protocol, section.compression);
        let id = self.parsed::<ApiId, _>(id, &self.key.clone());
        let route_selection_expression = self.route_selection_expression();
        let domains = self.all_parsed(&section.domains, "domains");
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
        let integrations: Vec<_> = section
            .integrations
            .iter()
            .map(|(name, section)| self.integration(name, section))
            .collect();
        let routes: Vec<_> =
            section.routes.iter().map(|(key, section)| self.route(key, section)).collect();
        self.unused_integrations();
        Some(Api {
            id: id?,
            route_selection_expression: route_selection_expression?,
            domains: domains?,
            allowed_origins: unless_bad(allowed_origins)?,
            binary: section.binary.into(),
            post_during_connect: section.post_during_connect.into(),
            stages: stages.into_iter().collect::<Option<_>>()?,
            routes: routes.into_iter().collect::<Option<_>>()?,
            integrations: integrations.into_iter().collect::<Option<_>>()?,
        })
    }

    fn route_selection_expression(&mut self) -> Option<SelectionExpression> {
        let key = self.key.key("route_selection_expression");
        let text = self.section.route_selection_expression.as_deref()?;
        let checked = SelectionExpression::parse(text)
            .and_then(|expression| expression.check_route_selection().map(|()| expression));
        checked.map_err(|error| self.report.problem(&key, error)).ok()
    }

    fn stage(&mut self, name: &str, section: &StageSection) -> Option<Stage> {
        let key = self.key.key("stages").key(name);
        let name = self.parsed::<StageName, _>(name, &key);
        self.variables(&section.variables, &key.key("variables"));
        let throttle = match &section.throttle {
            StageThrottle::Of(section) => Some(throttle(section)),
            StageThrottle::Lifted(_) => None,
        };
        let access_log =
            section.access_log.as_ref().map(|log| self.access_log(log, &key.key("access_log")));
        Some(Stage {
            name: name?,
            variables: section.variables.clone(),
            throttle: unless_bad(throttle)?,
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

    fn integration(&mut self, name: &str, section: &IntegrationSection) -> Option<Integration> {
        let key = self.key.key("integrations").key(name);
        if name.is_empty() {
            self.report.problem(&key, "the name is empty");
        }
        let kind = section.kind.and_then(|kind| match kind {
            IntegrationType::HttpProxy => {
                self.http_target(section, &key).map(IntegrationKind::HttpProxy)
            }
            IntegrationType::Http => self.http_target(section, &key).map(IntegrationKind::Http),
            IntegrationType::AwsProxy => self.aws_proxy(section, &key),
            IntegrationType::Mock => self.mock(section, &key),
        });
        if section.status.is_some() && !matches!(section.kind, None | Some(IntegrationType::Mock)) {
            self.report.problem(&key.key("status"), "is for type \"mock\" only");
        }
        let request_parameters: Vec<_> = section
            .request_parameters
            .iter()
            .map(|(target, source)| self.request_parameter(target, source, &key))
            .collect();
        Some(Integration {
            name: name.to_owned(),
            kind: kind?,
            timeout: Duration::from_millis(section.timeout_ms.into()),
            request_parameters: request_parameters.into_iter().collect::<Option<_>>()?,
            context_headers: section.context_headers,
        })
    }

    fn http_target(&mut self, section: &IntegrationSection, key: &KeyPath) -> Option<HttpTarget> {
        let uri = self.uri(section, key);
        let method = self.method(section, &key.key("method"));
        Some(HttpTarget { uri: uri?, method: method? })
    }

    fn aws_proxy(
        &mut self,
        section: &IntegrationSection,
        key: &KeyPath,
    ) -> Option<IntegrationKind> {
        let method = section.method.as_deref();
        if method.is_some_and(|method| method != "POST") {
            self.report.problem(&key.key("method"), "a function is always called with POST");
        }
        self.uri(section, key).map(|uri| IntegrationKind::AwsProxy { uri })
    }

    fn mock(&mut self, section: &IntegrationSection, key: &KeyPath) -> Option<IntegrationKind> {
        let needless = [("uri", section.uri.is_some()), ("method", section.method.is_some())];
        for (name, _) in needless.into_iter().filter(|(_, given)| *given) {
            self.report.problem(&key.key(name), "is not for type \"mock\", which calls no backend");
        }
        Some(IntegrationKind::Mock { status: section.status.unwrap_or(200) })
    }

    fn method(&mut self, section: &IntegrationSection, key: &KeyPath) -> Option<http::Method> {
        let text = match section.method.as_deref() {
            None => return Some(http::Method::POST),
            Some(text) => text,
        };
        let message = match http::Method::from_bytes(text.as_bytes()) {
            Ok(method) if method == http::Method::CONNECT => {
                "CONNECT makes a tunnel, which no integration does".to_owned()
            }
            Ok(_) if text.bytes().any(|b| b.is_ascii_lowercase()) => {
                format!("methods are written in capitals: {}", text.to_ascii_uppercase())
            }
            Ok(method) => return Some(method),
            Err(_) => format!("{text:?} is no HTTP method such as POST"),
        };
        self.report.problem(key, message);
        None
    }

    /// The uri, good in every stage.
    fn uri(&mut self, section: &IntegrationSection, key: &KeyPath) -> Option<UriTemplate> {
        let key = key.key("uri");
        let Some(text) = section.uri.as_deref() else {
            if !self.report.is_lost(&key) {
                self.report.problem(&key, "is missing, expected where the backend is");
            }
            return None;
        };
        if text.starts_with("arn:") {
            let message = "function ARNs are not supported yet by this version, expected the http(s):// uri of a web server that takes the proxy event";
            self.report.problem(&key, message);
            return None;
        }
        let template =
            UriTemplate::parse(text).map_err(|error| self.report.problem(&key, error)).ok()?;
        // Stages often fail alike; each way to fail is told once, with the stages it holds for.
        let mut failures: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, stage) in &self.section.stages {
            let variables = self.key.key("stages").key(name).key("variables");
            if self.report.is_touched(&variables) {
                continue;
            }
            if let Err(error) = template.expand(&stage.variables) {
                failures.entry(error.to_string()).or_default().push(name);
            }
        }
        let everywhere = !text.contains("${");
        for (error, stages) in &failures {
            if everywhere {
                self.report.problem(&key, error);
            } else {
                self.report.problem(&key, format_args!("in stage {}: {error}", stages.join(", ")));
            }
        }
        failures.is_empty().then_some(template)
    }

    fn request_parameter(
        &mut self,
        target: &str,
        source: &str,
        key: &KeyPath,
    ) -> Option<RequestParameter> {
        let key = key.key("request_parameters").key(target);
        let target = self.parsed::<ParameterTarget, _>(target, &key);
        let source = self.parsed::<ParameterSource, _>(source, &key);
        Some(RequestParameter { target: target?, source: source? })
    }

    fn route(&mut self, name: &str, section: &RouteSection) -> Option<Route> {
        let key = self.key.key("routes").key(name);
        let route_key = self.parsed::<RouteKey, _>(name, &key);
        let integration =
            section.integration.as_deref().map(|name| self.integration_index(name, &key));
        let throttle = section.throttle.as_ref().map(throttle);
        let request_parameters: Vec<_> = section
            .request_parameters
            .iter()
            .map(|(source, section)| {
                let key = key.key("request_parameters").key(source);
                let source = self.required_parameter(source, &key)?;
                Some(RequiredParameter { source, required: section.required })
            })
            .collect();
        let never_replies = [RouteKey::CONNECT, RouteKey::DISCONNECT].contains(&name);
        if section.reply && never_replies {
            self.report.warning(&key.key("reply"), "no message runs this route, nothing replies");
        }
        if !section.request_parameters.is_empty() && name != RouteKey::CONNECT {
            let message = "looked at on $connect only";
            self.report.warning(&key.key("request_parameters"), message);
        }
        Some(Route {
            key: route_key?,
            integration: unless_bad(integration)?,
            reply: section.reply,
            throttle: unless_bad(throttle)?,
            request_parameters: request_parameters.into_iter().collect::<Option<_>>()?,
        })
    }

    /// Where the named integration stands among the api's.
    fn integration_index(&mut self, name: &str, route: &KeyPath) -> Option<usize> {
        let integrations = self.key.key("integrations");
        let index = self.section.integrations.keys().position(|known| known == name);
        let lost =
            self.report.is_lost(&integrations) || self.report.is_lost(&integrations.key(name));
        if index.is_none() && !lost {
            let known: Vec<_> = self.section.integrations.keys().map(String::as_str).collect();
            let hint = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if known.is_empty() => "the api has none".to_owned(),
                None => format!("known here: {}", known.join(", ")),
            };
            let message = format!("there is no integration {name:?}, {hint}");
            self.report.problem(&route.key("integration"), message);
        }
        index
    }

    fn required_parameter(&mut self, text: &str, key: &KeyPath) -> Option<ParameterSource> {
        match text.parse() {
            Ok(source @ (ParameterSource::Header(_) | ParameterSource::QueryString(_))) => {
                Some(source)
            }
            _ => {
                let message = format!(
                    "{text:?} is no parameter of an upgrade request: route.request.header.NAME or route.request.querystring.NAME"
                );
                self.report.problem(key, message);
                None
            }
        }
    }

    /// An integration that no route names is likely the other half of a slip.
    fn unused_integrations(&mut self) {
        let used = |name: &String| {
            self.section.routes.values().any(|route| route.integration.as_ref() == Some(name))
        };
        for name in self.section.integrations.keys().filter(|name| !used(name)) {
            self.report.warning(&self.key.key("integrations").key(name), "no route uses it");
        }
    }

    fn parsed<T, E>(&mut self, text: &str, key: &KeyPath) -> Option<T>
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

/// `None` where a figure has been reported.
fn throttle(section: &ThrottleSection) -> Option<Throttle> {
    Some(Throttle { rate: section.rate?, burst: section.burst? })
}
