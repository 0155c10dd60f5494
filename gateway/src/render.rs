//! `tidegate render`: a mapping template rendered offline, with what it reads from files.
//!
//! In:  the files of the command line.
//! Out: exactly what the template gives, or why not, with the file, the line and the column.
//!
//! Holds always: nothing is asked of a running gateway, and the limits are those of one.

use std::{fs, io, path::PathBuf};

use clap::Args;
use tidegate_vtl::{Bindings, InvalidJson, Json, Limits, RenderError, Template};

/// A file that is not what it must be (sysexits.h, EX_USAGE), as `tidegate check` has it.
const BAD_FILE: u8 = 64;

/// The template, or the body it reads, is wrong (sysexits.h, EX_DATAERR).
const BAD_TEMPLATE: u8 = 65;

/// A file that cannot be read (sysexits.h, EX_NOINPUT).
const NO_FILE: u8 = 66;

/// What `tidegate render` reads.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The template.
    #[arg(long, value_name = "t.vtl")]
    template: PathBuf,
    /// The message that $input reads: its text as it is. Without it the payload is empty.
    #[arg(long, value_name = "message.json")]
    body: Option<PathBuf>,
    /// What $context shows: a JSON object.
    #[arg(long, value_name = "context.json")]
    context: Option<PathBuf>,
    /// What $input.params() shows: a JSON object with path, querystring and header, each an object
    /// of strings.
    #[arg(long, value_name = "params.json")]
    params: Option<PathBuf>,
    /// What $stageVariables shows: a JSON object of strings.
    #[arg(long, value_name = "variables.json")]
    stage_variables: Option<PathBuf>,
    /// Further variables by name: a JSON object.
    #[arg(long, value_name = "vars.json")]
    vars: Option<PathBuf>,
}

/// Why nothing was rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderFailure {
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{}: not JSON: {source}", file.display())]
    NotJson { file: PathBuf, source: InvalidJson },
    #[error("{}: not a JSON object", file.display())]
    NotAnObject { file: PathBuf },
    #[error("{}: {key:?} must be {expected}", file.display())]
    WrongMember { file: PathBuf, key: String, expected: &'static str },
    #[error("{}: line {line}, column {column}: {message}", file.display())]
    Template { file: PathBuf, line: u32, column: u32, message: String },
}

impl RenderFailure {
    /// The program's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } => NO_FILE,
            Self::NotJson { .. } | Self::NotAnObject { .. } | Self::WrongMember { .. } => BAD_FILE,
            Self::Template { .. } => BAD_TEMPLATE,
        }
    }
}

/// Renders the template once.
pub(crate) fn render(files: &Files) -> Result<String, RenderFailure> {
    let text = read(&files.template)?;
    let body = files.body.as_ref().map(read).transpose()?.unwrap_or_default();
    let bindings = Bindings {
        body: Some(&body),
        context: &object(files.context.as_ref())?,
        stage_variables: &object(files.stage_variables.as_ref())?,
        params: &params(files.params.as_ref())?,
        variables: &object(files.vars.as_ref())?,
    };
    let template = Template::compile(&text).map_err(|err| RenderFailure::Template {
        file: files.template.clone(),
        line: err.line,
        column: err.column,
        message: err.message,
    })?;
    match template.render(&bindings, &Limits::default()) {
        Ok(rendered) => Ok(rendered.output),
        Err(RenderError { line, column, kind }) => Err(RenderFailure::Template {
            file: files.template.clone(),
            line,
            column,
            message: kind.to_string(),
        }),
    }
}

fn read(file: &PathBuf) -> Result<String, RenderFailure> {
    fs::read_to_string(file)
        .map_err(|source| RenderFailure::Unreadable { file: file.clone(), source })
}

/// A file with a JSON object; without a file an empty one.
fn object(file: Option<&PathBuf>) -> Result<Json, RenderFailure> {
    let Some(file) = file else { return Ok(Json::default()) };
    match Json::parse(&read(file)?) {
        Ok(json @ Json::Object(_)) => Ok(json),
        Ok(_) => Err(RenderFailure::NotAnObject { file: file.clone() }),
        Err(source) => Err(RenderFailure::NotJson { file: file.clone(), source }),
    }
}

/// The parameters, checked: a mistyped key would otherwise only look like a missing parameter.
fn params(file: Option<&PathBuf>) -> Result<Json, RenderFailure> {
    let params = object(file)?;
    let (Some(file), Json::Object(places)) = (file, &params) else { return Ok(params) };
    let wrong = |key: &str, expected| {
        Err(RenderFailure::WrongMember { file: file.clone(), key: key.to_owned(), expected })
    };
    for (place, values) in places.iter() {
        if !matches!(&**place, "path" | "querystring" | "header") {
            return wrong(place, "path, querystring or header");
        }
        let Json::Object(values) = values else { return wrong(place, "an object of strings") };
        for (name, value) in values.iter() {
            if value.as_str().is_none() {
                return wrong(name, "a string");
            }
        }
    }
    Ok(params)
}
