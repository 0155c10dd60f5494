//! `#set`: a variable, a map's key or a list's element.
//!
//! Holds always: what is null becomes `""`; where there is nothing to assign to, nothing happens.

use std::rc::Rc;

use crate::{
    ast::{Reference, Step},
    evaluator::{Evaluator, Interrupt},
    numbers::Number,
    references::checked_index,
    value::Value,
};

impl Evaluator<'_> {
    pub(crate) fn assign(&mut self, target: &Reference, value: Value) -> Result<(), Interrupt> {
        let value = match value {
            Value::Null => Value::text(""),
            value => value,
        };
        let Some((last, steps)) = target.steps.split_last() else {
            self.variables.insert(Rc::from(target.name.as_str()), value);
            return Ok(());
        };
        self.place = target.place;
        let Some(holder) = self.variables.get(target.name.as_str()).cloned() else { return Ok(()) };
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
                self.heap.map_mut(id).insert(key, value);
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
}
