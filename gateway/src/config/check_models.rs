//! From what the operator wrote to what the gateway trusts: an api's models.
//!
//! In, out and what holds: as in [`super::check`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_flow::models::{InvalidModel, ModelSet};

use super::{api_file::ModelSection, check_api::ApiCheck, document::json, key_path::KeyPath};

const MAX_NAME_CHARS: usize = 128;

/// More than any schema; keeps a mistaken path from filling the memory.
const SCHEMA_FILE_BYTES: u64 = 300 * 1024;

impl ApiCheck<'_, '_, '_> {
    /// `[apis.<id>.models]`.
    pub(super) fn models(&mut self) -> Option<BTreeMap<String, Value>> {
        let table = self.key.key("models");
        let schemas: Vec<_> = self
            .section
            .models
            .iter()
            .map(|(name, section)| {
                let key = table.key(name);
                let shaped = (1..=MAX_NAME_CHARS).contains(&name.len())
                    && name.bytes().all(|b| b.is_ascii_alphanumeric());
                if !shaped {
                    let message = format!(
                        "{name:?} is no model's name: 1 to {MAX_NAME_CHARS} of A-Z a-z 0-9"
                    );
                    self.report.problem(&key, message);
                }
                self.model(section, &key).map(|schema| (name.clone(), schema))
            })
            .collect();
        let schemas: BTreeMap<_, _> = schemas.into_iter().collect::<Option<_>>()?;
        self.unused_models(&schemas);
        // They refer to each other, so they are looked at together, when all are there.
        match ModelSet::compile(&schemas) {
            Ok(_) => Some(schemas),
            Err(problems) => {
                for InvalidModel { model, reason } in problems {
                    let key = table.key(&model);
                    let in_file = self.report.is_given(&key.key("schema_file"));
                    let key = key.key(if in_file { "schema_file" } else { "schema" });
                    self.report.problem(&key, reason);
                }
                None
            }
        }
    }

    fn model(&mut self, section: &ModelSection, key: &KeyPath) -> Option<Value> {
        let (schema_key, file_key) = (key.key("schema"), key.key("schema_file"));
        if self.report.is_touched(&schema_key) || self.report.is_touched(&file_key) {
            return None;
        }
        let (key, schema) = match (&section.schema, &section.schema_file) {
            (Some(document), None) => (schema_key, document.value()),
            (None, Some(path)) => {
                let text = self.around.read_text_file(path, SCHEMA_FILE_BYTES);
                let text = text.map_err(|fault| fault.to_string());
                (file_key, text.and_then(|text| json(&text).map_err(|why| format!("{path} {why}"))))
            }
            (Some(_), Some(_)) => (file_key, Err("is given beside `schema`".to_owned())),
            (None, None) => (
                schema_key,
                Err("is missing, expected a JSON Schema here or in schema_file".into()),
            ),
        };
        match schema {
            Ok(schema) if schema.is_object() => Some(schema),
            Ok(_) => {
                self.report.problem(&key, "is no JSON Schema (draft 4), which is an object");
                None
            }
            Err(why) => {
                self.report.problem(&key, why);
                None
            }
        }
    }

    /// A model that neither a route names nor another model refers to.
    fn unused_models(&mut self, schemas: &BTreeMap<String, Value>) {
        let routes = self.section.routes.values();
        let mut used: BTreeSet<&str> =
            routes.flat_map(|route| route.request_models.values()).map(String::as_str).collect();
        for (name, schema) in schemas {
            for_each_reference(schema, &mut |reference| {
                // A name alone or at the end of API Gateway's url, and perhaps a pointer after it.
                let place = reference.split('#').next().unwrap_or(reference);
                let target = place.rsplit('/').next().unwrap_or(place);
                if target != name {
                    used.insert(target);
                }
            });
        }
        for name in schemas.keys().filter(|name| !used.contains(name.as_str())) {
            self.report.warning(&self.key.key("models").key(name), "no route uses it");
        }
    }
}

fn for_each_reference<'v>(schema: &'v Value, seen: &mut impl FnMut(&'v str)) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => seen(target),
                    other => for_each_reference(other, seen),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                for_each_reference(item, seen);
            }
        }
        _ => {}
    }
}
