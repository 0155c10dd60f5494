//! A compiled template as data.
//!
//! Holds always: a tree no deeper than [`MAX_NESTING`], so walking and dropping it is safe. A
//! `Place` is the byte offset in the template's text of what a failure should point at.

use std::sync::Arc;

use crate::numbers::Number;

/// How deep blocks, parentheses, lists, arguments and strings may nest in a template.
pub(crate) const MAX_NESTING: usize = 100;

/// Byte offset in the template's text.
pub(crate) type Place = u32;

/// One piece of a template.
#[derive(Debug)]
pub(crate) enum Node {
    Text(String),
    Reference(Reference),
    Set {
        target: Reference,
        value: Expression,
    },
    If {
        branches: Vec<(Expression, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    Foreach {
        place: Place,
        variable: String,
        items: Expression,
        body: Vec<Node>,
    },
    /// `#define`: `block` is an index in the template's blocks.
    Define {
        name: String,
        block: usize,
    },
    Break,
    Stop,
    /// `#include` and `#parse`, which always fail.
    Resource {
        place: Place,
        directive: &'static str,
    },
}

/// `$name` and what follows it.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// One step from a value to the next.
#[derive(Debug)]
pub(crate) enum Step {
    Property(String),
    Method(String, Vec<Expression>),
    Index(Expression),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// What has a value.
#[derive(Debug)]
pub(crate) enum Expression {
    Reference(Reference),
    /// The word `null`, which only a method's argument may be.
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
    /// A string in double quotes with references or directives in it.
    Interpolated(Vec<Node>),
    List(Vec<Expression>),
    Range(Box<Expression>, Box<Expression>),
    Map(Vec<(Expression, Expression)>),
    Not(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
}
