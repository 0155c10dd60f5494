//! The variables that every template has: `$context`, `$stageVariables`, `$input`, `$util`.
//!
//! Holds always: a variable that a template sets hides the one of the same name here. `$context`
//! and `$stageVariables` become a map among the template's own variables the first time that more
//! than one of their values is needed; from then on only that map counts.

use std::sync::Arc;

use crate::{
    ast::{Expression, Reference, Step},
    bindings::{Found, Source},
    evaluator::{Evaluator, Interrupt},
    template::RepeatedOverride,
    value::{MapId, Value},
};

/// The deepest path that is looked up in a source; what lies deeper is found in the whole.
const MAX_PATH: usize = 8;

/// Maps in which a key is set once: `$context.{0}.{1}`.
const OVERRIDES: [(&str, &str); 4] = [
    ("requestOverride", "header"),
    ("requestOverride", "path"),
    ("requestOverride", "querystring"),
    ("responseOverride", "header"),
];

/// Where a template overrides what is sent, so that the second time can be refused.
#[derive(Debug, Default)]
pub(crate) struct OverrideMaps {
    /// Any key.
    maps: Vec<MapId>,
    /// `$context.responseOverride`, of which only `status` is one.
    response: Option<MapId>,
}

impl OverrideMaps {
    /// Whether `key` of `map` overrides something.
    pub(crate) fn holds(&self, map: MapId, key: &str) -> bool {
        self.maps.contains(&map) || self.response == Some(map) && key == "status"
    }
}

impl<'a> Evaluator<'a> {
    fn source(&self, name: &str) -> Option<&'a dyn Source> {
        match name {
            "context" => Some(self.bindings.context),
            "stageVariables" => Some(self.bindings.stage_variables),
            _ => None,
        }
    }

    /// The value of a variable, whole.
    pub(crate) fn variable(&mut self, name: &str) -> Result<Option<Value>, Interrupt> {
        if let Some(value) = self.variables.get(name) {
            return Ok(Some(value.clone()));
        }
        let Some(source) = self.source(name) else {
            return Ok(match name {
                "input" => Some(Value::Input),
                "util" => Some(Value::Util),
                _ => None,
            });
        };
        let all = source.all();
        self.spend(all.weight())?;
        let value = self.heap.import(&all);
        self.variables.insert(Arc::from(name), value.clone());
        if name == "context" && self.limits.repeated_overrides == RepeatedOverride::Refused {
            self.overrides = self.override_maps(&value);
        }
        Ok(Some(value))
    }

    /// The value of a reference into a source of which nothing more is needed; `None` if more is.
    pub(crate) fn looked_up(&mut self, reference: &Reference) -> Result<Option<Value>, Interrupt> {
        let Some(source) = self.source(&reference.name) else { return Ok(None) };
        let mut path = [""; MAX_PATH];
        for (at, step) in reference.steps.iter().take(MAX_PATH).enumerate() {
            path[at] = match step {
                Step::Property(name) => name,
                Step::Index(Expression::Text(name)) => name,
                Step::Index(_) | Step::Method(..) => return Ok(None),
            };
            self.spend(1)?;
            let value = match source.find(&path[..=at]) {
                Found::Object => continue,
                Found::Nothing => return Ok(Some(Value::Null)),
                Found::Text(text) => {
                    self.spend_text(text.len())?;
                    Value::text(text)
                }
                Found::Value(json) => {
                    self.spend(json.weight())?;
                    self.heap.import(&json)
                }
            };
            return self.walk(value, reference, &reference.steps[at + 1..]).map(Some);
        }
        Ok(None)
    }

    fn override_maps(&self, context: &Value) -> OverrideMaps {
        let inner = |value: &Value, name: &str| match value {
            Value::Map(id) => self.heap.map(*id).get(name).cloned(),
            _ => None,
        };
        let id = |value| match value {
            Some(Value::Map(id)) => Some(id),
            _ => None,
        };
        let maps = OVERRIDES.iter().filter_map(|(side, kind)| {
            id(inner(context, side).and_then(|side| inner(&side, kind)))
        });
        OverrideMaps { maps: maps.collect(), response: id(inner(context, "responseOverride")) }
    }
}
