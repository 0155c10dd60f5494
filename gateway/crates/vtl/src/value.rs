//! What a template's references hold while it is rendered.
//!
//! Holds always: lists and maps live in one [`Heap`] and values name them by number, so a list may
//! hold itself without a leak, and a structure of any depth is dropped without recursion.

use std::sync::Arc;

use crate::{json::Json, numbers::Number, ordered_map::OrderedMap};

/// A value. Lists and maps are shared: a copy of the value is the same list.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Only inside lists and maps, as a method's argument or answer, or as failed arithmetic.
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
    List(ListId),
    Map(MapId),
    Entry(EntryId),
    Iterator(IteratorId),
    /// `$foreach`
    Loop(LoopId),
    /// What `#define` stored: an index in the template's blocks.
    Block(usize),
    /// `$input`
    Input,
    /// `$util`
    Util,
    /// A function named without being called, as `$input.params`.
    Uncalled,
}

impl Value {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A length or an index.
    pub(crate) fn count(count: usize) -> Self {
        Self::Number(Number::Int(i64::try_from(count).unwrap_or(i64::MAX)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListId(usize);
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MapId(usize);
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryId(usize);
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IteratorId(usize);
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoopId(usize);

/// Where a list comes from, which decides how it prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made by the template: prints `[a, b]`.
    Template,
    /// An array of parsed JSON: prints as JSON text.
    Json,
}

#[derive(Debug)]
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    pub(crate) origin: Origin,
}

pub(crate) type Map = OrderedMap<Value>;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Value,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) struct Iteration {
    pub(crate) items: Vec<Value>,
    pub(crate) next: usize,
}

/// A running `#foreach`.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) index: usize,
    pub(crate) length: usize,
    pub(crate) parent: Option<LoopId>,
}

/// Everything that values name.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    lists: Vec<List>,
    maps: Vec<Map>,
    entries: Vec<Entry>,
    iterators: Vec<Iteration>,
    loops: Vec<Loop>,
}

/// An id is only ever made by the heap that it indexes, which never shrinks.
macro_rules! kind {
    ($make:ident, $get:ident, $get_mut:ident, $field:ident, $id:ident, $object:ty) => {
        pub(crate) fn $make(&mut self, object: $object) -> $id {
            self.$field.push(object);
            $id(self.$field.len() - 1)
        }

        #[allow(dead_code, reason = "not every kind is read and written")]
        pub(crate) fn $get(&self, id: $id) -> &$object {
            &self.$field[id.0]
        }

        #[allow(dead_code, reason = "not every kind is read and written")]
        pub(crate) fn $get_mut(&mut self, id: $id) -> &mut $object {
            &mut self.$field[id.0]
        }
    };
}

impl Heap {
    kind!(new_list, list, list_mut, lists, ListId, List);
    kind!(new_map, map, map_mut, maps, MapId, Map);
    kind!(new_entry, entry, entry_mut, entries, EntryId, Entry);
    kind!(new_iterator, iterator, iterator_mut, iterators, IteratorId, Iteration);
    kind!(new_loop, running, running_mut, loops, LoopId, Loop);

    /// A list that the template made.
    pub(crate) fn template_list(&mut self, items: Vec<Value>) -> Value {
        Value::List(self.new_list(List { items, origin: Origin::Template }))
    }

    /// A copy of JSON. Its depth is bounded, for its reader bounds it.
    pub(crate) fn import(&mut self, json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(bool) => Value::Bool(*bool),
            Json::Number(number) => Value::Number(number.clone()),
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => {
                let items = items.iter().map(|item| self.import(item)).collect();
                Value::List(self.new_list(List { items, origin: Origin::Json }))
            }
            Json::Object(members) => {
                let map =
                    members.iter().map(|(key, value)| (key.clone(), self.import(value))).collect();
                Value::Map(self.new_map(map))
            }
        }
    }
}
