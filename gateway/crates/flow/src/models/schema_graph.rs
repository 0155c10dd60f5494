//! Where the schemas of an api's models are, what lies in them, and what refers to what.
//!
//! In:  schemas that draft 4 admits.
//! Out: the same schemas with each `$ref` spelled one way and without what could change its
//!      meaning (`id`, `$schema`); a graph to measure them by.
//!
//! Holds always: each `$ref` of the graph leads to one of its schemas; no measure recurses, so a
//! chain of references of any length is measured.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{InvalidModel, invalid, place};

/// How deep a schema may be nested; a parser of JSON admits no more.
pub(super) const MAX_DEPTH: usize = 128;

/// How API Gateway refers to a model: this, an api id, [`BEFORE_NAME`] and the model's name.
const BEFORE_API: &str = "https://apigateway.amazonaws.com/restapis/";
const BEFORE_NAME: &str = "/models/";

/// What may stand in a URI's fragment as it is, of what pointers hold.
const FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');

/// All schemas of an api, subschemas included.
#[derive(Debug, Default)]
pub(super) struct SchemaGraph {
    schemas: Vec<Schema>,
    /// By model and pointer.
    places: HashMap<Place, usize>,
    /// By model, the models that it refers to.
    references: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    model: String,
    /// A JSON pointer (RFC 6901) from the model's root.
    pointer: String,
}

#[derive(Debug)]
struct Schema {
    place: Place,
    /// What else a value of this schema is checked against.
    next: Vec<(Reach, usize)>,
    /// Its `$ref`, which replaces all else (draft 4).
    target: Option<Place>,
}

/// Which value a further schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The same value.
    Same,
    /// A value inside it.
    Inside,
}

/// What a value is checked against.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    /// Schemas, each as often as ways lead to it.
    pub(super) schemas: u64,
    /// How deep they lie in each other.
    pub(super) depth: u32,
}

/// Whether `schema` is nested deeper than [`MAX_DEPTH`].
pub(super) fn is_too_deep(schema: &Value) -> bool {
    let mut level: Vec<&Value> = vec![schema];
    for _ in 0..MAX_DEPTH {
        level = level
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect::<Vec<_>>(),
                Value::Object(members) => members.values().collect(),
                _ => Vec::new(),
            })
            .collect();
        if level.is_empty() {
            return false;
        }
    }
    true
}

/// The one spelling of a reference, in a document that holds the models as definitions.
pub(super) fn local_reference(model: &str, pointer: &str) -> String {
    format!("#/definitions/{model}{}", utf8_percent_encode(pointer, FRAGMENT))
}

impl SchemaGraph {
    /// Reads `schemas`, respells their references and reports those that lead nowhere.
    pub(super) fn build(
        schemas: &mut BTreeMap<String, Value>,
        problems: &mut Vec<InvalidModel>,
    ) -> Self {
        let mut graph = Self::default();
        let names: BTreeSet<String> = schemas.keys().cloned().collect();
        for (model, schema) in schemas {
            let root = Place { model: model.clone(), pointer: String::new() };
            graph.references.insert(model.clone(), BTreeSet::new());
            graph.add(&root, schema, &names, problems);
        }
        for at in 0..graph.schemas.len() {
            let schema = &graph.schemas[at];
            let Some(target) = &schema.target else { continue };
            match graph.places.get(target) {
                Some(target) => graph.schemas[at].next = vec![(Reach::Same, *target)],
                None => problems.push(invalid(
                    &schema.place.model,
                    format!(
                        "{}: `$ref`: model `{}` has no schema at {}",
                        place(&schema.place.pointer),
                        target.model,
                        target.pointer
                    ),
                )),
            }
        }
        graph
    }

    /// Adds a schema and all in it; the depth is bounded, see [`MAX_DEPTH`].
    fn add(
        &mut self,
        place: &Place,
        schema: &mut Value,
        names: &BTreeSet<String>,
        problems: &mut Vec<InvalidModel>,
    ) -> usize {
        let at = self.schemas.len();
        self.places.insert(place.clone(), at);
        self.schemas.push(Schema { place: place.clone(), next: Vec::new(), target: None });
        let Value::Object(keywords) = schema else { return at };
        // Either could give a reference another meaning.
        keywords.shift_remove("id");
        keywords.shift_remove("$schema");
        if let Some(Value::String(reference)) = keywords.get_mut("$ref") {
            match resolve(reference, &place.model, names) {
                Ok(target) => {
                    *reference = local_reference(&target.model, &target.pointer);
                    if let Some(others) = self.references.get_mut(&place.model) {
                        others.insert(target.model.clone());
                    }
                    self.schemas[at].target = Some(target);
                }
                Err(why) => problems.push(invalid(
                    &place.model,
                    format!("{}: `$ref` to `{reference}`: {why}", super::place(&place.pointer)),
                )),
            }
        }
        let mut next = Vec::new();
        for (pointer, reach, inner) in subschemas(&place.pointer, keywords) {
            let inner_place = Place { model: place.model.clone(), pointer };
            let inner = self.add(&inner_place, inner, names, problems);
            next.extend(reach.map(|reach| (reach, inner)));
        }
        self.schemas[at].next = next;
        at
    }

    /// The most that one value is checked against in `model`; or where a circle is.
    pub(super) fn schemas_at_one_value(&self, model: &str) -> Result<Extent, &str> {
        let extents = self.extents(|reach| reach == Reach::Same);
        let mut most = Extent::default();
        for (schema, extent) in self.schemas.iter().zip(extents) {
            if schema.place.model != model {
                continue;
            }
            let Some(extent) = extent else { return Err(&schema.place.pointer) };
            most.schemas = most.schemas.max(extent.schemas);
            most.depth = most.depth.max(extent.depth);
        }
        Ok(most)
    }

    /// How many schemas `model` is in all; `None` if it contains itself.
    pub(super) fn schemas_in_all(&self, model: &str) -> Option<u64> {
        let root = Place { model: model.to_owned(), pointer: String::new() };
        let at = *self.places.get(&root)?;
        self.extents(|_| true)[at].map(|extent| extent.schemas)
    }

    /// `model`, what it refers to, what that refers to, and so on.
    pub(super) fn models_needed_by<'g>(&'g self, model: &'g str) -> BTreeSet<&'g str> {
        let mut needed = BTreeSet::new();
        let mut waiting = vec![model];
        while let Some(model) = waiting.pop() {
            if needed.insert(model)
                && let Some(others) = self.references.get(model)
            {
                waiting.extend(others.iter().map(String::as_str));
            }
        }
        needed
    }

    /// Each schema's extent along what `follow` admits; `None` where a circle is in the way.
    fn extents(&self, follow: impl Fn(Reach) -> bool) -> Vec<Option<Extent>> {
        #[derive(Clone, Copy)]
        enum Mark {
            Unseen,
            Open,
            Done(Option<Extent>),
        }
        let mut marks = vec![Mark::Unseen; self.schemas.len()];
        for start in 0..self.schemas.len() {
            // Each schema is entered once and, after all that follows from it, left once.
            let mut path = vec![(start, false)];
            while let Some((at, entered)) = path.pop() {
                let next = || self.schemas[at].next.iter().filter(|(reach, _)| follow(*reach));
                match (entered, marks[at]) {
                    (false, Mark::Unseen) => {
                        marks[at] = Mark::Open;
                        path.push((at, true));
                        path.extend(next().map(|(_, inner)| (*inner, false)));
                    }
                    (false, _) => {}
                    (true, _) => {
                        let extent =
                            next().try_fold(Extent { schemas: 1, depth: 1 }, |sum, (_, inner)| {
                                match marks[*inner] {
                                    Mark::Done(Some(inner)) => Some(Extent {
                                        schemas: sum.schemas.saturating_add(inner.schemas),
                                        depth: sum.depth.max(inner.depth.saturating_add(1)),
                                    }),
                                    // Still open: it is where this schema was come from.
                                    _ => None,
                                }
                            });
                        marks[at] = Mark::Done(extent);
                    }
                }
            }
        }
        let extent = |mark| match mark {
            Mark::Done(extent) => extent,
            Mark::Unseen | Mark::Open => None,
        };
        marks.into_iter().map(extent).collect()
    }
}

/// The schemas directly in one, each with its pointer and the value that it is for; `None` for a
/// definition, which is for none by itself.
fn subschemas<'s>(
    pointer: &str,
    keywords: &'s mut Map<String, Value>,
) -> Vec<(String, Option<Reach>, &'s mut Value)> {
    let mut found = Vec::new();
    for (keyword, value) in keywords {
        let at = format!("{pointer}/{keyword}");
        let named = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        let (inside, same) = (Some(Reach::Inside), Some(Reach::Same));
        let keyword = keyword.as_str();
        let by_name = match keyword {
            "definitions" => Some(None),
            "properties" | "patternProperties" => Some(inside),
            "dependencies" => Some(same),
            _ => None,
        };
        let listed = match keyword {
            "items" => Some(inside),
            "allOf" | "anyOf" | "oneOf" => Some(same),
            _ => None,
        };
        let single = match keyword {
            "items" | "additionalItems" | "additionalProperties" => Some(inside),
            "not" => Some(same),
            _ => None,
        };
        match (value, by_name, listed, single) {
            (Value::Object(members), Some(reach), _, _) => {
                // What is no object is no schema: `dependencies` may list names of properties.
                let schemas = members.iter_mut().filter(|(_, inner)| inner.is_object());
                found.extend(schemas.map(|(name, inner)| (named(name), reach, inner)));
            }
            (Value::Array(items), _, Some(reach), _) => {
                let items = items.iter_mut().enumerate();
                found.extend(items.map(|(index, inner)| (format!("{at}/{index}"), reach, inner)));
            }
            (value, _, _, Some(reach)) if value.is_object() => found.push((at, reach, value)),
            _ => {}
        }
    }
    found
}

/// What `reference` in `model` leads to.
fn resolve(reference: &str, model: &str, names: &BTreeSet<String>) -> Result<Place, &'static str> {
    let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    let name = match base.strip_prefix(BEFORE_API) {
        Some(rest) => match rest.split_once(BEFORE_NAME) {
            Some((api, name)) if !api.is_empty() && !api.contains('/') => name,
            _ => {
                return Err("a model is https://apigateway.amazonaws.com/restapis/API/models/NAME");
            }
        },
        None if base.is_empty() => model,
        None if base.contains([':', '/']) => {
            return Err("only models of the same api can be referred to, and nothing is fetched");
        }
        None => base,
    };
    if !names.contains(name) {
        return Err("the api has no such model");
    }
    let pointer =
        percent_decode_str(fragment).decode_utf8().map_err(|_| "what is after `#` is not UTF-8")?;
    if !(pointer.is_empty() || pointer.starts_with('/')) {
        return Err("after `#` comes a pointer such as /definitions/item");
    }
    Ok(Place { model: name.to_owned(), pointer: pointer.into_owned() })
}
