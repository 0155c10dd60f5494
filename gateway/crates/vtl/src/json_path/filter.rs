//! Filters of JSONPath: `?(@.x == 1 && @.y)`.
//!
//! In:  the text after `?`; then a value at a time.
//! Out: whether the value is taken.

use std::cmp::Ordering;

use super::{JsonPath, MAX_NESTING, Reader, Spend, compare};
use crate::{evaluator::Interrupt, json::Json};

/// A condition on a value.
#[derive(Debug)]
pub(super) enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    /// There is a value at the path.
    Exists(Operand),
    Compare(Operand, Sign, Operand),
}

#[derive(Debug)]
pub(super) enum Operand {
    Literal(Json),
    /// From the value that is tested, `@`.
    Here(JsonPath),
    /// From the body's top, `$`.
    Root(JsonPath),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Sign {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const SIGNS: [(&str, Sign); 6] = [
    ("==", Sign::Equal),
    ("!=", Sign::NotEqual),
    ("<=", Sign::LessOrEqual),
    (">=", Sign::GreaterOrEqual),
    ("<", Sign::Less),
    (">", Sign::Greater),
];

impl Filter {
    pub(super) fn holds(
        &self,
        root: &Json,
        json: &Json,
        spend: Spend<'_>,
    ) -> Result<bool, Interrupt> {
        spend(1)?;
        match self {
            Self::Any(filters) => {
                for filter in filters {
                    if filter.holds(root, json, spend)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::All(filters) => {
                for filter in filters {
                    if !filter.holds(root, json, spend)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Not(filter) => Ok(!filter.holds(root, json, spend)?),
            Self::Exists(operand) => Ok(operand.value(root, json, spend)?.is_some()),
            Self::Compare(left, sign, right) => {
                let left = left.value(root, json, spend)?;
                let right = right.value(root, json, spend)?;
                let weight = left.as_ref().map_or(0, Json::weight);
                spend(weight)?;
                Ok(sign.holds(left.as_ref(), right.as_ref()))
            }
        }
    }
}

impl Operand {
    fn value(&self, root: &Json, json: &Json, spend: Spend<'_>) -> Result<Option<Json>, Interrupt> {
        let (path, from) = match self {
            Self::Literal(literal) => return Ok(Some(literal.clone())),
            Self::Here(path) => (path, json),
            Self::Root(path) => (path, root),
        };
        let found = path.find_from(root, from, spend)?;
        let Some(first) = found.first() else { return Ok(None) };
        spend(first.weight())?;
        Ok(path.finish(first))
    }
}

impl Sign {
    fn holds(self, left: Option<&Json>, right: Option<&Json>) -> bool {
        let is_equal = match (left, right) {
            (Some(a), Some(b)) => compare(a, b).map_or(a == b, Ordering::is_eq),
            (None, None) => true,
            _ => false,
        };
        let order = left.zip(right).and_then(|(a, b)| compare(a, b));
        match self {
            Self::Equal => is_equal,
            Self::NotEqual => !is_equal,
            Self::Less => order.is_some_and(Ordering::is_lt),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order.is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl Reader<'_> {
    /// A filter, after its `?`.
    pub(super) fn filter(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(format!("filters nest at most {MAX_NESTING} deep"));
        }
        let mut any = vec![self.all()?];
        self.skip_space();
        while self.takes("||") {
            any.push(self.all()?);
            self.skip_space();
        }
        self.depth -= 1;
        Ok(Filter::Any(any))
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut all = vec![self.condition()?];
        self.skip_space();
        while self.takes("&&") {
            all.push(self.condition()?);
            self.skip_space();
        }
        Ok(Filter::All(all))
    }

    fn condition(&mut self) -> Result<Filter, String> {
        let mut is_negated = false;
        self.skip_space();
        while self.takes("!") {
            is_negated = !is_negated;
            self.skip_space();
        }
        let condition = if self.takes("(") {
            let inner = self.filter()?;
            if !self.takes(")") {
                return Err(self.wrong());
            }
            inner
        } else {
            let left = self.operand()?;
            self.skip_space();
            match SIGNS.iter().find(|(text, _)| self.takes(text)) {
                Some((_, sign)) => {
                    self.skip_space();
                    Filter::Compare(left, *sign, self.operand()?)
                }
                None => Filter::Exists(left),
            }
        };
        Ok(if is_negated { Filter::Not(Box::new(condition)) } else { condition })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        if self.takes("@") {
            return self.path().map(Operand::Here);
        }
        if self.takes("$") {
            return self.path().map(Operand::Root);
        }
        if self.rest().starts_with(['\'', '"']) {
            return self.quoted().map(|text| Operand::Literal(Json::String(text.into())));
        }
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let literal = Json::parse(&rest[..end]).map_err(|_| self.wrong())?;
        self.at += end;
        Ok(Operand::Literal(literal))
    }
}
