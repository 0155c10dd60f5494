//! The two steps: a text is compiled once, then rendered for each message.

use crate::{
    ast::Node,
    bindings::Bindings,
    error::{CompileError, RenderError, line_and_column},
    evaluator,
    json::Json,
    lexer::Lexer,
    parser::{Parser, Scope},
    prepared::Parts,
};

/// The longest template, in bytes (300 KB; API Gateway quotas page).
pub const MAX_TEMPLATE_BYTES: usize = 300 * 1024;

/// A compiled template. Cheap to share between threads behind an `Arc`.
#[derive(Debug)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
    parts: Parts,
}

/// What a render may use. Every bound makes it end.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Work: a node, a method's call, an element touched, or 64 bytes of text read or built are a
    /// step each. Default 1,000,000.
    pub max_steps: u64,
    /// How deep blocks, expressions and printed values may nest. Default 200.
    pub max_depth: usize,
    /// The longest text that may be built, the output included, in bytes. Default 10 MiB.
    pub max_output_bytes: usize,
    /// Iterations of one `#foreach`. Default 1,000 (API Gateway quotas page).
    pub max_iterations: usize,
    /// What becomes of a template that sets the same override twice. Default: it fails, as API
    /// Gateway documents it.
    pub repeated_overrides: RepeatedOverride,
}

/// What becomes of a template that sets one key of `$context.requestOverride.header`, `.path` or
/// `.querystring`, of `$context.responseOverride.header`, or `$context.responseOverride.status`,
/// a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RepeatedOverride {
    /// The render fails.
    #[default]
    Refused,
    /// The second value replaces the first.
    Replaces,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_steps: 1_000_000,
            max_depth: 200,
            max_output_bytes: 10 * 1024 * 1024,
            max_iterations: 1000,
            repeated_overrides: RepeatedOverride::default(),
        }
    }
}

/// What a render gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The text.
    pub output: String,
    /// `$context` afterwards.
    pub context: ContextAfter,
}

/// What a render made of `$context`.
#[derive(Debug, Clone, PartialEq)]
pub enum ContextAfter {
    /// Nothing: it is what it was.
    Unchanged,
    /// An object, as the template left it: what it wrote under `requestOverride` and
    /// `responseOverride` is there.
    Object(Json),
    /// The template put another value, or one that JSON cannot hold, in its place.
    Lost,
}

impl Template {
    /// Compiles a text.
    ///
    /// # Errors
    /// The text is longer than [`MAX_TEMPLATE_BYTES`], nests deeper than 100, or Velocity 1.7 would
    /// not parse it.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            let message = format!("a template has at most {MAX_TEMPLATE_BYTES} bytes");
            return Err(CompileError { line: 1, column: 1, message });
        }
        let mut parts = Parts::default();
        let parser = Parser::new(Lexer::new(text), Scope::Template, 0, &mut parts);
        match parser.parse() {
            Ok(nodes) => Ok(Self { text: text.to_owned(), nodes, parts }),
            Err(wrong) => {
                let (line, column) = line_and_column(text, wrong.place);
                Err(CompileError { line, column, message: wrong.message })
            }
        }
    }

    /// Renders it once.
    ///
    /// # Errors
    /// A method was called as Java would not let it, the body is not JSON where it must be, or a
    /// limit was reached.
    pub fn render(
        &self,
        bindings: &Bindings<'_>,
        limits: &Limits,
    ) -> Result<Rendered, RenderError> {
        evaluator::render(&self.nodes, &self.parts, bindings, limits).map_err(|(place, kind)| {
            let (line, column) = line_and_column(&self.text, place);
            RenderError { line, column, kind }
        })
    }

    /// The text that was compiled.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}
