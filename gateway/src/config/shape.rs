//! Finds everything in a TOML document that is not of the schema's shape, and takes it out.
//!
//! In:  the document with places, the schema.
//! Out: a problem for each unknown key, wrong type, unlisted word, number out of range and missing
//!      key; the document without them.
//!
//! Holds always: what is left deserializes into the types that the schema was made from, so that
//! the checks of meaning can look at the rest of a broken file too.

use std::fmt;

use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    key_path::KeyPath,
    later::{is_later_key, later_value},
    report::Report,
    suggestion::nearest,
};

/// One of the forms that a schema allows a value to have.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape<'s> {
    /// Any string.
    Text,
    /// One of these strings.
    Words(Vec<&'s str>),
    /// A whole number.
    Integer {
        least: Option<i64>,
        most: Option<i64>,
    },
    /// A finite number.
    Number {
        least: Option<f64>,
    },
    Boolean,
    /// An array of this.
    Array(&'s Value),
    /// A table with these properties.
    Table(&'s Map<String, Value>),
}

/// The schema that `schema` stands for, and the name it is defined by.
pub(super) fn resolve<'s>(root: &'s Value, schema: &'s Value) -> (Option<&'s str>, &'s Value) {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
    match name.and_then(|name| root.get("$defs")?.get(name)) {
        Some(definition) => (name, definition),
        None => (None, schema),
    }
}

/// The forms that `schema` allows: words together, arrays last, for one reads easier before several.
pub(super) fn shapes<'s>(root: &'s Value, schema: &'s Value) -> Vec<Shape<'s>> {
    let (_, schema) = resolve(root, schema);
    let mut found: Vec<Shape<'s>> = Vec::new();
    let mut add = |shape| match (found.last_mut(), shape) {
        (Some(Shape::Words(words)), Shape::Words(more)) => words.extend(more),
        (_, shape) => found.push(shape),
    };
    let choices = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key)?.as_array());
    if let Some(choices) = choices {
        choices.iter().flat_map(|choice| shapes(root, choice)).for_each(&mut add);
    } else if let Some(word) = schema.get("const").and_then(Value::as_str) {
        add(Shape::Words(vec![word]));
    } else if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        add(Shape::Words(words.iter().filter_map(Value::as_str).collect()));
    } else {
        let bound = |key| schema.get(key).and_then(Value::as_i64);
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => add(Shape::Text),
            Some("integer") => {
                add(Shape::Integer { least: bound("minimum"), most: bound("maximum") });
            }
            Some("number") => {
                add(Shape::Number { least: schema.get("minimum").and_then(Value::as_f64) });
            }
            Some("boolean") => add(Shape::Boolean),
            Some("array") => {
                if let Some(items) = schema.get("items") {
                    add(Shape::Array(items));
                }
            }
            Some("object") => {
                if let Some(table) = schema.as_object() {
                    add(Shape::Table(table));
                }
            }
            _ => {}
        }
    }
    found.sort_by_key(|shape| matches!(shape, Shape::Array(_)));
    found
}

impl fmt::Display for Shape<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => out.write_str("a string"),
            Self::Words(words) => {
                let plain: Vec<_> = plain_words(words).map(|word| format!("{word:?}")).collect();
                write_choices(out, plain.into_iter())
            }
            Self::Integer { .. } => out.write_str("an integer"),
            Self::Number { .. } => out.write_str("a number"),
            Self::Boolean => out.write_str("true or false"),
            Self::Array(_) => out.write_str("an array"),
            // A table of one key is a form of a value rather than a section of its own.
            Self::Table(table) => match sole_key(table) {
                Some(key) => write!(out, "{{ {key} = … }}"),
                None => out.write_str("a table"),
            },
        }
    }
}

/// The words without those that are another one in capitals: such a spelling is taken, not told.
pub(super) fn plain_words<'s>(words: &[&'s str]) -> impl Iterator<Item = &'s str> {
    let alias = |word: &str| {
        let plain = word.to_ascii_lowercase();
        plain != word && words.contains(&plain.as_str())
    };
    words.iter().copied().filter(move |word| !alias(word))
}

/// The key of a table that has exactly one, which must be there.
fn sole_key(table: &Map<String, Value>) -> Option<&String> {
    let properties = table.get("properties")?.as_object()?;
    let required = table.get("required")?.as_array()?;
    (properties.len() == 1 && required.len() == 1).then(|| properties.keys().next()).flatten()
}

/// `a, b or c`.
fn write_choices(
    out: &mut fmt::Formatter<'_>,
    choices: impl ExactSizeIterator<Item = String>,
) -> fmt::Result {
    let last = choices.len().saturating_sub(1);
    for (at, choice) in choices.enumerate() {
        let joint = match at {
            0 => "",
            _ if at == last => " or ",
            _ => ", ",
        };
        write!(out, "{joint}{choice}")?;
    }
    Ok(())
}

/// What a value may be: `an integer or "none"`.
struct Expected<'a, 's>(&'a [Shape<'s>]);

impl fmt::Display for Expected<'_, '_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_choices(out, self.0.iter().map(Shape::to_string))
    }
}

/// Whether `table` takes keys of any name and values of any JSON kind.
pub(super) fn is_free(table: &Map<String, Value>) -> bool {
    table.get("additionalProperties") == Some(&Value::Bool(true))
}

/// Looks through a whole document; see the module.
pub(super) fn keep_what_fits(schema: &Value, document: &mut DeTable<'_>, report: &mut Report<'_>) {
    if let Some(table) = schema.as_object() {
        Walk { root: schema, report }.table(table, document, &KeyPath::root());
    }
}

struct Walk<'s, 'r, 't> {
    root: &'s Value,
    report: &'r mut Report<'t>,
}

impl<'s> Walk<'s, '_, '_> {
    fn table(&mut self, schema: &'s Map<String, Value>, table: &mut DeTable<'_>, path: &KeyPath) {
        if is_free(schema) {
            return self.free_table(table, path);
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        // `false` where only `properties` are allowed, else the schema of every other key.
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let mut dropped = Vec::new();
        for (key, value) in table.iter_mut() {
            let name: &str = key.get_ref();
            let place = path.key(name);
            self.report.stands_at(place.clone(), key.span().start);
            let known = properties.and_then(|properties| properties.get(name)).or(others);
            let fits = match known {
                Some(schema) => self.value(schema, value, name, &place),
                None => {
                    self.unknown(name, properties, path, &place);
                    false
                }
            };
            if !fits {
                dropped.push(name.to_owned());
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            let place = path.key(name);
            if !table.contains_key(name) && !self.report.is_lost(&place) {
                self.missing(properties.and_then(|properties| properties.get(name)), &place);
            }
        }
        for name in dropped {
            table.remove(name.as_str());
        }
    }

    /// A JSON document written as TOML, which has some values that JSON has not.
    fn free_table(&mut self, table: &mut DeTable<'_>, path: &KeyPath) {
        let mut dropped = Vec::new();
        for (key, value) in table.iter_mut() {
            let name: &str = key.get_ref();
            let place = path.key(name);
            self.report.stands_at(place.clone(), key.span().start);
            if !self.free_value(value.get_mut(), &place) {
                dropped.push(name.to_owned());
            }
        }
        for name in dropped {
            table.remove(name.as_str());
        }
    }

    fn free_value(&mut self, value: &mut DeValue<'_>, place: &KeyPath) -> bool {
        let message = match value {
            DeValue::String(_) | DeValue::Boolean(_) => return true,
            DeValue::Table(table) => {
                self.free_table(table, place);
                return true;
            }
            DeValue::Array(array) => {
                let items = std::mem::replace(array, DeArray::new()).into_iter().enumerate();
                for (index, mut item) in items {
                    let place = place.item(index);
                    self.report.stands_at(place.clone(), item.span().start);
                    if self.free_value(item.get_mut(), &place) {
                        array.push(item);
                    }
                }
                return true;
            }
            DeValue::Integer(integer)
                if i64::from_str_radix(integer.as_str(), integer.radix()).is_ok() =>
            {
                return true;
            }
            DeValue::Float(float) if float.as_str().parse().is_ok_and(f64::is_finite) => {
                return true;
            }
            DeValue::Integer(_) | DeValue::Float(_) => "expected a finite number of 64 bits",
            DeValue::Datetime(_) => "JSON has no dates and times, expected a string",
        };
        self.report.problem(place, message);
        false
    }

    fn missing(&mut self, schema: Option<&'s Value>, place: &KeyPath) {
        let shapes = schema.map(|schema| shapes(self.root, schema)).unwrap_or_default();
        match schema.and_then(|schema| schema.get("x-key")).and_then(Value::as_str) {
            Some(key) => {
                let message = format!("is missing, expected a table such as [{place}.{key}]");
                self.report.problem(place, message);
            }
            None => {
                let message = format!("is missing, expected {}", Expected(&shapes));
                self.report.problem(place, message);
            }
        }
    }

    fn unknown(
        &mut self,
        name: &str,
        properties: Option<&Map<String, Value>>,
        path: &KeyPath,
        place: &KeyPath,
    ) {
        let known = || properties.into_iter().flat_map(Map::keys).map(String::as_str);
        if is_later_key(name) {
            self.report.problem(place, "is not supported yet by this version");
        } else if let Some(meant) = nearest(name, known()) {
            self.report.problem(place, format_args!("unknown key, did you mean `{meant}`?"));
            self.report.was_misspelt(path.key(meant));
        } else {
            let mut known: Vec<_> = known().collect();
            known.sort_unstable();
            let message = format!("unknown key, known here: {}", known.join(", "));
            self.report.problem(place, message);
        }
    }

    /// Whether the value may stay; `name` is the last key on the way to it.
    fn value(
        &mut self,
        schema: &'s Value,
        value: &mut Spanned<DeValue<'_>>,
        name: &str,
        place: &KeyPath,
    ) -> bool {
        let shapes = shapes(self.root, schema);
        let expected = Expected(&shapes);
        match value.get_mut() {
            DeValue::String(text) => {
                if shapes.contains(&Shape::Text) {
                    return true;
                }
                let words = shapes.iter().find_map(|shape| match shape {
                    Shape::Words(words) => Some(words),
                    _ => None,
                });
                match words {
                    Some(words) if words.contains(&text.as_ref()) => true,
                    Some(_) => {
                        let message = match later_value(name, text) {
                            Some(what) => format!(
                                "{what} not supported yet by this version, expected {expected}"
                            ),
                            None => format!("expected {expected}, found {text:?}"),
                        };
                        self.report.problem(place, message);
                        false
                    }
                    None => self.wrong_type(&expected, "a string", place),
                }
            }
            DeValue::Integer(integer) => {
                let found = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
                match shapes
                    .iter()
                    .find(|s| matches!(s, Shape::Integer { .. } | Shape::Number { .. }))
                {
                    Some(Shape::Integer { least, most }) => {
                        self.integer(found, *least, *most, &shapes, place)
                    }
                    Some(Shape::Number { least }) => {
                        let found = found.map_or(f64::NAN, |found| found as f64);
                        self.number(found, *least, place)
                    }
                    _ => self.wrong_type(&expected, "an integer", place),
                }
            }
            DeValue::Float(float) => {
                let shape = shapes.iter().find_map(|shape| match shape {
                    Shape::Number { least } => Some(*least),
                    _ => None,
                });
                match shape {
                    Some(least) => {
                        let found = float.as_str().parse().unwrap_or(f64::NAN);
                        self.number(found, least, place)
                    }
                    None => self.wrong_type(&expected, "a number with a fraction", place),
                }
            }
            DeValue::Boolean(found) => {
                let found = if *found { "true" } else { "false" };
                shapes.contains(&Shape::Boolean) || self.wrong_type(&expected, found, place)
            }
            DeValue::Datetime(_) => self.wrong_type(&expected, "a date or time", place),
            DeValue::Array(array) => {
                let items = shapes.iter().find_map(|shape| match shape {
                    Shape::Array(items) => Some(*items),
                    _ => None,
                });
                match items {
                    Some(items) => {
                        self.items(items, array, name, place);
                        true
                    }
                    None => self.wrong_type(&expected, "an array", place),
                }
            }
            DeValue::Table(table) => self.one_of_tables(&shapes, table, place),
        }
    }

    fn one_of_tables(
        &mut self,
        shapes: &[Shape<'s>],
        table: &mut DeTable<'_>,
        place: &KeyPath,
    ) -> bool {
        let tables: Vec<_> = shapes
            .iter()
            .filter_map(|shape| match shape {
                Shape::Table(table) => Some(*table),
                _ => None,
            })
            .collect();
        match tables.as_slice() {
            [] => self.wrong_type(&Expected(shapes), "a table", place),
            [one] => {
                self.table(one, table, place);
                // A form such as `{ file = … }` is nothing without its key.
                sole_key(one).is_none() || !self.report.is_touched(place)
            }
            // With several forms, `{ env = … }` and `{ file = … }`, a table that is none of them
            // says too little about which was meant to name a key in it.
            several => match several.iter().find(|form| has_form(form, table)) {
                Some(form) => {
                    self.table(form, table, place);
                    // Such a form is nothing without its key.
                    !self.report.is_touched(place)
                }
                None => self.wrong_type(&Expected(shapes), "another table", place),
            },
        }
    }

    fn items(&mut self, schema: &'s Value, array: &mut DeArray<'_>, name: &str, place: &KeyPath) {
        let mut kept = DeArray::new();
        let mut indexes = Vec::new();
        for (index, mut item) in std::mem::replace(array, DeArray::new()).into_iter().enumerate() {
            let place = place.item(index);
            self.report.stands_at(place.clone(), item.span().start);
            if self.value(schema, &mut item, name, &place) {
                indexes.push(index);
                kept.push(item);
            }
        }
        *array = kept;
        self.report.items_left(place.clone(), indexes);
    }

    fn integer(
        &mut self,
        found: Option<i64>,
        least: Option<i64>,
        most: Option<i64>,
        shapes: &[Shape<'_>],
        place: &KeyPath,
    ) -> bool {
        let fits = found.is_some_and(|found| {
            least.is_none_or(|least| found >= least) && most.is_none_or(|most| found <= most)
        });
        if fits {
            return true;
        }
        let lifts = shapes.contains(&Shape::Words(vec!["none"]));
        match (found, least, most) {
            (Some(0), Some(1), _) if lifts => {
                self.report.problem(place, "0 is an error, \"none\" lifts it");
            }
            (Some(found), Some(least), Some(most)) => {
                self.report
                    .problem(place, format_args!("expected {least} to {most}, found {found}"));
            }
            (found, _, _) => {
                let found = found.map_or("a larger one".to_owned(), |found| found.to_string());
                self.report.problem(place, format_args!("out of range, found {found}"));
            }
        }
        false
    }

    fn number(&mut self, found: f64, least: Option<f64>, place: &KeyPath) -> bool {
        let fits = found.is_finite() && least.is_none_or(|least| found >= least);
        if !fits {
            let bound = least.map_or(String::new(), |least| format!(" of at least {least}"));
            self.report
                .problem(place, format_args!("expected a finite number{bound}, found {found}"));
        }
        fits
    }

    fn wrong_type(&mut self, expected: &Expected<'_, '_>, found: &str, place: &KeyPath) -> bool {
        self.report.problem(place, format_args!("expected {expected}, found {found}"));
        false
    }
}

/// Whether `table` has exactly the keys of this form.
fn has_form(form: &Map<String, Value>, table: &DeTable<'_>) -> bool {
    let properties = form.get("properties").and_then(Value::as_object);
    properties.is_some_and(|properties| {
        properties.len() == table.len()
            && properties.keys().all(|key| table.contains_key(key.as_str()))
    })
}
