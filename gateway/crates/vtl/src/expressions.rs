//! From text to expressions: references with their steps, literals, operators.
//!
//! Holds always: arguments, indexes and elements are single values as in Velocity 1.7; arithmetic
//! needs a `#set` of its own.

use crate::{
    ast::{Expression, Operator, Reference, Step},
    lexer::{Wrong, is_name_start},
    parser::Parser,
};

/// Operators by how tightly they bind, loosest first; a level's words and signs in the order in
/// which they must be tried.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or), ("or", Operator::Or)],
    &[("&&", Operator::And), ("and", Operator::And)],
    &[
        ("==", Operator::Equal),
        ("eq", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("ne", Operator::NotEqual),
    ],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("le", Operator::LessOrEqual),
        ("ge", Operator::GreaterOrEqual),
        ("lt", Operator::Less),
        ("gt", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

/// The most operators in one expression, each of which may nest the tree one deeper.
const MAX_OPERATORS: usize = 100;

impl Parser<'_> {
    /// The reference at the `$` that is next; `None` and nothing taken if that is only a sign.
    pub(crate) fn reference(&mut self) -> Result<Option<Reference>, Wrong> {
        if self.lexer.peek() != Some('$') || !self.is_at_reference() {
            return Ok(None);
        }
        let opening = self.lexer.wrong("a reference without its `}`");
        self.lexer.next();
        self.lexer.takes("!");
        let is_formal = self.lexer.takes("{");
        let Some(name) = self.lexer.name() else { return Ok(None) };
        let steps = self.deeper(Self::steps)?;
        if is_formal && !self.lexer.takes("}") {
            return Err(if self.lexer.is_at_end() {
                opening
            } else {
                self.lexer.wrong("only `}` can follow here in `${...}`")
            });
        }
        Ok(Some(Reference { place: opening.place, name, steps }))
    }

    fn steps(&mut self) -> Result<Vec<Step>, Wrong> {
        let mut steps = Vec::new();
        loop {
            match self.lexer.peek() {
                Some('.') if self.lexer.peek_at(1).is_some_and(is_name_start) => {
                    self.lexer.next();
                    let Some(name) = self.lexer.name() else { return Ok(steps) };
                    let step = if self.lexer.takes("(") {
                        let arguments = self.arguments()?;
                        self.parts.prepare(&name, &arguments);
                        Step::Method(name, arguments)
                    } else {
                        Step::Property(name)
                    };
                    steps.push(step);
                }
                Some('[') => {
                    self.lexer.next();
                    let index = self.parameter()?;
                    self.lexer.skip_whitespace();
                    self.expect("]", "after an index")?;
                    steps.push(Step::Index(index));
                }
                _ => return Ok(steps),
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, Wrong> {
        let mut arguments = Vec::new();
        self.lexer.skip_whitespace();
        if self.lexer.takes(")") {
            return Ok(arguments);
        }
        loop {
            self.lexer.skip_whitespace();
            let argument =
                if self.lexer.takes_word("null") { Expression::Null } else { self.parameter()? };
            arguments.push(argument);
            self.lexer.skip_whitespace();
            if self.lexer.takes(")") {
                return Ok(arguments);
            }
            self.expect(",", "or `)` after an argument; an argument is a single value")?;
        }
    }

    /// A single value.
    pub(crate) fn parameter(&mut self) -> Result<Expression, Wrong> {
        self.lexer.skip_whitespace();
        match self.lexer.peek() {
            Some('"' | '\'') => self.string(),
            Some('[') => self.deeper(Self::list_or_range),
            Some('{') => self.deeper(Self::map),
            Some('$') => {
                let wrong = self.lexer.wrong("no name after `$`");
                self.reference()?.map(Expression::Reference).ok_or(wrong)
            }
            Some(_) if self.lexer.is_at_number() => self.lexer.number().map(Expression::Number),
            _ if self.lexer.takes_word("true") => Ok(Expression::Bool(true)),
            _ if self.lexer.takes_word("false") => Ok(Expression::Bool(false)),
            _ => Err(self.lexer.wrong(
                "no value: a reference, a string, a number, a list, a map, true or false goes here",
            )),
        }
    }

    fn list_or_range(&mut self) -> Result<Expression, Wrong> {
        self.lexer.next();
        self.lexer.skip_whitespace();
        if self.lexer.takes("]") {
            return Ok(Expression::List(Vec::new()));
        }
        let first = self.parameter()?;
        self.lexer.skip_whitespace();
        if self.lexer.takes("..") {
            let last = self.parameter()?;
            self.lexer.skip_whitespace();
            self.expect("]", "after a range")?;
            return Ok(Expression::Range(Box::new(first), Box::new(last)));
        }
        let mut items = vec![first];
        loop {
            self.lexer.skip_whitespace();
            if self.lexer.takes("]") {
                return Ok(Expression::List(items));
            }
            self.expect(",", "or `]` after an element of a list")?;
            items.push(self.parameter()?);
        }
    }

    fn map(&mut self) -> Result<Expression, Wrong> {
        self.lexer.next();
        let mut entries = Vec::new();
        self.lexer.skip_whitespace();
        if self.lexer.takes("}") {
            return Ok(Expression::Map(entries));
        }
        loop {
            let key = self.parameter()?;
            self.lexer.skip_whitespace();
            self.expect(":", "after a key of a map")?;
            entries.push((key, self.parameter()?));
            self.lexer.skip_whitespace();
            if self.lexer.takes("}") {
                return Ok(Expression::Map(entries));
            }
            self.expect(",", "or `}` after a value of a map")?;
        }
    }

    /// The expression of a directive.
    pub(crate) fn whole_expression(&mut self) -> Result<Expression, Wrong> {
        self.operators = 0;
        self.expression()
    }

    fn expression(&mut self) -> Result<Expression, Wrong> {
        self.deeper(|this| this.level(0))
    }

    fn level(&mut self, level: usize) -> Result<Expression, Wrong> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            self.operators += 1;
            if self.operators > MAX_OPERATORS {
                let message = format!("an expression has at most {MAX_OPERATORS} operators");
                return Err(self.lexer.wrong(message));
            }
            let right = self.level(level + 1)?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        self.lexer.skip_whitespace();
        // A minus glued to digits is their sign, so there is no operator here.
        if self.lexer.peek() == Some('-') && self.lexer.is_at_number() {
            return None;
        }
        operators.iter().find_map(|(sign, operator)| {
            let is_word = sign.starts_with(is_name_start);
            let is_next =
                if is_word { self.lexer.takes_word(sign) } else { self.lexer.takes(sign) };
            is_next.then_some(*operator)
        })
    }

    fn unary(&mut self) -> Result<Expression, Wrong> {
        self.lexer.skip_whitespace();
        if self.lexer.takes("!") || self.lexer.takes_word("not") {
            return self.deeper(Self::unary).map(|inner| Expression::Not(Box::new(inner)));
        }
        if self.lexer.takes("(") {
            let inner = self.expression()?;
            self.lexer.skip_whitespace();
            self.expect(")", "after an expression in parentheses")?;
            return Ok(inner);
        }
        self.parameter()
    }
}
