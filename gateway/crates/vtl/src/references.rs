//! From a reference to its value, step by step.
//!
//! Holds always: a step that finds nothing makes the whole reference null; only a method that Java
//! would let throw fails the render. Nothing but the steps named here is reachable from a value.

use std::sync::Arc;

use crate::{
    ast::{Reference, Step},
    evaluator::{Evaluator, Interrupt},
    numbers::Number,
    value::{LoopId, Value},
};

impl Evaluator<'_> {
    /// The value of a reference; null if there is none.
    pub(crate) fn reference(&mut self, reference: &Reference) -> Result<Value, Interrupt> {
        self.place = reference.place;
        if !self.variables.contains_key(reference.name.as_str())
            && let Some(value) = self.looked_up(reference)?
        {
            return Ok(value);
        }
        let Some(value) = self.variable(&reference.name)? else { return Ok(Value::Null) };
        self.walk(value, reference, &reference.steps)
    }

    /// The value that some of a reference's steps lead to.
    pub(crate) fn walk(
        &mut self,
        mut value: Value,
        reference: &Reference,
        steps: &[Step],
    ) -> Result<Value, Interrupt> {
        for step in steps {
            self.spend(1)?;
            value = match step {
                Step::Property(name) => self.property(&value, name),
                Step::Index(index) => {
                    let index = self.value(index)?;
                    self.place = reference.place;
                    self.element(&value, &index)?
                }
                Step::Method(name, arguments) => {
                    let arguments = self.values(arguments)?;
                    self.place = reference.place;
                    self.call(&value, name, &arguments)?.unwrap_or(Value::Null)
                }
            };
            if matches!(value, Value::Null) {
                return Ok(value);
            }
        }
        Ok(value)
    }

    fn property(&mut self, value: &Value, name: &str) -> Value {
        match (value, name) {
            (Value::Map(id), _) => self.heap.map(*id).get(name).cloned().unwrap_or(Value::Null),
            (Value::Text(text), "empty") => Value::Bool(text.is_empty()),
            (Value::List(id), "empty") => Value::Bool(self.heap.list(*id).items.is_empty()),
            (Value::Entry(id), "key") => self.heap.entry(*id).key.clone(),
            (Value::Entry(id), "value") => self.heap.entry(*id).value.clone(),
            (Value::Loop(id), _) => self.loop_property(*id, name),
            (Value::Input, _) => self.input_property(name),
            (Value::Util, _) => Self::util_property(name),
            _ => Value::Null,
        }
    }

    fn loop_property(&self, id: LoopId, name: &str) -> Value {
        let running = self.heap.running(id);
        match name {
            "index" => Value::count(running.index),
            "count" => Value::count(running.index + 1),
            "hasNext" => Value::Bool(running.index + 1 < running.length),
            "first" => Value::Bool(running.index == 0),
            "last" => Value::Bool(running.index + 1 == running.length),
            "parent" => running.parent.map_or(Value::Null, Value::Loop),
            "topmost" => {
                let mut topmost = id;
                while let Some(parent) = self.heap.running(topmost).parent {
                    topmost = parent;
                }
                Value::Loop(topmost)
            }
            _ => Value::Null,
        }
    }

    /// `$a[index]`
    fn element(&mut self, value: &Value, index: &Value) -> Result<Value, Interrupt> {
        match value {
            Value::Map(id) => {
                let key = self.text_of(index)?;
                Ok(self.heap.map(*id).get(&key).cloned().unwrap_or(Value::Null))
            }
            Value::List(id) => {
                let Value::Number(Number::Int(index)) = index else { return Ok(Value::Null) };
                let items = &self.heap.list(*id).items;
                let at = checked_index(*index, items.len())?;
                Ok(items[at].clone())
            }
            _ => Ok(Value::Null),
        }
    }

    /// The text of a method's argument.
    pub(crate) fn argument_text(
        &mut self,
        arguments: &[Value],
        at: usize,
    ) -> Result<Arc<str>, Interrupt> {
        match arguments.get(at) {
            Some(value) => {
                let text = self.text_of(value)?;
                self.spend_text(text.len())?;
                Ok(text)
            }
            None => Ok(Arc::from("")),
        }
    }
}

/// An index of a list with `length` items, or what Java throws.
pub(crate) fn checked_index(index: i64, length: usize) -> Result<usize, Interrupt> {
    match usize::try_from(index) {
        Ok(at) if at < length => Ok(at),
        _ => Err(Interrupt::method(format!("no index {index} in a list of {length} items"))),
    }
}
