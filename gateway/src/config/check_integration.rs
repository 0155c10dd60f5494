//! From what the operator wrote to what the gateway trusts: what an integration talks to.
//!
//! In, out and what holds: as in [`super::check`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use tidegate_model::{
    AwsCall, AwsTarget, AwsUri, Function, HttpTarget, Integration, IntegrationKind,
    ParameterSource, ParameterTarget, RequestParameter, UriTemplate,
};

use super::{
    api_file::ApiSection,
    check::unless_bad,
    check_api::ApiCheck,
    file::GatewayFile,
    integration_file::{IntegrationSection, IntegrationType},
    key_path::KeyPath,
    lookup::Names,
    report::Report,
};

/// Keys that only some types take, with the types that do. `uri` and `method` are of all but
/// `"mock"`, and the templates' keys have their own rule.
const KEYS: [(&str, &[IntegrationType]); 5] = [
    ("uri", NOT_MOCK),
    ("method", NOT_MOCK),
    ("function", FUNCTIONS),
    ("credentials", FUNCTIONS),
    ("status", &[IntegrationType::Mock]),
];

const NOT_MOCK: &[IntegrationType] = &[
    IntegrationType::HttpProxy,
    IntegrationType::Http,
    IntegrationType::AwsProxy,
    IntegrationType::Aws,
];
const FUNCTIONS: &[IntegrationType] = &[IntegrationType::AwsProxy, IntegrationType::Aws];

/// What a uri in AWS turned out to be, in every stage.
enum AwsPlace {
    Function(AwsUri),
    Service(AwsUri),
}

impl ApiCheck<'_, '_, '_> {
    /// One of `[apis.<id>.integrations]`.
    pub(super) fn integration(
        &mut self,
        name: &str,
        section: &IntegrationSection,
    ) -> Option<Integration> {
        let key = self.key.key("integrations").key(name);
        if name.is_empty() {
            self.report.problem(&key, "the name is empty");
        }
        if let Some(kind) = section.kind {
            self.foreign_keys(kind, &key);
        }
        let kind = section.kind.and_then(|kind| match kind {
            IntegrationType::HttpProxy => {
                self.http_target(section, &key).map(IntegrationKind::HttpProxy)
            }
            IntegrationType::Http => {
                let target = self.http_target(section, &key);
                let transformation = self.transformation(section, &key);
                Some(IntegrationKind::Http(target?, Box::new(transformation?)))
            }
            IntegrationType::AwsProxy => {
                self.proxy_function(section, &key).map(IntegrationKind::AwsProxy)
            }
            IntegrationType::Aws => {
                let target = self.aws_target(section, &key);
                let transformation = self.transformation(section, &key);
                Some(IntegrationKind::Aws(target?, Box::new(transformation?)))
            }
            IntegrationType::Mock => self.mock(section, &key),
        });
        let credentials = self.credentials(section, kind.as_ref(), &key);
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
            credentials: credentials?,
        })
    }

    /// Keys that another type takes.
    fn foreign_keys(&mut self, kind: IntegrationType, key: &KeyPath) {
        let proxy = matches!(kind, IntegrationType::HttpProxy | IntegrationType::AwsProxy);
        for (name, types) in KEYS.into_iter().filter(|(_, types)| !types.contains(&kind)) {
            let key = key.key(name);
            if !self.report.is_given(&key) || self.report.is_touched(&key) {
                continue;
            }
            let types: Vec<_> = types.iter().map(|one| format!("{:?}", one.word())).collect();
            match types.as_slice() {
                [one] => self.report.problem(&key, format_args!("is for type {one} only")),
                [one, other] => {
                    self.report.problem(&key, format_args!("is for types {one} and {other} only"));
                }
                _ => self.report.problem(&key, "is not for type \"mock\", which calls no backend"),
            }
        }
        for name in super::check_transformation::KEYS {
            let key = key.key(name);
            if proxy && self.report.is_given(&key) {
                let message = format!("type {:?} ignores it, as on API Gateway", kind.word());
                self.report.warning(&key, message);
            }
        }
    }

    fn http_target(&mut self, section: &IntegrationSection, key: &KeyPath) -> Option<HttpTarget> {
        let uri = self.uri(section, "where the backend is", key).and_then(|text| {
            let key = key.key("uri");
            if AwsUri::is_aws_uri(text) {
                let message = "an ARN is called by type \"aws_proxy\" or \"aws\", expected http://, https:// or unix:";
                self.report.problem(&key, message);
                return None;
            }
            self.uri_template(text, &key)
        });
        let method = self.method(section, &key.key("method"));
        Some(HttpTarget { uri: uri?, method: method? })
    }

    /// The uri, where it is given.
    fn uri<'s>(
        &mut self,
        section: &'s IntegrationSection,
        expected: &str,
        key: &KeyPath,
    ) -> Option<&'s str> {
        let key = key.key("uri");
        if section.uri.is_none() && !self.report.is_lost(&key) {
            self.report.problem(&key, format_args!("is missing, expected {expected}"));
        }
        section.uri.as_deref()
    }

    fn uri_template(&mut self, text: &str, key: &KeyPath) -> Option<UriTemplate> {
        let template = self.parsed::<UriTemplate, _>(text, key)?;
        self.in_every_stage(text, key, |variables| template.expand(variables))?;
        Some(template)
    }

    /// The local function that is named in place of a uri; `Err` where none is.
    fn local_function(
        &mut self,
        section: &IntegrationSection,
        key: &KeyPath,
    ) -> Result<Option<Function>, ()> {
        let Some(name) = section.function.as_deref() else { return Err(()) };
        let function_key = key.key("function");
        if section.uri.is_some() {
            let message =
                "is given beside `uri`, expected one of the two: they say where the function is";
            self.report.problem(&function_key, message);
        }
        let table = KeyPath::root().key("functions");
        let found = Names::new("function", "the file", table, self.file.functions.keys()).find(
            name,
            &function_key,
            self.report,
        );
        self.posts_only(section, key);
        Ok(found.map(|_| Function::Local(name.to_owned())))
    }

    /// The uri of what may also be a local function.
    fn function_uri<'s>(
        &mut self,
        section: &'s IntegrationSection,
        expected: &str,
        key: &KeyPath,
    ) -> Option<&'s str> {
        if self.report.is_lost(&key.key("function")) {
            return None;
        }
        self.uri(section, expected, key)
    }

    fn proxy_function(&mut self, section: &IntegrationSection, key: &KeyPath) -> Option<Function> {
        if let Ok(local) = self.local_function(section, key) {
            return local;
        }
        self.posts_only(section, key);
        let expected = "where the function is (or `function`, the name of one of [functions])";
        let text = self.function_uri(section, expected, key)?;
        let key = key.key("uri");
        if !AwsUri::is_aws_uri(text) {
            return self.uri_template(text, &key).map(Function::Web);
        }
        match self.aws_place(text, &key)? {
            AwsPlace::Function(uri) => Some(Function::Lambda(uri)),
            AwsPlace::Service(_) => {
                self.report.problem(&key, "is no function: services are called by type \"aws\"");
                None
            }
        }
    }

    fn aws_target(&mut self, section: &IntegrationSection, key: &KeyPath) -> Option<AwsTarget> {
        if let Ok(local) = self.local_function(section, key) {
            return local.map(AwsTarget::Function);
        }
        let expected = "the ARN of what is called (or `function`, the name of one of [functions])";
        let text = self.function_uri(section, expected, key)?;
        let uri_key = key.key("uri");
        if !AwsUri::is_aws_uri(text) {
            let message = "is no ARN such as arn:aws:apigateway:REGION:sqs:path/ACCOUNT/QUEUE: a web server is called by type \"http\", or as a function by \"aws_proxy\"";
            self.report.problem(&uri_key, message);
            return None;
        }
        match self.aws_place(text, &uri_key)? {
            AwsPlace::Function(uri) => {
                self.posts_only(section, key);
                Some(AwsTarget::Function(Function::Lambda(uri)))
            }
            AwsPlace::Service(uri) => {
                let method = self.method(section, &key.key("method"))?;
                Some(AwsTarget::Service { uri, method })
            }
        }
    }

    /// A uri in AWS, good in every stage and of one kind in all of them.
    fn aws_place(&mut self, text: &str, key: &KeyPath) -> Option<AwsPlace> {
        let uri = AwsUri::parse(text).map_err(|error| self.report.problem(key, error)).ok()?;
        let calls = self.in_every_stage(text, key, |variables| uri.expand(variables))?;
        let functions = calls.iter().filter(|call| is_function(call)).count();
        match functions {
            // Without a call the stages have been reported.
            _ if calls.is_empty() => None,
            0 => Some(AwsPlace::Service(uri)),
            all if all == calls.len() => Some(AwsPlace::Function(uri)),
            _ => {
                self.report.problem(key, "is a function in some stages and a service in others");
                None
            }
        }
    }

    /// What `expand` gives in each stage whose variables are known; `None` where it fails in one.
    fn in_every_stage<T, E: fmt::Display>(
        &mut self,
        text: &str,
        key: &KeyPath,
        expand: impl Fn(&BTreeMap<String, String>) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        // Stages often fail alike; each way to fail is told once, with the stages it holds for.
        let mut failures: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let mut good = Vec::new();
        for (name, stage) in &self.section.stages {
            let variables = self.key.key("stages").key(name).key("variables");
            if self.report.is_touched(&variables) {
                continue;
            }
            match expand(&stage.variables) {
                Ok(expanded) => good.push(expanded),
                Err(error) => failures.entry(error.to_string()).or_default().push(name),
            }
        }
        let everywhere = !text.contains("${");
        for (error, stages) in &failures {
            if everywhere {
                self.report.problem(key, error);
            } else {
                self.report.problem(key, format_args!("in stage {}: {error}", stages.join(", ")));
            }
        }
        failures.is_empty().then_some(good)
    }

    fn posts_only(&mut self, section: &IntegrationSection, key: &KeyPath) {
        if section.method.as_deref().is_some_and(|method| method != "POST") {
            self.report.problem(&key.key("method"), "a function is always called with POST");
        }
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

    /// The name of credentials; the outer `None` where there are none of that name.
    fn credentials(
        &mut self,
        section: &IntegrationSection,
        kind: Option<&IntegrationKind>,
        key: &KeyPath,
    ) -> Option<Option<String>> {
        let key = key.key("credentials");
        if section.kind.is_some_and(|kind| !FUNCTIONS.contains(&kind)) {
            return Some(None); // reported as a key of other types
        }
        let signs = match kind {
            Some(
                IntegrationKind::AwsProxy(function)
                | IntegrationKind::Aws(AwsTarget::Function(function), _),
            ) => matches!(function, Function::Lambda(_)),
            _ => true, // a service, or another problem says what it is not
        };
        unless_bad(section.credentials.as_deref().map(|name| {
            if !signs {
                self.report.warning(&key, "not used: only calls to AWS are signed");
            }
            let table = KeyPath::root().key("aws").key("credentials");
            Names::new(
                "set of AWS credentials",
                "the file",
                table,
                self.file.aws.credentials.keys(),
            )
            .find(name, &key, self.report)
            .map(|_| name.to_owned())
        }))
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
}

/// Functions and AWS credentials that no integration names, likely the other half of a slip.
pub(super) fn unused(file: &GatewayFile, report: &mut Report<'_>) {
    let integrations = || file.apis.values().flat_map(|api: &ApiSection| api.integrations.values());
    let functions: BTreeSet<_> = integrations().filter_map(|one| one.function.as_ref()).collect();
    for name in file.functions.keys().filter(|name| !functions.contains(name)) {
        let key = KeyPath::root().key("functions").key(name);
        report.warning(&key, "no integration uses it");
    }
    let credentials: BTreeSet<_> =
        integrations().filter_map(|one| one.credentials.as_ref()).collect();
    for name in file.aws.credentials.keys() {
        if name != "default" && !credentials.contains(name) {
            let key = KeyPath::root().key("aws").key("credentials").key(name);
            report.warning(&key, "no integration uses them");
        }
    }
}

/// Whether this is the Lambda Invoke API.
fn is_function(call: &AwsCall) -> bool {
    matches!(call, AwsCall::Lambda { .. })
}
