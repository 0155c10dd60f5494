//! The two steps: a text is compiled once, then rendered for each message.

use crate::{
    ast::Node,
    error::{CompileError, RenderError, line_and_column},
    evaluator,
    json::Json,
    lexer::Lexer,
    parser::{Parser, Scope},
};

/// The longest template, in bytes (300 KB; API Gateway quotas page).
pub const MAX_TEMPLATE_BYTES: usize = 300 * 1024;

/// A compiled template. Cheap to share between threads behind an `Arc`.
#[derive(Debug)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
    blocks: Vec<Vec<Node>>,
}

/// What a render reads. Everything absent by default.
#[derive(Debug, Clone, Default)]
pub struct Bindings<'a> {
    /// The payload as text, base64 where it is binary; empty if there is none.
    pub body: &'a str,
    /// What `$context` shows, an object. A template may write to it, see [`Rendered::context`].
    pub context: Json,
    /// What `$stageVariables` shows, an object of strings.
    pub stage_variables: Json,
    /// What `$input.params` shows: an object with `path`, `querystring` and `header`, each an
    /// object of strings.
    pub params: Json,
    /// Further variables by name, an object. The service has none; tests and `tidegate render` do.
    pub variables: Json,
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_steps: 1_000_000,
            max_depth: 200,
            max_output_bytes: 10 * 1024 * 1024,
            max_iterations: 1000,
        }
    }
}

/// What a render gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The text.
    pub output: String,
    /// `$context` as the template left it: what it wrote under `requestOverride` and
    /// `responseOverride` is there. `None` if the template put another value or a value that JSON
    /// cannot hold in its place.
    pub context: Option<Json>,
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
        let mut blocks = Vec::new();
        let parser = Parser::new(Lexer::new(text), Scope::Template, 0, &mut blocks);
        match parser.parse() {
            Ok(nodes) => Ok(Self { text: text.to_owned(), nodes, blocks }),
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
        evaluator::render(&self.nodes, &self.blocks, bindings, limits).map_err(|(place, kind)| {
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
