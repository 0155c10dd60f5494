//! An api's models: which message bodies a route takes (websocket-api, section 8).
//!
//! In:  JSON Schemas (draft 4) by name, a route's `model_selection_expression` and
//!      `request_models`, a message's text.
//! Out: whether the message is taken, and if not, why, in a text for logs and templates.
//!
//! ```text
//! schemas --compile--> ModelSet --BodyValidator::compile--> BodyValidator --validate--> Ok, or why
//! ```
//!
//! Holds always: nothing is fetched; a reference leads to a schema of the same api or the set does
//! not compile; a pattern takes time linear in the text; a schema may refer to itself, but each
//! step that it goes round goes into the value too, so the message bounds it; no text of a
//! message comes out but names of properties.

mod body_validator;
mod schema_graph;
mod validation_error;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use jsonschema::{Draft, PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};

pub use body_validator::{BodyValidator, InvalidBody, UnknownModel};

use schema_graph::SchemaGraph;

/// What one value may be checked against, subschemas and the schemas they refer to counted, until
/// the check goes on to what is in the value. References that double with each step would
/// otherwise take a minute for one number.
const MAX_SCHEMAS_AT_ONE_VALUE: u64 = 5_000;

/// How deep those may lie in each other. With the depth of a message it bounds the stack.
const MAX_DEPTH_AT_ONE_VALUE: u32 = 16;

/// A reason is cut here, bytes; an operator's own text may be long.
const MAX_REASON_BYTES: usize = 400;

/// A model that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model `{model}`: {reason}")]
pub struct InvalidModel {
    /// The model's name.
    pub model: String,
    /// What is wrong with it, with the place in the schema.
    pub reason: String,
}

/// The compiled models of one api.
#[derive(Clone, Default)]
pub struct ModelSet {
    models: BTreeMap<String, Arc<Model>>,
}

impl ModelSet {
    /// Compiles the schemas of an api, given by model name.
    ///
    /// A `$ref` leads into the same schema (`#/definitions/item`), to another model by its name
    /// alone (`Item`), or as API Gateway writes it
    /// (`https://apigateway.amazonaws.com/restapis/{api}/models/Item`, whatever the api); the
    /// latter two may end in a pointer too. `id` and `$schema` mean nothing: each schema is read
    /// as draft 4. Formats that draft 4 knows are checked, others are not.
    ///
    /// # Errors
    /// All that is wrong: schemas that draft 4 does not admit, references that lead nowhere or go
    /// round in a circle, and patterns that do not run in linear time (look-around,
    /// backreferences) or that grow too large.
    pub fn compile(schemas: &BTreeMap<String, Value>) -> Result<Self, Vec<InvalidModel>> {
        let mut problems: Vec<InvalidModel> = schemas
            .iter()
            .filter_map(|(name, schema)| Some(invalid(name, not_draft_4(schema)?)))
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut schemas = schemas.clone();
        let graph = SchemaGraph::build(&mut schemas, &mut problems);
        for name in schemas.keys() {
            problems.extend(too_entangled(&graph, name).map(|reason| invalid(name, reason)));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut models = BTreeMap::new();
        let mut refused = BTreeMap::new();
        for name in schemas.keys() {
            match build(&schemas, &graph, name) {
                Ok(validator) => {
                    let schemas_in_all = graph.schemas_in_all(name);
                    models.insert(name.clone(), Arc::new(Model { validator, schemas_in_all }));
                }
                Err(problem) => {
                    refused.insert(problem.model, problem.reason);
                }
            }
        }
        if refused.is_empty() {
            return Ok(Self { models });
        }
        Err(refused.into_iter().map(|(model, reason)| InvalidModel { model, reason }).collect())
    }

    fn get(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }
}

/// Names only: a compiled schema has nothing to print.
impl fmt::Debug for ModelSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.models.keys()).finish()
    }
}

/// One compiled model.
struct Model {
    validator: Validator,
    /// How many schemas it is, its own subschemas and those it refers to, once for each way that
    /// leads there; `None` if it contains itself.
    schemas_in_all: Option<u64>,
}

/// Why `schema` is no schema of draft 4.
fn not_draft_4(schema: &Value) -> Option<String> {
    if schema_graph::is_too_deep(schema) {
        return Some(format!("is nested deeper than {}", schema_graph::MAX_DEPTH));
    }
    let error = jsonschema::draft4::meta::validate(schema).err()?;
    Some(reason(error.instance_path().as_str(), &error))
}

fn too_entangled(graph: &SchemaGraph, model: &str) -> Option<String> {
    let worst = graph.schemas_at_one_value(model);
    match worst {
        Err(pointer) => Some(format!(
            "{}: refers to itself in a circle that never goes into the value",
            place(pointer)
        )),
        Ok(extent) => (extent.schemas > MAX_SCHEMAS_AT_ONE_VALUE
            || extent.depth > MAX_DEPTH_AT_ONE_VALUE)
            .then(|| {
                format!(
                    "checks one value against too much: references followed, at most \
                     {MAX_SCHEMAS_AT_ONE_VALUE} schemas, {MAX_DEPTH_AT_ONE_VALUE} deep"
                )
            }),
    }
}

/// Compiles `name`, together with the models that it refers to.
fn build(
    schemas: &BTreeMap<String, Value>,
    graph: &SchemaGraph,
    name: &str,
) -> Result<Validator, InvalidModel> {
    let needed: BTreeSet<&str> = graph.models_needed_by(name);
    let definitions: Map<String, Value> = schemas
        .iter()
        .filter(|(model, _)| needed.contains(model.as_str()))
        .map(|(model, schema)| (model.clone(), schema.clone()))
        .collect();
    let root = serde_json::json!({
        "definitions": definitions,
        "$ref": schema_graph::local_reference(name, ""),
    });
    jsonschema::options()
        .with_draft(Draft::Draft4)
        .with_pattern_options(PatternOptions::regex())
        .offline()
        .build(&root)
        .map_err(|error| {
            // What is wrong may lie in a model that this one refers to.
            let path = error.instance_path().as_str();
            let inner = path.strip_prefix("/definitions/").unwrap_or_default();
            let (model, pointer) = inner.split_at(inner.find('/').unwrap_or(inner.len()));
            let model = if needed.contains(model) { model } else { name };
            invalid(model, reason(pointer, &error))
        })
}

fn invalid(model: &str, mut reason: String) -> InvalidModel {
    if reason.len() > MAX_REASON_BYTES {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        reason.push('…');
    }
    InvalidModel { model: model.to_owned(), reason }
}

fn reason(pointer: &str, error: &ValidationError<'_>) -> String {
    let place = place(pointer);
    match error.kind() {
        ValidationErrorKind::Format { format } if format == "regex" => format!(
            "{place}: {} is no regular expression that can be used: look-around, backreferences \
             and very large repetitions are not taken, for they could run without end",
            error.instance()
        ),
        _ => format!("{place}: {error}"),
    }
}

/// A pointer as an operator reads it.
fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the schema" } else { pointer }
}

#[cfg(test)]
mod tests;
