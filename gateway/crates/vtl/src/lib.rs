//! Mapping templates: Velocity 1.7 as API Gateway runs it.
//!
//! In:  the text of a template, once; then, for each message, [`Bindings`]: the body and what
//!      `$context`, `$stageVariables` and `$input.params` show.
//! Out: [`Rendered`], or an error that says where in the template and whose fault it is.
//!
//! Holds always: no IO, no clock, no task, no unsafe. Any text either compiles or is refused with
//! line and column. Every render ends: its steps, its depth and its output are bounded by
//! [`Limits`]. A template reaches nothing but the values given to it.
//!
//! ```
//! use tidegate_vtl::{Bindings, Limits, Template};
//!
//! let template = Template::compile(r#"{"who":$input.json('$.name')}"#)?;
//! let bindings = Bindings { body: Some(r#"{"name":"Ann"}"#), ..Bindings::default() };
//! let rendered = template.render(&bindings, &Limits::default())?;
//! assert_eq!(rendered.output, r#"{"who":"Ann"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assignment;
mod ast;
mod bindings;
mod builtins;
mod error;
mod evaluator;
mod expressions;
mod input;
mod json;
mod json_path;
mod lexer;
mod methods;
mod numbers;
mod operators;
mod ordered_map;
mod parser;
mod prepared;
mod printing;
mod references;
mod template;
mod util_functions;
mod value;

pub use bindings::{Bindings, Found, Source};
pub use error::{CompileError, Fault, RenderError, RenderErrorKind};
pub use json::{InvalidJson, Json};
pub use numbers::Number;
pub use ordered_map::OrderedMap;
pub use template::{
    ContextAfter, Limits, MAX_TEMPLATE_BYTES, Rendered, RepeatedOverride, Template,
};
