//! The JSON Schema of `gateway.toml`, made from the types that it is read into.
//!
//! In:  the doc comments, types and defaults of [`super::file`] and [`super::api_file`].
//! Out: one schema (draft 2020-12), for editors, for [`super::shape`], which finds the mistakes
//!      with it, and for [`super::reference`], which prints it. So the three agree.

use std::sync::LazyLock;

use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};

use super::file::GatewayFile;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(fit_to_toml))
        .into_generator()
        .into_root_schema_for::<GatewayFile>();
    schema.insert("title".to_owned(), json!("gateway.toml"));
    schema.to_value()
});

/// The JSON Schema of `gateway.toml` (draft 2020-12), with a title and descriptions: what
/// `tidegate schema` prints. `x-key` on a table of tables says what its keys are called in the
/// reference.
pub fn json_schema() -> Value {
    SCHEMA.clone()
}

/// The same, borrowed.
pub(super) fn schema() -> &'static Value {
    &SCHEMA
}

/// TOML has no null, and its readers do not look at `format`, which is where `schemars` puts the
/// bounds of Rust's integers.
fn fit_to_toml(schema: &mut Schema) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(one)] = choices.as_slice() {
            let one = one.clone();
            schema.remove("anyOf");
            for (key, value) in one {
                schema.entry(key).or_insert(value);
            }
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Object(default)) = schema.get_mut("default") {
        default.retain(|_, value| !value.is_null());
    }
    match schema.remove("format").as_ref().and_then(Value::as_str) {
        Some("uint8") => drop(schema.entry("maximum").or_insert(json!(u8::MAX))),
        Some("uint16") => drop(schema.entry("maximum").or_insert(json!(u16::MAX))),
        Some("uint32") => drop(schema.entry("maximum").or_insert(json!(u32::MAX))),
        _ => {}
    }
}

/// Lets each word of an enum also stand in capitals, which is how API Gateway spells them; the
/// reference tells the plain ones.
pub(super) fn or_in_capitals(schema: &mut Schema) {
    let Some(Value::Array(words)) = schema.get_mut("oneOf") else { return };
    let capitals: Vec<_> = words
        .iter()
        .filter_map(|word| Some(word.get("const")?.as_str()?.to_ascii_uppercase()))
        .collect();
    words.push(json!({ "description": "as API Gateway spells them", "enum": capitals }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every object of the schema, the root first.
    fn objects(value: &Value) -> Vec<&serde_json::Map<String, Value>> {
        match value {
            Value::Object(map) => {
                std::iter::once(map).chain(map.values().flat_map(objects)).collect()
            }
            Value::Array(items) => items.iter().flat_map(objects).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_schema_names_its_draft_and_has_no_null() {
        let schema = json_schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["title"], "gateway.toml");
        assert!(!schema.to_string().contains("null"), "{schema:#}");
    }

    #[test]
    fn every_key_has_a_description_and_every_section_refuses_unknown_keys() {
        for object in objects(&json_schema()) {
            let Some(Value::Object(properties)) = object.get("properties") else { continue };
            assert_eq!(object.get("additionalProperties"), Some(&json!(false)), "{object:?}");
            for (key, property) in properties {
                assert!(property.get("description").is_some(), "{key} of {object:?}");
            }
        }
    }
}
