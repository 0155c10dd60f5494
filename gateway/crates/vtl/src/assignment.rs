//! `#set`: a variable, a map's key or a list's element.
//!
//! Holds always: what is null becomes `""`; where there is nothing to assign to, nothing happens.

use std::sync::Arc;

use crate::{
    ast::{Reference, Step},
    error::RenderErrorKind,
    evaluator::{Evaluator, Interrupt},
    numbers::Number,
    references::checked_index,
    value::{MapId, Value},
};

impl Evaluator<'_> {
    pub(crate) fn assign(&mut self, target: &Reference, value: Value) -> Result<(), Interrupt> {
        let value = match value {
            Value::Null => Value::text(""),
            value => value,
        };
        let Some((last, steps)) = target.steps.split_last() else {
            self.set_variable(&target.name, value);
            return Ok(());
        };
        self.place = target.place;
        let Some(holder) = self.variable(&target.name)? else { return Ok(()) };
        let holder = self.walk(holder, target, steps)?;
        let key = match last {
            Step::Property(name) => Value::text(name.as_str()),
            Step::Index(index) => self.value(index)?,
            // The parser refuses such a target.
            Step::Method(..) => return Ok(()),
        };
        self.place = target.place;
        match (holder, &key) {
            (Value::Map(id), _) => {
                let key = self.text_of(&key)?;
                self.put(id, key, value)?;
            }
            (Value::List(id), Value::Number(Number::Int(index))) => {
                let items = &mut self.heap.list_mut(id).items;
                let at = checked_index(*index, items.len())?;
                items[at] = value;
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives a variable a value; its name is copied only the first time.
    pub(crate) fn set_variable(&mut self, name: &str, value: Value) {
        match self.variables.get_mut(name) {
            Some(held) => *held = value,
            None => {
                self.variables.insert(Arc::from(name), value);
            }
        }
    }

    /// Puts a value under a map's key and gives the one that was there.
    pub(crate) fn put(
        &mut self,
        id: MapId,
        key: Arc<str>,
        value: Value,
    ) -> Result<Option<Value>, Interrupt> {
        let replaced = self.overrides.holds(id, &key) && self.heap.map(id).contains_key(&key);
        if replaced {
            return Err(Interrupt::Failed(RenderErrorKind::OverrideTwice));
        }
        Ok(self.heap.map_mut(id).insert(key, value))
    }
}
