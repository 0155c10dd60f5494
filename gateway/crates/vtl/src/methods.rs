//! The Java methods that a template may call. There are no others: reflection is not reachable.
//!
//! In:  a receiver, a method's name and its arguments.
//! Out: its answer; `None` if the receiver has no such method; an interrupt where Java throws.

use crate::{
    evaluator::{Evaluator, Interrupt},
    numbers::Number,
    value::Value,
};

mod lists;
mod maps;
mod numbers;
pub(crate) mod regexes;
mod strings;

impl Evaluator<'_> {
    /// Calls a method.
    pub(crate) fn call(
        &mut self,
        receiver: &Value,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Interrupt> {
        match (name, arguments) {
            // Of every value.
            ("toString", []) => return self.text_of(receiver).map(|text| Some(Value::Text(text))),
            ("equals", [other]) => return self.strictly_equal(receiver, other).map(Some),
            _ => {}
        }
        match receiver {
            Value::Text(text) => self.string_method(text, name, arguments),
            Value::Number(number) => self.number_method(number, name, arguments),
            Value::List(id) => self.list_method(*id, name, arguments),
            Value::Map(id) => self.map_method(*id, name, arguments),
            Value::Entry(id) => {
                let entry = self.heap.entry(*id);
                Ok(match (name, arguments) {
                    ("getKey", []) => Some(entry.key.clone()),
                    ("getValue", []) => Some(entry.value.clone()),
                    _ => None,
                })
            }
            Value::Iterator(id) => {
                let iteration = self.heap.iterator_mut(*id);
                match (name, arguments) {
                    ("hasNext", []) => {
                        Ok(Some(Value::Bool(iteration.next < iteration.items.len())))
                    }
                    ("next", []) => match iteration.items.get(iteration.next) {
                        Some(item) => {
                            iteration.next += 1;
                            Ok(Some(item.clone()))
                        }
                        None => Err(Interrupt::method("next: the iterator is at its end")),
                    },
                    _ => Ok(None),
                }
            }
            Value::Loop(id) => match (name, arguments) {
                ("stop", []) => Err(Interrupt::Break(Some(*id))),
                ("hasNext", []) => {
                    let running = self.heap.running(*id);
                    Ok(Some(Value::Bool(running.index + 1 < running.length)))
                }
                _ => Ok(None),
            },
            Value::Bool(bool) => Ok(match (name, arguments) {
                ("booleanValue", []) => Some(Value::Bool(*bool)),
                _ => None,
            }),
            Value::Input => self.input_method(name, arguments),
            Value::Util => self.util_method(name, arguments),
            Value::Block(_) | Value::Null | Value::Uncalled => Ok(None),
        }
    }

    /// `equals`: a value of another class is never equal, an integer never to a double.
    fn strictly_equal(&mut self, left: &Value, right: &Value) -> Result<Value, Interrupt> {
        if let (Value::Number(a), Value::Number(b)) = (left, right) {
            let is_double = |number: &Number| matches!(number, Number::Double(_));
            if is_double(a) != is_double(b) {
                return Ok(Value::Bool(false));
            }
        }
        self.equals(left, right).map(Value::Bool)
    }
}

/// An argument that Java wants as an `int`.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(Number::Int(int)) => Some(*int),
        _ => None,
    }
}
