//! From what the operator wrote to what the gateway trusts: an api's routes.
//!
//! In, out and what holds: as in [`super::check`].

use std::collections::BTreeMap;

use tidegate_model::{
    BodyValidation, ParameterSource, RequiredParameter, Route, RouteKey, SelectionExpression,
};

use super::{
    api_file::{RouteSection, ThrottleSection},
    check::unless_bad,
    check_api::ApiCheck,
    integration_file::IntegrationType,
    key_path::KeyPath,
    lookup::Names,
};

impl ApiCheck<'_, '_, '_> {
    /// One of `[apis.<id>.routes]`.
    pub(super) fn route(&mut self, name: &str, section: &RouteSection) -> Option<Route> {
        let key = self.key.key("routes").key(name);
        let route_key = self.parsed::<RouteKey, _>(name, &key);
        let integration = section
            .integration
            .as_deref()
            .map(|name| self.integration_index(name, &key.key("integration")));
        let throttle = section.throttle.as_ref().map(ThrottleSection::checked);
        let request_parameters: Vec<_> = section
            .request_parameters
            .iter()
            .map(|(source, section)| {
                let key = key.key("request_parameters").key(source);
                let source = self.required_parameter(source, &key)?;
                Some(RequiredParameter { source, required: section.required })
            })
            .collect();
        self.reply(name, section, &key);
        if !section.request_parameters.is_empty() && name != RouteKey::CONNECT {
            let message = "looked at on $connect only";
            self.report.warning(&key.key("request_parameters"), message);
        }
        let authorizer = self.route_authorizer(name, section, &key);
        let validation = self.validation(name, section, &key);
        Some(Route {
            key: route_key?,
            integration: unless_bad(integration)?,
            reply: section.reply,
            throttle: unless_bad(throttle)?,
            request_parameters: request_parameters.into_iter().collect::<Option<_>>()?,
            authorizer: authorizer?,
            api_key_required: section.api_key_required,
            validation: validation?,
        })
    }

    fn reply(&mut self, name: &str, section: &RouteSection, key: &KeyPath) {
        let key = key.key("reply");
        if !section.reply {
            return;
        }
        if [RouteKey::CONNECT, RouteKey::DISCONNECT].contains(&name) {
            self.report.warning(&key, "no message runs this route, nothing replies");
            return;
        }
        let Some((name, integration)) = section
            .integration
            .as_ref()
            .and_then(|name| self.section.integrations.get_key_value(name))
        else {
            return;
        };
        // Another backend's answer passes as it is; a mock has none of its own.
        if integration.kind == Some(IntegrationType::Mock)
            && integration.status.is_none()
            && integration.integration_responses.is_empty()
            && !self.report.is_touched(&self.key.key("integrations").key(name))
        {
            let message =
                format!("the mock {name:?} has no integration_responses, so nothing replies");
            self.report.warning(&key, message);
        }
    }

    /// Who may connect. The outer `None` where that has been reported.
    fn route_authorizer(
        &mut self,
        name: &str,
        section: &RouteSection,
        key: &KeyPath,
    ) -> Option<Option<usize>> {
        let authorizer_key = key.key("authorizer");
        let required_key = key.key("api_key_required");
        if name != RouteKey::CONNECT {
            for (key, given) in [
                (&authorizer_key, section.authorizer.is_some()),
                (&required_key, section.api_key_required),
            ] {
                if given {
                    let message = "is for $connect only: who may connect is decided once";
                    self.report.problem(key, message);
                }
            }
            return Some(None);
        }
        let reads_authorizer = self.section.api_key_selection_expression.contains("authorizer");
        let answers_key = section.authorizer.as_ref().is_some_and(|name| {
            let kind = self.section.authorizers.get(name).map(|one| one.kind);
            kind.is_none_or(|kind| kind == Some(super::authorizer_file::AuthorizerType::Request))
        });
        if section.api_key_required && reads_authorizer && !answers_key {
            let message = "the api key comes from the authorizer (api_key_selection_expression), so an authorizer of type \"request\" must be named beside it";
            self.report.problem(&required_key, message);
        }
        unless_bad(section.authorizer.as_deref().map(|name| {
            let table = self.key.key("authorizers");
            Names::new("authorizer", "the api", table, self.section.authorizers.keys()).find(
                name,
                &authorizer_key,
                self.report,
            )
        }))
    }

    /// Which bodies are taken. The outer `None` where that has been reported.
    fn validation(
        &mut self,
        name: &str,
        section: &RouteSection,
        key: &KeyPath,
    ) -> Option<Option<BodyValidation>> {
        let expression_key = key.key("model_selection_expression");
        let models_key = key.key("request_models");
        let table = self.key.key("models");
        let names = Names::new("model", "the api", table, self.section.models.keys());
        let models: Vec<_> = section
            .request_models
            .iter()
            .map(|(selected, model)| {
                names
                    .find(model, &models_key.key(selected), self.report)
                    .map(|_| (selected.clone(), model.clone()))
            })
            .collect();
        let models: Option<BTreeMap<_, _>> = models.into_iter().collect();
        let Some(text) = section.model_selection_expression.as_deref() else {
            if !section.request_models.is_empty() && !self.report.is_lost(&expression_key) {
                let message = "looked at only beside model_selection_expression, which is missing";
                self.report.warning(&models_key, message);
            }
            return models.map(|_| None);
        };
        if name == RouteKey::DISCONNECT {
            self.report.warning(&expression_key, "nothing is checked on $disconnect");
        } else if section.request_models.is_empty() && !self.report.is_touched(&models_key) {
            let message = "there are no request_models beside it, so every message is refused";
            self.report.warning(&expression_key, message);
        }
        let expression = self.parsed::<SelectionExpression, _>(text, &expression_key);
        let expression = expression.filter(|one| match one.check_template_selection() {
            Ok(()) => true,
            // It reads what that one reads, and the error speaks of templates.
            Err(_) => {
                let message = "a model is selected by the message alone, expected text and $request.body.PATH";
                self.report.problem(&expression_key, message);
                false
            }
        });
        Some(Some(BodyValidation {
            model_selection_expression: expression?,
            request_models: models?,
        }))
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
}
