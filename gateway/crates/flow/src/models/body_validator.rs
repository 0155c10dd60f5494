//! Whether one route takes a message's body.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;
use tidegate_model::{BodyValidation, SelectionExpression};

use super::{Model, ModelSet, validation_error};
use crate::route_selection::{Candidate, candidate};

/// The key of the model for messages that select no other.
const DEFAULT_KEY: &str = "$default";

/// How much a refused message may be looked at again to say what is wrong with it: schemas times
/// values. Saying it can take time exponential in the nesting of a schema that contains itself,
/// where the verdict alone does not.
const MAX_EXPLAINED: u64 = 20_000;

/// A route's models, compiled.
#[derive(Clone)]
pub struct BodyValidator {
    expression: SelectionExpression,
    /// By key of `request_models`.
    models: BTreeMap<String, Arc<Model>>,
}

/// A route names a model that its api does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("request_models: `{key}`: the api has no model `{model}`")]
pub struct UnknownModel {
    /// The key in `request_models`.
    pub key: String,
    /// The name that no model has.
    pub model: String,
}

/// A message that the route's model does not take. The client gets the error frame
/// [`BadRequestBody`](crate::error_frame::ErrorMessage::BadRequestBody), the integration is not
/// called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message is not of the route's model: {detail}")]
pub struct InvalidBody {
    /// `$context.error.validationErrorString`: what is wrong, as a list in brackets, such as
    /// `[/text is missing, /count must be integer]`. At most 1 KB, without quotes and control
    /// characters; of the message it holds names of properties and no values.
    pub detail: String,
}

impl BodyValidator {
    /// Finds the models of a route in those of its api.
    ///
    /// # Errors
    /// Each name in `request_models` that no model has.
    pub fn compile(
        validation: &BodyValidation,
        models: &ModelSet,
    ) -> Result<Self, Vec<UnknownModel>> {
        let mut found = BTreeMap::new();
        let mut unknown = Vec::new();
        for (key, model) in &validation.request_models {
            match models.get(model) {
                Some(model) => drop(found.insert(key.clone(), model.clone())),
                None => unknown.push(UnknownModel { key: key.clone(), model: model.clone() }),
            }
        }
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let expression = validation.model_selection_expression.clone();
        Ok(Self { expression, models: found })
    }

    /// Whether `message` is taken: by the model of the key that it selects, else by `$default`'s.
    /// Not for `$disconnect`, which has no message.
    ///
    /// # Errors
    /// What is wrong. A message that is not JSON (RFC 8259, nested at most 127 deep, numbers within
    /// a double's range) is never taken, nor is one for which there is no model.
    pub fn validate(&self, message: &str) -> Result<(), InvalidBody> {
        let not_json = || refused("the message is not JSON");
        let selected = match candidate(&self.expression, message) {
            Candidate::NotJson => return Err(not_json()),
            Candidate::Value(key) => self.models.get(&*key),
        };
        let model = selected
            .or_else(|| self.models.get(DEFAULT_KEY))
            .ok_or_else(|| refused("no model is for the message"))?;
        let body: Value = serde_json::from_str(message).map_err(|_| not_json())?;
        // The verdict first: only it takes a bounded time whatever the schema.
        if model.validator.is_valid(&body) {
            return Ok(());
        }
        let work = model.schemas_in_all.map(|schemas| schemas.saturating_mul(values_in(&body)));
        if work.is_none_or(|work| work > MAX_EXPLAINED) {
            return Err(refused("the message does not match the model"));
        }
        Err(InvalidBody { detail: validation_error::list(model.validator.iter_errors(&body)) })
    }
}

/// The keys only: a compiled schema has nothing to print.
impl fmt::Debug for BodyValidator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("BodyValidator")
            .field("expression", &self.expression)
            .field("keys", &self.models.keys())
            .finish()
    }
}

fn refused(why: &str) -> InvalidBody {
    InvalidBody { detail: format!("[{why}]") }
}

fn values_in(body: &Value) -> u64 {
    1 + match body {
        Value::Array(items) => items.iter().map(values_in).sum(),
        Value::Object(members) => members.values().map(values_in).sum(),
        _ => 0,
    }
}
