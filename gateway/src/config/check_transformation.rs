//! From what the operator wrote to what the gateway trusts: templates, the expressions that choose
//! them, and what is made of answers.
//!
//! In, out and what holds: as in [`super::check`]. Templates are compiled here to find their
//! mistakes; what goes on is their text, because each stage's snapshot compiles its own.

use std::collections::BTreeMap;

use tidegate_model::{
    IntegrationKind, IntegrationResponse, InvalidExpression, Part, ResponseKey, ResponseParameter,
    SelectionExpression, Transformation, Variable,
};
use tidegate_vtl::Template;

use super::{
    check::unless_bad,
    check_api::ApiCheck,
    document::TemplateSource,
    integration_file::{IntegrationResponseSection, IntegrationSection},
    key_path::KeyPath,
};

/// The keys of what is described here.
pub(super) const KEYS: [&str; 5] = [
    "request_templates",
    "template_selection_expression",
    "passthrough_behavior",
    "content_handling_strategy",
    "integration_responses",
];

impl ApiCheck<'_, '_, '_> {
    /// A mock, which has templates or a status.
    pub(super) fn mock(
        &mut self,
        section: &IntegrationSection,
        key: &KeyPath,
    ) -> Option<IntegrationKind> {
        let status_key = key.key("status");
        if let Some(status) = section.status {
            let given: Vec<_> =
                KEYS.into_iter().filter(|name| self.report.is_given(&key.key(name))).collect();
            if !given.is_empty() {
                let message = format!(
                    "is for a mock without templates, expected either it or {}",
                    given.join(", ")
                );
                self.report.problem(&status_key, message);
                self.transformation(section, key);
                return None;
            }
            return Some(IntegrationKind::Echo { status });
        }
        let responses = key.key("integration_responses");
        let templates = key.key("request_templates");
        let nothing = section.request_templates.is_empty()
            && section.integration_responses.is_empty()
            && !self.report.is_touched(&templates)
            && !self.report.is_touched(&responses);
        if nothing {
            if !self.report.is_lost(&status_key) {
                let message = "a mock needs `status = 200` (a two-way route then answers the message itself), or `request_templates` that give {\"statusCode\": 200} and `integration_responses` that give the answer";
                self.report.problem(key, message);
            }
            return None;
        }
        self.transformation(section, key).map(|one| IntegrationKind::Mock(Box::new(one)))
    }

    /// The templates of an integration that is no proxy.
    pub(super) fn transformation(
        &mut self,
        section: &IntegrationSection,
        key: &KeyPath,
    ) -> Option<Transformation> {
        let expression_key = key.key("template_selection_expression");
        let expression = section
            .template_selection_expression
            .as_deref()
            .map(|text| self.selection(text, &expression_key, |it| it.check_template_selection()));
        let templates = self.templates(&section.request_templates, &key.key("request_templates"));
        let mut responses: Vec<_> = section
            .integration_responses
            .iter()
            .map(|(name, section)| {
                let key = key.key("integration_responses").key(name);
                (name, self.integration_response(name, section, &key))
            })
            .collect();
        // The table has them by their text; `$default` takes what no other one does.
        responses.sort_by_key(|(name, _)| *name == "$default");
        Some(Transformation {
            template_selection_expression: unless_bad(expression)?,
            request_templates: templates?,
            passthrough_behavior: section.passthrough_behavior.into(),
            content_handling_strategy: section.content_handling_strategy.map(Into::into),
            integration_responses: responses
                .into_iter()
                .map(|(_, response)| response)
                .collect::<Option<_>>()?,
        })
    }

    fn integration_response(
        &mut self,
        name: &str,
        section: &IntegrationResponseSection,
        key: &KeyPath,
    ) -> Option<IntegrationResponse> {
        let response_key = self.parsed::<ResponseKey, _>(name, key);
        let expression_key = key.key("template_selection_expression");
        let expression = section.template_selection_expression.as_deref().map(|text| {
            self.selection(text, &expression_key, |it| it.check_response_template_selection())
        });
        let names_error = |one: &SelectionExpression| {
            one.parts().iter().any(|p| matches!(p, Part::Variable(Variable::ResponseErrorMessage)))
        };
        if expression.iter().flatten().any(names_error) {
            let message = "selects nothing, as on API Gateway: the template `$default` is taken";
            self.report.warning(&expression_key, message);
        }
        let templates = self.templates(&section.response_templates, &key.key("response_templates"));
        let parameters: Vec<_> = section
            .response_parameters
            .iter()
            .map(|(target, source)| {
                let key = key.key("response_parameters").key(target);
                ResponseParameter::parse(target, source)
                    .map_err(|error| self.report.problem(&key, error))
                    .ok()
            })
            .collect();
        Some(IntegrationResponse {
            key: response_key?,
            template_selection_expression: unless_bad(expression)?,
            response_templates: templates?,
            response_parameters: parameters.into_iter().collect::<Option<_>>()?,
            content_handling_strategy: section.content_handling_strategy.map(Into::into),
        })
    }

    /// A selection expression of the kind that `check` looks for.
    pub(super) fn selection(
        &mut self,
        text: &str,
        key: &KeyPath,
        check: impl Fn(&SelectionExpression) -> Result<(), InvalidExpression>,
    ) -> Option<SelectionExpression> {
        SelectionExpression::parse(text)
            .and_then(|expression| check(&expression).map(|()| expression))
            .map_err(|error| self.report.problem(key, error))
            .ok()
    }

    fn templates(
        &mut self,
        sources: &BTreeMap<String, TemplateSource>,
        table: &KeyPath,
    ) -> Option<BTreeMap<String, String>> {
        sources
            .iter()
            .map(|(name, source)| {
                let key = table.key(name);
                if name.is_empty() {
                    self.report.problem(&key, "the template's key is empty, so nothing selects it");
                }
                let text = source.text(self.around);
                let text = text.map_err(|fault| self.report.problem(&key, fault)).ok()?;
                let place = source.file().map_or(String::new(), |file| format!("{file}: "));
                match Template::compile(&text) {
                    Ok(_) => Some((name.clone(), text)),
                    Err(error) => {
                        self.report.problem(&key, format_args!("{place}{error}"));
                        None
                    }
                }
            })
            // All of them, before the first bad one ends it.
            .collect::<Vec<_>>()
            .into_iter()
            .collect()
    }
}
