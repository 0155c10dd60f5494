//! Things of the file that other places name: integrations, functions, keys.
//!
//! In:  the names that there are, and one that is asked for.
//! Out: where it stands among them, or a problem that says which was meant.

use super::{key_path::KeyPath, report::Report, suggestion::nearest};

/// The names of one table.
pub(super) struct Names<'a> {
    /// What one is called in a message: `integration`.
    what: &'static str,
    /// Who has none, in a message: `the api`.
    owner: &'static str,
    table: KeyPath,
    known: Vec<&'a str>,
}

impl<'a> Names<'a> {
    /// The keys of `table`, in their order; `what` and `owner` stand in messages.
    pub(super) fn new(
        what: &'static str,
        owner: &'static str,
        table: KeyPath,
        known: impl Iterator<Item = &'a String>,
    ) -> Self {
        Self { what, owner, table, known: known.map(String::as_str).collect() }
    }

    /// Where `name`, which stands at `at`, is among them. Silent where the table or the name was
    /// reported before.
    pub(super) fn find(&self, name: &str, at: &KeyPath, report: &mut Report<'_>) -> Option<usize> {
        let index = self.known.iter().position(|known| *known == name);
        let lost = report.is_lost(&self.table) || report.is_lost(&self.table.key(name));
        if index.is_none() && !lost {
            let hint = match nearest(name, self.known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if self.known.is_empty() => format!("{} has none", self.owner),
                None => format!("known here: {}", self.known.join(", ")),
            };
            report.problem(at, format_args!("there is no {} {name:?}, {hint}", self.what));
        }
        index
    }
}
