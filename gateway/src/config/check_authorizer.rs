//! From what the operator wrote to what the gateway trusts: an api's authorizers.
//!
//! In, out and what holds: as in [`super::check`].

use std::{collections::BTreeMap, time::Duration};

use tidegate_model::{
    ApiKeySource, Authorizer, AuthorizerKind, BackendUri, Endpoint, JwtAuthorizer, JwtKeys,
    ParameterSource, RequestAuthorizer, TokenSource,
};

use super::{
    authorizer_file::{AuthorizerSection, AuthorizerType},
    check::unless_bad,
    check_access_key::access_keys,
    check_api::ApiCheck,
    fixed_uri::http_uri,
    integration_file::IntegrationType,
    key_path::KeyPath,
};

/// Which type each key belongs to.
const KEYS: [(&str, AuthorizerType); 13] = [
    ("integration", AuthorizerType::Request),
    ("identity_source", AuthorizerType::Request),
    ("timeout_ms", AuthorizerType::Request),
    ("issuer", AuthorizerType::Jwt),
    ("jwks_uri", AuthorizerType::Jwt),
    ("audiences", AuthorizerType::Jwt),
    ("algorithms", AuthorizerType::Jwt),
    ("token_source", AuthorizerType::Jwt),
    ("required_scopes", AuthorizerType::Jwt),
    ("required_claims", AuthorizerType::Jwt),
    ("on_expiry", AuthorizerType::Jwt),
    ("leeway_s", AuthorizerType::Jwt),
    ("credentials", AuthorizerType::Iam),
];

impl ApiCheck<'_, '_, '_> {
    /// One of `[apis.<id>.authorizers]`.
    pub(super) fn authorizer(
        &mut self,
        name: &str,
        section: &AuthorizerSection,
    ) -> Option<Authorizer> {
        let key = self.key.key("authorizers").key(name);
        if name.is_empty() {
            self.report.problem(&key, "the name is empty");
        }
        let kind = section.kind?;
        for (name, of) in KEYS.into_iter().filter(|(_, of)| *of != kind) {
            let key = key.key(name);
            if self.report.is_given(&key) && !self.report.is_touched(&key) {
                self.report.problem(&key, format_args!("is for type {:?} only", of.word()));
            }
        }
        let kind = match kind {
            AuthorizerType::Request => {
                self.request_authorizer(section, &key).map(AuthorizerKind::Request)
            }
            AuthorizerType::Jwt => {
                self.jwt_authorizer(section, &key).map(|jwt| AuthorizerKind::Jwt(Box::new(jwt)))
            }
            AuthorizerType::Iam => {
                let array = key.key("credentials");
                self.needs("access keys", section.credentials.is_empty(), &array);
                access_keys(&section.credentials, &array, self.around, self.report)
                    .map(AuthorizerKind::Iam)
            }
        };
        Some(Authorizer { name: name.to_owned(), kind: kind? })
    }

    /// `api_key_selection_expression`.
    pub(super) fn api_key_source(&mut self) -> Option<ApiKeySource> {
        let key = self.key.key("api_key_selection_expression");
        let text = self.section.api_key_selection_expression.as_str();
        match text {
            "$request.header.x-api-key" | "${request.header.x-api-key}" => {
                Some(ApiKeySource::Header)
            }
            "$context.authorizer.usageIdentifierKey"
            | "${context.authorizer.usageIdentifierKey}" => Some(ApiKeySource::Authorizer),
            _ => {
                let message = format!(
                    "{text:?} finds no api key, expected \"$request.header.x-api-key\" or \"$context.authorizer.usageIdentifierKey\""
                );
                self.report.problem(&key, message);
                None
            }
        }
    }

    /// A problem where something that the type needs was not given.
    fn needs(&mut self, what: &str, missing: bool, key: &KeyPath) {
        if missing && !self.report.is_touched(key) {
            let found = if self.report.is_given(key) { "has none" } else { "is missing" };
            self.report.problem(key, format_args!("{found}, expected one or several {what}"));
        }
    }

    fn request_authorizer(
        &mut self,
        section: &AuthorizerSection,
        key: &KeyPath,
    ) -> Option<RequestAuthorizer> {
        let integration = self.authorizer_integration(section, &key.key("integration"));
        let array = key.key("identity_source");
        let sources: Vec<_> = section
            .identity_source
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let key = self.report.item(&array, index);
                match text.parse() {
                    Ok(
                        source @ (ParameterSource::Header(_)
                        | ParameterSource::QueryString(_)
                        | ParameterSource::StageVariable(_)
                        | ParameterSource::Context(_)),
                    ) => Some(source),
                    _ => {
                        let message = format!(
                            "{text:?} is no identity source: route.request.header.NAME, route.request.querystring.NAME, stageVariables.NAME or context.NAME"
                        );
                        self.report.problem(&key, message);
                        None
                    }
                }
            })
            .collect();
        Some(RequestAuthorizer {
            integration: integration?,
            identity_source: sources.into_iter().collect::<Option<_>>()?,
            timeout: Duration::from_millis(section.timeout_ms.into()),
        })
    }

    fn authorizer_integration(
        &mut self,
        section: &AuthorizerSection,
        key: &KeyPath,
    ) -> Option<usize> {
        let Some(name) = section.integration.as_deref() else {
            if !self.report.is_lost(key) {
                let message = "is missing, expected the name of an integration of type \"aws_proxy\", the function that decides";
                self.report.problem(key, message);
            }
            return None;
        };
        let index = self.integration_index(name, key)?;
        match self.section.integrations.get(name)?.kind? {
            IntegrationType::AwsProxy => Some(index),
            other => {
                let message = format!(
                    "integration {name:?} is of type {:?}, expected a function, which is one of type \"aws_proxy\"",
                    other.word()
                );
                self.report.problem(key, message);
                None
            }
        }
    }

    fn jwt_authorizer(
        &mut self,
        section: &AuthorizerSection,
        key: &KeyPath,
    ) -> Option<JwtAuthorizer> {
        let issuer_key = key.key("issuer");
        if section.issuer.is_none() && !self.report.is_lost(&issuer_key) {
            let message =
                "is missing, expected what `iss` must equal, such as \"https://id.example.com\"";
            self.report.problem(&issuer_key, message);
        }
        let jwks_key = key.key("jwks_uri");
        let jwks = section.jwks_uri.as_deref().map(|uri| self.key_uri(uri, &jwks_key));
        let issuer = section.issuer.as_deref().and_then(|issuer| {
            let uri = http_uri(issuer, &issuer_key, self.report)?;
            if uri.query.is_some() {
                self.report.problem(&issuer_key, "an issuer's url has no query");
                return None;
            }
            Some(issuer)
        });
        let discovery = issuer.filter(|_| section.jwks_uri.is_none()).map(|issuer| {
            let place =
                format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
            self.key_uri(&place, &issuer_key)
        });
        self.needs(
            "texts, one of which a token's `aud` must have",
            section.audiences.is_empty(),
            &key.key("audiences"),
        );
        self.no_empty_texts(&section.audiences, &key.key("audiences"));
        self.needs("algorithms", section.algorithms.is_empty(), &key.key("algorithms"));
        self.no_empty_texts(&section.required_scopes, &key.key("required_scopes"));
        if section.required_claims.keys().any(String::is_empty) {
            self.report.problem(&key.key("required_claims").key(""), "the claim's name is empty");
        }
        let token_source = self.token_sources(section, &key.key("token_source"));
        let keys = match (unless_bad(jwks)?, unless_bad(discovery)?) {
            (Some(uri), _) => JwtKeys::Jwks(uri),
            (None, Some(uri)) => JwtKeys::Discovery(uri),
            (None, None) => return None, // the issuer has been reported
        };
        Some(JwtAuthorizer {
            issuer: issuer?.to_owned(),
            audiences: section.audiences.clone(),
            keys,
            algorithms: section.algorithms.iter().copied().map(Into::into).collect(),
            token_source: token_source?,
            required_scopes: section.required_scopes.clone(),
            required_claims: section.required_claims.clone(),
            on_expiry: section.on_expiry.into(),
            leeway: Duration::from_secs(section.leeway_s.into()),
        })
    }

    /// Where keys are fetched; plain HTTP beyond this machine is allowed and worth a second look.
    fn key_uri(&mut self, text: &str, key: &KeyPath) -> Option<BackendUri> {
        let uri = http_uri(text, key, self.report)?;
        if let Endpoint::Http(host, _) = &uri.endpoint {
            let address = host.parse::<std::net::IpAddr>();
            let near = host == "localhost"
                || host.ends_with(".localhost")
                || address.is_ok_and(|address| address.is_loopback());
            if !near {
                let message = "keys come over plain http, so whoever is on the way can let anyone in: use https";
                self.report.warning(key, message);
            }
        }
        Some(uri)
    }

    fn no_empty_texts(&mut self, texts: &[String], array: &KeyPath) {
        for (index, _) in texts.iter().enumerate().filter(|(_, text)| text.is_empty()) {
            let key = self.report.item(array, index);
            self.report.problem(&key, "is empty");
        }
    }

    fn token_sources(
        &mut self,
        section: &AuthorizerSection,
        array: &KeyPath,
    ) -> Option<Vec<TokenSource>> {
        self.needs("places where a token is looked for", section.token_source.is_empty(), array);
        let sources: Vec<_> = section
            .token_source
            .iter()
            .enumerate()
            .map(|(index, text)| {
                if text == "subprotocol" {
                    return Some(TokenSource::Subprotocol);
                }
                match text.parse() {
                    Ok(ParameterSource::Header(name)) => Some(TokenSource::Header(name)),
                    Ok(ParameterSource::QueryString(name)) => Some(TokenSource::QueryString(name)),
                    _ => {
                        let key = self.report.item(array, index);
                        let message = format!(
                            "{text:?} is no place of a token: route.request.header.NAME, route.request.querystring.NAME or subprotocol"
                        );
                        self.report.problem(&key, message);
                        None
                    }
                }
            })
            .collect();
        sources.into_iter().collect()
    }

    /// An authorizer that `$connect` does not name lets everyone in, where it was meant not to.
    pub(super) fn unused_authorizers(&mut self, authorizers: &BTreeMap<String, AuthorizerSection>) {
        let used = |name: &String| {
            self.section.routes.values().any(|route| route.authorizer.as_ref() == Some(name))
        };
        for name in authorizers.keys().filter(|name| !used(name)) {
            let message = "no route uses it: `authorizer` of $connect names the one that decides";
            self.report.warning(&self.key.key("authorizers").key(name), message);
        }
    }
}
