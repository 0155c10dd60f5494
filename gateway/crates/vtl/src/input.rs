//! `$input`: the body as text, as JSON and by JSONPath, and the request's parameters.
//!
//! Holds always: the body is parsed at most once in a render, and only if it is asked for as JSON;
//! what `$input.path` gives is a copy, so changing it changes no later answer.

use std::{rc::Rc, sync::Arc};

use crate::{
    bindings::Found,
    error::RenderErrorKind,
    evaluator::{Evaluator, Interrupt},
    json::{InvalidJson, Json},
    json_path::JsonPath,
    value::{Map, Value},
};

/// What an absent payload reads as.
const EMPTY: &str = "{}";

/// Where parameters come from, in the order in which they are looked for.
const PLACES: [&str; 3] = ["path", "querystring", "header"];

/// The payload.
pub(crate) struct Body<'a> {
    /// `None` if there is no payload at all.
    text: Option<&'a str>,
    parsed: Option<Result<Rc<Json>, InvalidJson>>,
}

impl<'a> Body<'a> {
    pub(crate) fn new(text: Option<&'a str>) -> Self {
        Self { text, parsed: None }
    }

    /// What is parsed: an empty payload, and one that is not there, are an empty object.
    fn text(&self) -> &'a str {
        self.text.filter(|text| !text.is_empty()).unwrap_or(EMPTY)
    }

    /// `$input.body`
    fn as_sent(&self) -> &'a str {
        if self.text.is_none() { "" } else { self.text() }
    }

    /// The body as JSON; text that does not start as JSON is one string.
    fn json(&mut self) -> Result<Rc<Json>, InvalidJson> {
        let text = self.text();
        self.parsed
            .get_or_insert_with(|| {
                let plain = || Json::String(text.into());
                let json = match text.trim_start().chars().next() {
                    Some('{' | '[') => Json::parse(text)?,
                    Some('"' | '\'') => Json::parse(text).unwrap_or_else(|_| plain()),
                    _ => plain(),
                };
                Ok(Rc::new(json))
            })
            .clone()
    }
}

impl Evaluator<'_> {
    pub(crate) fn input_property(&self, name: &str) -> Value {
        match name {
            "body" => Value::text(self.body.as_sent()),
            "json" | "path" | "params" => Value::Uncalled,
            _ => Value::Null,
        }
    }

    pub(crate) fn input_method(
        &mut self,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Interrupt> {
        match (name, arguments) {
            ("json", [path]) => {
                let path = self.text_of(path)?;
                self.input_json(&path).map(Some)
            }
            ("path", [path]) => {
                let path = self.text_of(path)?;
                self.input_path(&path).map(Some)
            }
            ("params", []) => self.all_params().map(Some),
            ("params", [name]) => {
                let name = self.text_of(name)?;
                Ok(Some(self.param(&name)))
            }
            _ => Ok(None),
        }
    }

    fn input_json(&mut self, path: &str) -> Result<Value, Interrupt> {
        let found = self.find(path)?;
        let Some(json) = found else { return Ok(Value::text("\"\"")) };
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = json.write(&mut text);
        self.spend_text(text.len())?;
        self.check_length(text.len())?;
        Ok(Value::text(text))
    }

    fn input_path(&mut self, path: &str) -> Result<Value, Interrupt> {
        let Some(json) = self.find(path)? else { return Ok(Value::Null) };
        self.spend(json.weight())?;
        Ok(self.heap.import(&json))
    }

    /// What a path finds: one value for a definite path, else an array of all.
    fn find(&mut self, path: &str) -> Result<Option<Rc<Json>>, Interrupt> {
        self.spend_text(path.len())?;
        if self.body.parsed.is_none() {
            self.spend_text(self.body.text().len())?;
        }
        let body = self
            .body
            .json()
            .map_err(|err| Interrupt::Failed(RenderErrorKind::InvalidBody(err.to_string())))?;
        if path.trim() == "$" {
            return Ok(Some(body));
        }
        let parts = self.parts;
        let parsed;
        let compiled = match parts.paths.get(path) {
            Some(prepared) => prepared,
            None => {
                parsed = JsonPath::parse(path).map_err(|reason| {
                    let message = format!("{path:?} is no JSONPath: {reason}");
                    Interrupt::Failed(RenderErrorKind::Path(message))
                })?;
                &parsed
            }
        };
        let found = compiled.find(&body, &mut |steps| self.spend(steps))?;
        // The copy below costs as much as what it copies.
        let weight = found.iter().map(|json| json.weight()).sum();
        self.spend(weight)?;
        if compiled.is_definite() {
            let first = found.first().map(|json| compiled.finish(json));
            return Ok(first.flatten().map(Rc::new));
        }
        Ok(Some(Rc::new(Json::Array(found.into_iter().cloned().collect()))))
    }

    /// `path`, `querystring` and `header`, in this order.
    fn all_params(&mut self) -> Result<Value, Interrupt> {
        if let Some(params) = &self.params {
            return Ok(params.clone());
        }
        let given = self.bindings.params.all();
        self.spend(given.weight())?;
        let mut all = Map::new();
        for place in PLACES {
            let params = match given.get(place) {
                Some(params) => self.heap.import(params),
                None => Value::Map(self.heap.new_map(Map::new())),
            };
            all.insert(Arc::from(place), params);
        }
        let params = Value::Map(self.heap.new_map(all));
        self.params = Some(params.clone());
        Ok(params)
    }

    /// The first of path, query string and header; names are compared as they are.
    fn param(&self, name: &str) -> Value {
        for place in PLACES {
            if let Found::Text(text) = self.bindings.params.find(&[place, name]) {
                return Value::text(text);
            }
        }
        Value::text("")
    }
}
