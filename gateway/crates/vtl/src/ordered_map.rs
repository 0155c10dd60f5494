//! Names with values, in the order in which the names came.
//!
//! Holds always: no name is there twice; a name keeps its place when it gets another value. Few
//! names, as nearly every object of JSON has, are compared one by one and take one allocation; from
//! [`INDEXED`] on there is an index, so that many take no longer each.

use std::{collections::HashMap, sync::Arc};

/// From how many names on there is an index.
const INDEXED: usize = 17;

/// A map from names to values that keeps the order of its names.
#[derive(Debug, Clone)]
pub struct OrderedMap<V> {
    entries: Vec<(Arc<str>, V)>,
    /// Each name's place in `entries`, if there are [`INDEXED`] or more.
    #[expect(clippy::box_collection, reason = "nearly every map is without, and there are many")]
    index: Option<Box<HashMap<Arc<str>, usize>>>,
}

impl<V> OrderedMap<V> {
    /// Without a name.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), index: None }
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn place(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.entries.iter().position(|(held, _)| **held == *name),
        }
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&V> {
        self.place(name).map(|at| &self.entries[at].1)
    }

    /// The value of a name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.place(name).map(|at| &mut self.entries[at].1)
    }

    /// Whether the name is there.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Gives a name a value, and the caller the one it had. A new name comes last.
    pub fn insert(&mut self, name: Arc<str>, value: V) -> Option<V> {
        if let Some(at) = self.place(&name) {
            return Some(std::mem::replace(&mut self.entries[at].1, value));
        }
        let at = self.entries.len();
        if let Some(index) = &mut self.index {
            index.insert(name.clone(), at);
        }
        self.entries.push((name, value));
        if self.index.is_none() && self.entries.len() >= INDEXED {
            let places = self.entries.iter().enumerate().map(|(at, (name, _))| (name.clone(), at));
            self.index = Some(Box::new(places.collect()));
        }
        None
    }

    /// Takes a name out; those after it move up.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        let at = self.place(name)?;
        if let Some(index) = &mut self.index {
            index.remove(name);
            index.values_mut().filter(|place| **place > at).for_each(|place| *place -= 1);
        }
        Some(self.entries.remove(at).1)
    }

    /// Takes all names out.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.index = None;
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &V)> {
        self.entries.iter().map(|(name, value)| (name, value))
    }

    /// Values, in the order of their names.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }
}

impl<V> Default for OrderedMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

/// The order is no difference.
impl<V: PartialEq> PartialEq for OrderedMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

/// Of a name that comes twice the last value counts.
impl<N: Into<Arc<str>>, V> FromIterator<(N, V)> for OrderedMap<V> {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let mut map = Self { entries: Vec::with_capacity(entries.size_hint().0), index: None };
        entries.for_each(|(name, value)| {
            map.insert(name.into(), value);
        });
        map
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A list of pairs that is searched from its start says what is right.
        #[test]
        fn it_is_a_list_of_pairs_whatever_its_size(
            steps in prop::collection::vec(("[a-f]{1,2}", any::<bool>(), any::<u8>()), 0..200),
        ) {
            let mut map = OrderedMap::new();
            let mut pairs: Vec<(String, u8)> = Vec::new();
            for (name, is_put, value) in steps {
                let at = pairs.iter().position(|(held, _)| *held == name);
                let before = at.map(|at| pairs[at].1);
                if is_put || value > 60 {
                    prop_assert_eq!(map.insert(Arc::from(&*name), value), before);
                    match at {
                        Some(at) => pairs[at].1 = value,
                        None => pairs.push((name.clone(), value)),
                    }
                } else {
                    prop_assert_eq!(map.remove(&name), before);
                    pairs.retain(|(held, _)| *held != name);
                }
                prop_assert_eq!(map.get(&name).copied(), pairs.iter().find(|p| p.0 == name).map(|p| p.1));
                let held: Vec<_> = map.iter().map(|(name, value)| (name.to_string(), *value)).collect();
                prop_assert_eq!(&held, &pairs);
            }
            let reversed: OrderedMap<u8> =
                pairs.iter().rev().map(|(name, value)| (name.as_str(), *value)).collect();
            prop_assert_eq!(reversed, map);
        }
    }
}
