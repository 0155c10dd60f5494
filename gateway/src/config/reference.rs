//! The reference page of `gateway.toml`, `docs/configuration.md`.
//!
//! In:  the schema, and two example files.
//! Out: Markdown: one table per section, in the order of the full example.
//!
//! Holds always: nothing is said here that the schema knows; a test compares the committed page.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Write,
};

use serde_json::{Map, Value};

use super::{
    schema::schema,
    shape::{Shape, is_free, plain_words, resolve, shapes},
};

/// The least that serves something.
pub(super) const SMALL: &str = include_str!("example_small.toml");
/// Every section and nearly every key.
pub(super) const FULL: &str = include_str!("example_full.toml");

const INTRODUCTION: &str = "\
<!-- Generated from the doc comments in gateway/src/config. To write it anew:
     TIDEGATE_BLESS=1 cargo test -p tidegate config -->

# Configuration: `gateway.toml`

`tidegate run gateway.toml` reads one TOML file. `tidegate check gateway.toml` reads it and prints
what would be served; `tidegate schema` prints its JSON Schema for editors.

- A key that is not listed here is an error, and so is a value of the wrong type or out of range.
  Every problem is reported at once, each with its line and key.
- Every duration and size carries its unit in its name: `_s` seconds, `_ms` milliseconds, `_bytes`.
- Relative paths start at the folder of `gateway.toml`.
- `--set KEY=VALUE` on the command line sets one key over the file's; see operating.md.
- A secret is a string, `{ env = \"NAME\" }` for an environment variable, or `{ file = \"path\" }` for a
  file, of which one line break at the end is cut. Secrets are in no log, no message and not in what
  `tidegate check` prints.
- A JSON document (a model's schema, a policy) is a table or JSON text. A mapping template is a
  string, or `{ file = \"path\" }` for a file that is taken as it is.
- `\"none\"` lifts a limit where it is listed as a value.
";

/// The text of `docs/configuration.md`.
pub fn reference_page() -> String {
    let mut page = Page { root: schema(), out: INTRODUCTION.to_owned(), told: BTreeMap::new() };
    page.example("A small file", "Everything else has a default.", SMALL);
    page.out.push_str("\n## Sections\n");
    for (name, property) in page.sections() {
        page.section(&[name], property, property);
    }
    page.example("A full file", "Every section, and nearly every key.", FULL);
    page.out
}

struct Page {
    root: &'static Value,
    out: String,
    /// The types that have a table already, and the anchors of their headings.
    told: BTreeMap<&'static str, String>,
}

/// How a heading names a section: `[a.b]`, or `[[a.b]]` where it is one of several.
#[derive(Clone, Copy, PartialEq)]
enum Brackets {
    One,
    Two,
}

/// A table that a property leads to: what its keys are called, where the property is a table or an
/// array of such tables, and its schema.
struct Inner {
    key: Option<&'static str>,
    brackets: Brackets,
    schema: &'static Value,
}

impl Page {
    /// The top level, in the order in which the full example has it.
    fn sections(&self) -> Vec<(&'static str, &'static Value)> {
        let properties = self.root["properties"].as_object().into_iter().flatten();
        let mut sections: Vec<_> = properties.map(|(name, one)| (name.as_str(), one)).collect();
        sections.sort_by_key(|(name, _)| place_in_example(name));
        sections
    }

    fn example(&mut self, title: &str, text: &str, toml: &str) {
        self.line(format_args!("\n## {title}\n\n{text}\n\n```toml\n{toml}```"));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.out, "{text}");
    }

    /// The section that `property` at `path` leads to, and those below it. `described` has the
    /// text on top.
    fn section(&mut self, path: &[&str], property: &'static Value, described: &'static Value) {
        let Some(inner) = inner(self.root, property) else { return };
        let (name, table) = resolve(self.root, inner.schema);
        let Some(properties) = table.get("properties").and_then(Value::as_object) else { return };
        let mut path = path.to_vec();
        path.extend(inner.key);
        let heading = heading(&path, inner.brackets);
        if let Some(name) = name {
            match self.told.entry(name) {
                // The first heading stays the one that links lead to.
                Entry::Occupied(_) => return,
                Entry::Vacant(place) => drop(place.insert(anchor(&heading))),
            }
        }
        self.line(format_args!("\n### `{heading}`\n"));
        if let Some(text) = description(described).or_else(|| description(table)) {
            self.line(format_args!("{text}\n"));
        }
        self.line(format_args!("| key | type | default | meaning |\n|---|---|---|---|"));
        let required: Vec<_> = required(table).collect();
        let mut keys: Vec<_> = properties.iter().collect();
        keys.sort_by_key(|(key, _)| (!required.contains(&key.as_str()), key.as_str()));
        for (key, property) in &keys {
            let kind = self.kind(&path, key, property);
            let default = match property.get("default").and_then(toml_text) {
                _ if required.contains(&key.as_str()) => "required".to_owned(),
                Some(default) => format!("`{default}`"),
                None => "–".to_owned(),
            };
            let meaning = self.meaning(property);
            self.line(format_args!("| `{key}` | {kind} | {default} | {meaning} |"));
        }
        keys.sort_by_key(|(key, _)| place_in_example(key));
        for (key, property) in keys {
            let mut path = path.clone();
            path.push(key);
            // The row above has told what the property is for; on top stands what the type is.
            if let Some(inner) = inner_table(self.root, property) {
                self.section(&path, property, inner);
            }
        }
    }

    /// The cell that says what may be written.
    fn kind(&self, path: &[&str], key: &str, property: &'static Value) -> String {
        let all = shapes(self.root, property);
        let mut kinds = Vec::new();
        for (at, shape) in all.iter().enumerate() {
            kinds.push(match (plain_kind(shape), shape) {
                (Some(kind), _) => kind,
                // Several of what one may be.
                (None, Shape::Array(items))
                    if at > 0 && shapes(self.root, items).as_slice() == &all[..at] =>
                {
                    "array of these".to_owned()
                }
                (None, _) => self.compound(path, key, property, shape),
            });
        }
        kinds.join(" or ")
    }

    fn compound(
        &self,
        path: &[&str],
        key: &str,
        property: &'static Value,
        shape: &Shape<'static>,
    ) -> String {
        if let Shape::Table(table) = shape
            && let Some(form) = secret_form(table)
        {
            return format!("`{{ {form} = \"…\" }}`");
        }
        let Some(inner) = inner(self.root, property) else {
            return match shape {
                Shape::Table(table) if is_free(table) => "table".to_owned(),
                Shape::Table(table) => {
                    format!("table of {}", self.several(table.get("additionalProperties")))
                }
                Shape::Array(items) => format!("array of {}", self.several(Some(items))),
                _ => String::new(), // the rest is plain, see above
            };
        };
        let mut path = path.to_vec();
        path.push(key);
        path.extend(inner.key);
        let (name, _) = resolve(self.root, inner.schema);
        let heading = heading(&path, inner.brackets);
        let what = match (inner.key, inner.brackets) {
            (Some(_), _) => "table of tables",
            (None, Brackets::Two) => "array of tables",
            (None, Brackets::One) => "table",
        };
        let told = name.and_then(|name| self.told.get(name)).cloned();
        format!("[{what}](#{})", told.unwrap_or_else(|| anchor(&heading)))
    }

    /// What the values of a table or the items of an array may be.
    fn several(&self, schema: Option<&'static Value>) -> String {
        let shapes = schema.map(|schema| shapes(self.root, schema)).unwrap_or_default();
        let kinds: Vec<_> = shapes
            .iter()
            .map(|shape| match (shape, plain_kind(shape)) {
                (Shape::Text, _) => "strings".to_owned(),
                (Shape::Table(table), _) => secret_form(table)
                    .map_or("tables".to_owned(), |form| format!("`{{ {form} = \"…\" }}`")),
                (_, kind) => kind.unwrap_or_else(|| "arrays".to_owned()),
            })
            .collect();
        kinds.join(" or ")
    }

    /// The cell that says what for; words follow with what each stands for.
    fn meaning(&self, property: &'static Value) -> String {
        let mut text = description(property).unwrap_or_default();
        let (_, words) = resolve(self.root, property);
        let words = words.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        for word in words {
            if let (Some(name), Some(what)) = (word["const"].as_str(), description(word)) {
                let _ = write!(text, "<br>`\"{name}\"`: {what}");
            }
        }
        text.replace('|', "\\|")
    }
}

/// A value that is no table and no array.
fn plain_kind(shape: &Shape<'_>) -> Option<String> {
    Some(match shape {
        Shape::Text => "string".to_owned(),
        Shape::Words(words) => {
            let words: Vec<_> = plain_words(words).map(|word| format!("`\"{word}\"`")).collect();
            words.join(" or ")
        }
        Shape::Integer { least, most } => match (least.unwrap_or(0), most) {
            (least, Some(most)) if *most < i64::from(u32::MAX) => {
                format!("integer, {least} to {most}")
            }
            (0, _) => "integer".to_owned(),
            (least, _) => format!("integer from {least}"),
        },
        Shape::Number { least: Some(least) } => format!("number from {least}"),
        Shape::Number { least: None } => "number".to_owned(),
        Shape::Boolean => "`true` or `false`".to_owned(),
        Shape::Array(_) | Shape::Table(_) => return None,
    })
}

/// The table that `property` is, or is made of.
fn inner(root: &'static Value, property: &'static Value) -> Option<Inner> {
    shapes(root, property).into_iter().find_map(|shape| {
        let of = |schema, key, brackets| {
            let (_, table) = resolve(root, schema);
            table.get("properties").map(|_| Inner { key, brackets, schema })
        };
        match shape {
            Shape::Table(table) if secret_form(table).is_some() => None,
            Shape::Array(items) => of(items, None, Brackets::Two),
            Shape::Table(table) => match table.get("additionalProperties") {
                Some(values) if values.is_object() => {
                    let key = property.get("x-key").and_then(Value::as_str);
                    of(values, key, Brackets::One)
                }
                _ => of(own_schema(root, property), None, Brackets::One),
            },
            _ => None,
        }
    })
}

/// The resolved schema of that table, which describes the type.
fn inner_table(root: &'static Value, property: &'static Value) -> Option<&'static Value> {
    inner(root, property).map(|inner| resolve(root, inner.schema).1)
}

/// `property`, or the alternative of it that is a table.
fn own_schema(root: &'static Value, property: &'static Value) -> &'static Value {
    let alternatives = property.get("$ref").map_or(property, |_| resolve(root, property).1);
    let choices = alternatives.get("anyOf").and_then(Value::as_array);
    let is_table = |choice: &&Value| resolve(root, choice).1.get("properties").is_some();
    choices.into_iter().flatten().find(is_table).unwrap_or(property)
}

/// The key of `{ env = … }` and `{ file = … }`: a form of a string, not a section.
fn secret_form(table: &'static Map<String, Value>) -> Option<&'static str> {
    let properties = table.get("properties")?.as_object()?;
    let name = properties.keys().next()?.as_str();
    (properties.len() == 1 && ["env", "file"].contains(&name)).then_some(name)
}

/// Where a key first stands in the full example, whose order is made for readers.
fn place_in_example(key: &str) -> usize {
    FULL.find(key).unwrap_or(FULL.len())
}

fn required(table: &'static Value) -> impl Iterator<Item = &'static str> {
    table.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// A description as one line.
fn description(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn heading(path: &[&str], brackets: Brackets) -> String {
    let path = path.join(".");
    match brackets {
        Brackets::One => format!("[{path}]"),
        Brackets::Two => format!("[[{path}]]"),
    }
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_');
    heading.to_lowercase().chars().filter(kept).collect()
}

/// A default as TOML writes it; `None` for what is empty.
fn toml_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Object(table) if table.is_empty() => None,
        Value::Object(table) => {
            let entries =
                table.iter().map(|(key, one)| Some(format!("{key} = {}", toml_text(one)?)));
            let mut entries = entries.collect::<Option<Vec<_>>>()?;
            entries.sort_unstable(); // whatever order the map keeps
            Some(format!("{{ {} }}", entries.join(", ")))
        }
        // TOML takes a whole number where a number is wanted.
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => Some(float.to_string()),
            _ => Some(number.to_string()),
        },
        // Strings and booleans read the same in both.
        other => Some(other.to_string()),
    }
}
