//! Headers and query parameters as the two maps in which events show them.
//!
//! In:  names and values, as they came.
//! Out: a map from each name to its last value, and one to all its values.

use std::cmp::Ordering;

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

/// Names and values with the values of one name brought together, in the order of first sight.
pub(crate) struct Grouped<'a> {
    fields: &'a [(String, String)],
    /// Indices into `fields`: names side by side, a name's values in their own order.
    order: Vec<usize>,
    /// Ranges of `order`, one for each name.
    groups: Vec<std::ops::Range<usize>>,
}

impl<'a> Grouped<'a> {
    /// Sorts rather than compares each with each: a query may hold two thousand names.
    pub(crate) fn new(fields: &'a [(String, String)], compare: fn(&str, &str) -> Ordering) -> Self {
        let by_name = |a: &usize, b: &usize| compare(&fields[*a].0, &fields[*b].0);
        let mut order: Vec<usize> = (0..fields.len()).collect();
        order.sort_by(by_name); // stable: a name's values stay in their order
        let mut groups: Vec<_> = order
            .chunk_by(|a, b| by_name(a, b).is_eq())
            .scan(0, |start, group| {
                let from = *start;
                *start += group.len();
                Some(from..*start)
            })
            .collect();
        groups.sort_by_key(|group| order[group.start]);
        Self { fields, order, groups }
    }

    /// Each name in the casing that came first, with the indices of its values.
    fn names(&self) -> impl Iterator<Item = (&'a str, &[usize])> {
        self.groups.iter().map(|group| {
            let indices = &self.order[group.clone()];
            (self.fields[indices[0]].0.as_str(), indices)
        })
    }
}

pub(crate) fn ignoring_case(a: &str, b: &str) -> Ordering {
    let lower = |b: u8| b.to_ascii_lowercase();
    a.bytes().map(lower).cmp(b.bytes().map(lower))
}

/// A map from name to the last value.
pub(crate) struct Last<'a, T>(pub(crate) &'a T);

/// A map from name to the list of all values.
pub(crate) struct All<'a, T>(pub(crate) &'a T);

impl Serialize for Last<'_, Grouped<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.names().map(|(name, indices)| {
            let last = indices[indices.len() - 1];
            (name, self.0.fields[last].1.as_str())
        }))
    }
}

impl Serialize for All<'_, Grouped<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.fields;
        let mut map = serializer.serialize_map(Some(self.0.groups.len()))?;
        for (name, indices) in self.0.names() {
            map.serialize_entry(name, &Values { fields, indices })?;
        }
        map.end()
    }
}

/// The values of one name.
struct Values<'a> {
    fields: &'a [(String, String)],
    indices: &'a [usize],
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.indices.len()))?;
        for index in self.indices {
            list.serialize_element(&self.fields[*index].1)?;
        }
        list.end()
    }
}
