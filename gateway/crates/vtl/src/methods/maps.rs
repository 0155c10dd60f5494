//! Methods of maps and parsed objects. A key is a string, whatever it was given as.

use std::sync::Arc;

use crate::{
    evaluator::{Evaluator, Interrupt},
    value::{Entry, MapId, Value},
};

impl Evaluator<'_> {
    pub(super) fn map_method(
        &mut self,
        id: MapId,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Interrupt> {
        let length = self.heap.map(id).len();
        let answer = match (name, arguments) {
            ("size", []) => Value::count(length),
            ("isEmpty", []) => Value::Bool(length == 0),
            ("get", [_]) => {
                let key = self.argument_text(arguments, 0)?;
                self.heap.map(id).get(&key).cloned().unwrap_or(Value::Null)
            }
            ("getOrDefault", [_, default]) => {
                let key = self.argument_text(arguments, 0)?;
                self.heap.map(id).get(&key).unwrap_or(default).clone()
            }
            ("put", [_, value]) => {
                let key = self.argument_text(arguments, 0)?;
                self.put(id, key, value.clone())?.unwrap_or(Value::Null)
            }
            ("putAll", [Value::Map(other)]) => {
                let entries = self.entries_of(*other)?;
                for (key, value) in entries {
                    self.put(id, key, value)?;
                }
                Value::Null
            }
            ("remove", [_]) => {
                let key = self.argument_text(arguments, 0)?;
                self.spend(length / 8)?;
                self.heap.map_mut(id).remove(&key).unwrap_or(Value::Null)
            }
            ("clear", []) => {
                self.heap.map_mut(id).clear();
                Value::Null
            }
            ("containsKey", [_]) => {
                let key = self.argument_text(arguments, 0)?;
                Value::Bool(self.heap.map(id).contains_key(&key))
            }
            ("containsValue", [value]) => {
                let mut found = false;
                for (_, held) in self.entries_of(id)? {
                    found = found || self.equals(&held, value)?;
                }
                Value::Bool(found)
            }
            ("keySet", []) => {
                let entries = self.entries_of(id)?;
                let keys = entries.into_iter().map(|(key, _)| Value::Text(key)).collect();
                self.heap.template_list(keys)
            }
            ("values", []) => {
                let entries = self.entries_of(id)?;
                let values = entries.into_iter().map(|(_, value)| value).collect();
                self.heap.template_list(values)
            }
            ("entrySet", []) => {
                let entries = self.entries_of(id)?;
                let mut items = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let entry = Entry { key: Value::Text(key), value };
                    items.push(Value::Entry(self.heap.new_entry(entry)));
                }
                self.heap.template_list(items)
            }
            _ => return Ok(None),
        };
        Ok(Some(answer))
    }

    fn entries_of(&mut self, id: MapId) -> Result<Vec<(Arc<str>, Value)>, Interrupt> {
        self.spend(self.heap.map(id).len())?;
        Ok(self.heap.map(id).iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}
