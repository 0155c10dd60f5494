//! What can be wrong with a template, at compile and at render.
//!
//! Holds always: an error carries the line and the column, both from 1, counted in characters, of
//! the place in the template that it is about.

use std::borrow::Cow;

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct CompileError {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// What is wrong and what would be right: lowercase, no full stop.
    pub message: String,
}

/// Why a render gave no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct RenderError {
    /// Line of the reference or directive that failed, from 1.
    pub line: u32,
    /// Its column, from 1, in characters.
    pub column: u32,
    /// What happened.
    pub kind: RenderErrorKind,
}

/// What happened in a render that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderErrorKind {
    /// The body starts as JSON and is none, and the template reads it as JSON.
    #[error("the body is not JSON: {0}")]
    InvalidBody(String),
    /// A method was called with what it cannot take, as where Java throws.
    #[error("{0}")]
    Method(String),
    /// A path of `$input.json` or `$input.path` is no JSONPath.
    #[error("{0}")]
    Path(String),
    /// `#include` or `#parse`: there is no other template to find.
    #[error("#{0} finds no resource: a template stands alone")]
    Resource(&'static str),
    /// `$context.requestOverride` or `$context.responseOverride` was given the same key twice,
    /// which [`RepeatedOverride`](crate::RepeatedOverride) forbids.
    #[error("an override is set a second time: build the value in a variable and set it once")]
    OverrideTwice,
    /// A loop ran longer than [`Limits::max_iterations`](crate::Limits::max_iterations).
    #[error("a loop of more than {0} iterations")]
    LoopTooLong(usize),
    /// More work than [`Limits::max_steps`](crate::Limits::max_steps).
    #[error("more than {0} steps")]
    TooManySteps(u64),
    /// Blocks, strings or values nest deeper than [`Limits::max_depth`](crate::Limits::max_depth).
    #[error("nested more than {0} deep")]
    TooDeep(usize),
    /// A text longer than [`Limits::max_output_bytes`](crate::Limits::max_output_bytes).
    #[error("an output of more than {0} bytes")]
    OutputTooLong(usize),
}

impl RenderErrorKind {
    /// What happened, without any text that the render read or put together: fit for a log.
    #[must_use]
    pub fn without_values(&self) -> Cow<'static, str> {
        match self {
            Self::Method(_) => Cow::Borrowed("a method was called with what it cannot take"),
            Self::Path(_) => Cow::Borrowed("a path is no JSONPath"),
            Self::InvalidBody(_)
            | Self::Resource(_)
            | Self::OverrideTwice
            | Self::LoopTooLong(_)
            | Self::TooManySteps(_)
            | Self::TooDeep(_)
            | Self::OutputTooLong(_) => Cow::Owned(self.to_string()),
        }
    }
}

/// Whose fault a failed render is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client sent a body that is not JSON: 400.
    Client,
    /// The template is wrong: 500, and its author reads why in the log.
    ApiOwner,
}

impl RenderError {
    /// Whose fault it is. The only place that decides it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.kind {
            RenderErrorKind::InvalidBody(_) => Fault::Client,
            RenderErrorKind::Method(_)
            | RenderErrorKind::Path(_)
            | RenderErrorKind::Resource(_)
            | RenderErrorKind::OverrideTwice
            | RenderErrorKind::LoopTooLong(_)
            | RenderErrorKind::TooManySteps(_)
            | RenderErrorKind::TooDeep(_)
            | RenderErrorKind::OutputTooLong(_) => Fault::ApiOwner,
        }
    }
}

/// Line and column, both from 1, of a byte offset in a text.
pub(crate) fn line_and_column(text: &str, offset: u32) -> (u32, u32) {
    let before = text.get(..offset as usize).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    // A template has at most 300 KB, so both fit.
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
