//! Methods of lists, of parsed arrays and of what `split`, `keySet` and their like give.

use crate::{
    evaluator::{Evaluator, Interrupt},
    methods::integer,
    references::checked_index,
    value::{Iteration, List, ListId, Origin, Value},
};

impl Evaluator<'_> {
    pub(super) fn list_method(
        &mut self,
        id: ListId,
        name: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Interrupt> {
        let length = self.heap.list(id).items.len();
        let answer = match (name, arguments) {
            ("size", []) => Value::count(length),
            ("isEmpty", []) => Value::Bool(length == 0),
            ("get", [index]) => {
                let Some(index) = integer(index) else { return Ok(None) };
                let at = checked_index(index, length)?;
                self.heap.list(id).items[at].clone()
            }
            ("set", [index, value]) => {
                let Some(index) = integer(index) else { return Ok(None) };
                let at = checked_index(index, length)?;
                std::mem::replace(&mut self.heap.list_mut(id).items[at], value.clone())
            }
            ("add", [value]) => {
                self.heap.list_mut(id).items.push(value.clone());
                Value::Bool(true)
            }
            ("add", [index, value]) => {
                let Some(index) = integer(index) else { return Ok(None) };
                let at = checked_index(index, length + 1)?;
                self.spend(length / 64)?;
                self.heap.list_mut(id).items.insert(at, value.clone());
                Value::Null
            }
            ("addAll", [Value::List(other)]) => {
                let more = self.heap.list(*other).items.len();
                self.spend(more)?;
                let items = self.heap.list(*other).items.clone();
                self.heap.list_mut(id).items.extend(items);
                Value::Bool(more > 0)
            }
            ("remove", [which]) => match integer(which) {
                Some(index) => {
                    let at = checked_index(index, length)?;
                    self.spend(length / 64)?;
                    self.heap.list_mut(id).items.remove(at)
                }
                None => {
                    let found = self.position(id, which, Side::First)?;
                    if let Some(at) = found {
                        self.heap.list_mut(id).items.remove(at);
                    }
                    Value::Bool(found.is_some())
                }
            },
            ("clear", []) => {
                self.heap.list_mut(id).items.clear();
                Value::Null
            }
            ("contains", [value]) => Value::Bool(self.position(id, value, Side::First)?.is_some()),
            ("indexOf", [value]) => place(self.position(id, value, Side::First)?),
            ("lastIndexOf", [value]) => place(self.position(id, value, Side::Last)?),
            ("subList", [from, to]) => {
                let (Some(from), Some(to)) = (integer(from), integer(to)) else { return Ok(None) };
                let to = checked_index(to, length + 1)?;
                let from = checked_index(from, to + 1)?;
                self.spend(to - from)?;
                let list = self.heap.list(id);
                let items = list.items[from..to].to_vec();
                Value::List(self.heap.new_list(List { items, origin: Origin::Template }))
            }
            ("iterator", []) => {
                self.spend(length)?;
                let items = self.heap.list(id).items.clone();
                Value::Iterator(self.heap.new_iterator(Iteration { items, next: 0 }))
            }
            _ => return Ok(None),
        };
        Ok(Some(answer))
    }

    fn position(
        &mut self,
        id: ListId,
        value: &Value,
        side: Side,
    ) -> Result<Option<usize>, Interrupt> {
        let items = self.heap.list(id).items.clone();
        self.spend(items.len())?;
        let mut places = 0..items.len();
        while let Some(at) = match side {
            Side::First => places.next(),
            Side::Last => places.next_back(),
        } {
            if self.equals(&items[at], value)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

#[derive(Debug, Clone, Copy)]
enum Side {
    First,
    Last,
}

fn place(found: Option<usize>) -> Value {
    found.map_or(Value::Number(crate::Number::Int(-1)), Value::count)
}
