//! The problems found so far, and what the later steps must know of the earlier ones.
//!
//! In:  problems and warnings, each with its key; where keys stand in the text, and which ones the
//!      command line set.
//! Out: the same with line numbers, in the file's order, or with the `--set` that is to blame;
//!      whether a key has been reported.
//!
//! Holds always: a piece that has been reported is not reported again because of what follows
//! from it. That is what [`Report::is_lost`] and [`Report::is_touched`] are asked for.

use std::{collections::BTreeMap, fmt};

use super::{
    key_path::KeyPath,
    problem::{Problem, Problems},
};

/// See the module.
pub(super) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    /// Where each line of `text` starts.
    line_starts: Vec<usize>,
    /// Where each key that the file has, and that is known, starts: a byte of `text`.
    places: BTreeMap<KeyPath, usize>,
    /// What the command line put over the text, tables made on the way among them, and the key of
    /// the `--set` that did it. Where such a thing stands in the text means nothing.
    set: BTreeMap<KeyPath, KeyPath>,
    /// Where the items left of an array stood before others were dropped.
    survivors: BTreeMap<KeyPath, Vec<usize>>,
    problems: Vec<(KeyPath, Problem)>,
    warnings: Vec<Problem>,
    /// Keys that are absent because a misspelt one was dropped.
    misspelt: Vec<KeyPath>,
}

impl<'t> Report<'t> {
    /// An empty report about `text`, which `file` names.
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            line_starts: line_starts(text),
            places: BTreeMap::new(),
            set: BTreeMap::new(),
            survivors: BTreeMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            misspelt: Vec::new(),
        }
    }

    /// Remembers that `key` starts at byte `at` of the text.
    pub(super) fn stands_at(&mut self, key: KeyPath, at: usize) {
        self.places.insert(key, at);
    }

    /// Remembers that what stands at `key` now is from the `--set` of `by`.
    pub(super) fn is_set(&mut self, key: KeyPath, by: &KeyPath) {
        self.set.retain(|earlier, _| !earlier.is_within(&key));
        self.set.insert(key, by.clone());
    }

    /// The `--set` of `key` has no place in the file.
    pub(super) fn set_in_vain(&mut self, key: &KeyPath, message: String) {
        let problem = Problem {
            file: self.file.to_owned(),
            line: None,
            set: Some(key.to_string()),
            key: key.to_string(),
            message,
        };
        self.problems.push((key.clone(), problem));
    }

    /// Whether `key` is given, good or bad.
    pub(super) fn is_given(&self, key: &KeyPath) -> bool {
        self.places.contains_key(key)
    }

    /// Remembers which items of an array are left.
    pub(super) fn items_left(&mut self, array: KeyPath, indexes: Vec<usize>) {
        self.survivors.insert(array, indexes);
    }

    /// The path of an array's item as the file has it, by its index among the items that are left.
    pub(super) fn item(&self, array: &KeyPath, index: usize) -> KeyPath {
        let original = self.survivors.get(array).and_then(|left| left.get(index));
        array.item(original.copied().unwrap_or(index))
    }

    /// Something is wrong with `key`.
    pub(super) fn problem(&mut self, key: &KeyPath, message: impl fmt::Display) {
        let problem = self.at(key, &message);
        self.problems.push((key.clone(), problem));
    }

    /// Something about `key` is allowed, and worth a second look.
    pub(super) fn warning(&mut self, key: &KeyPath, message: impl fmt::Display) {
        let warning = self.at(key, &message);
        self.warnings.push(warning);
    }

    /// The text is not TOML; `at` is the byte where it stops being so.
    pub(super) fn syntax(&mut self, at: usize, message: impl fmt::Display) {
        let (line, column) = self.position(at);
        let problem = Problem {
            file: self.file.to_owned(),
            line: Some(line),
            set: None,
            key: String::new(),
            message: format!("column {column}: {message}"),
        };
        self.problems.push((KeyPath::root(), problem));
    }

    /// `key` is absent, and what stands there under another name has been reported.
    pub(super) fn was_misspelt(&mut self, key: KeyPath) {
        self.misspelt.push(key);
    }

    /// Whether `key` itself was reported, or it or a table around it was misspelt: what it would
    /// have said is unknown.
    pub(super) fn is_lost(&self, key: &KeyPath) -> bool {
        // A table that was reported for its name still says what stands in it.
        self.misspelt.iter().any(|misspelt| key.is_within(misspelt))
            || self.problems.iter().any(|(reported, _)| reported == key)
    }

    /// Whether `key`, or anything below it, was reported: what it says is not the whole truth.
    pub(super) fn is_touched(&self, key: &KeyPath) -> bool {
        self.misspelt.iter().chain(self.problems.iter().map(|(k, _)| k)).any(|k| k.is_within(key))
    }

    /// Whether anything is wrong so far.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The line where `key` stands, or the nearest table around it; `None` where the command line
    /// has put it.
    pub(super) fn line_of(&self, key: &KeyPath) -> Option<usize> {
        if self.set_by(key).is_some() {
            return None;
        }
        let mut key = key.clone();
        loop {
            if let Some(at) = self.places.get(&key) {
                return Some(self.position(*at).0);
            }
            key = key.parent()?;
        }
    }

    /// The warnings, or the problems where there are any.
    pub(super) fn finish(self) -> Result<Vec<String>, Problems> {
        if self.problems.is_empty() {
            let mut warnings = self.warnings;
            warnings.sort_by_key(|warning| warning.line);
            return Ok(warnings.iter().map(Problem::to_string).collect());
        }
        let mut problems: Vec<_> = self.problems.into_iter().map(|(_, problem)| problem).collect();
        problems.sort_by_key(|problem| problem.line); // stable: on one line, as found
        Err(Problems(problems))
    }

    /// Line and column of a byte, both counted from 1, columns in characters.
    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.as_bytes().get(start..at.min(self.text.len())).unwrap_or_default();
        // Each character has one byte that continues no other.
        (line, before.iter().filter(|byte| **byte & 0xC0 != 0x80).count() + 1)
    }

    /// The key of the `--set` that `key`, or the nearest thing around it, is from. What is in such
    /// a thing is never from the file.
    fn set_by(&self, key: &KeyPath) -> Option<&KeyPath> {
        let mut key = key.clone();
        loop {
            if let Some(by) = self.set.get(&key) {
                return Some(by);
            }
            key = key.parent()?;
        }
    }

    fn at(&self, key: &KeyPath, message: &dyn fmt::Display) -> Problem {
        let set = self.set_by(key).map(KeyPath::to_string);
        Problem {
            file: self.file.to_owned(),
            line: if set.is_some() { None } else { Some(self.line_of(key).unwrap_or(1)) },
            set,
            key: key.to_string(),
            message: message.to_string(),
        }
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_counted_in_lines_and_characters() {
        let text = "a\né = x";
        let report = Report::new("gateway.toml", text);
        assert_eq!(report.position(0), (1, 1));
        assert_eq!(report.position(1), (1, 2));
        assert_eq!(report.position(text.find('x').unwrap()), (2, 5));
        assert_eq!(report.position(999), (2, 6));
        assert_eq!(Report::new("gateway.toml", "").position(0), (1, 1));
    }
}
