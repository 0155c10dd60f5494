//! The commands (tidegate, section 1).

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate_model::Configuration;
use tidegate_telemetry::{LogFormat, start_logging};

use crate::{
    config::{self, Overrides, Problems, Source},
    demo,
    exit::{fail, refuse, say},
    health, render, serve,
};

/// A self-hosted real-time gateway, WebSocket first, that takes the place of Amazon API Gateway.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
pub struct Cli {
    /// How log lines on stderr look. Their level comes from TIDEGATE_LOG, by default info.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a node. SIGTERM or Ctrl-C drains it, SIGHUP reloads the file.
    Run(Configured),
    /// Runs the chat example: gateway, backend and page in this process.
    Demo {
        /// Where the gateway listens.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Where its metrics and health are.
        #[arg(long, default_value = "127.0.0.1:8081")]
        admin: SocketAddr,
        /// Where the page and the chat's backend are.
        #[arg(long, default_value = "127.0.0.1:3000")]
        page: SocketAddr,
    },
    /// Checks a file and prints what would be served.
    Check(Configured),
    /// Asks a running node whether it is ready; exit 0 when it is, else 1. For health checks.
    Health {
        /// The address of its `[admin]` port.
        #[arg(long, default_value = "127.0.0.1:8081")]
        admin: SocketAddr,
    },
    /// Prints the JSON Schema of gateway.toml, for editors.
    Schema,
    /// Renders a mapping template offline and prints exactly its output.
    Render(render::Files),
}

/// A file and what is set over it.
#[derive(Debug, Args)]
struct Configured {
    /// The configuration, see docs/configuration.md.
    #[arg(value_name = "gateway.toml")]
    file: PathBuf,
    /// Sets one key over the file's, as often as you like; the last of one key holds. KEY is a dotted
    /// TOML key, VALUE is TOML, and a string where it is none: --set listen.address=127.0.0.1:0
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Configured {
    fn source(self) -> Result<Source, Problems> {
        Ok(Source { path: self.file, overrides: Overrides::read(&self.set)? })
    }
}

impl Cli {
    /// Runs the command to its end.
    pub fn run(self) -> ExitCode {
        let format = match self.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        match self.command {
            Command::Run(configured) => {
                if let Err(err) = start_logging(format) {
                    return fail(&err);
                }
                let loaded = configured.source().and_then(|source| Ok((source.load()?, source)));
                match loaded {
                    Ok((loaded, source)) => serve::run_file(&source, &loaded),
                    Err(problems) => refuse(&problems),
                }
            }
            Command::Demo { listen, admin, page } => match start_logging(format) {
                Ok(()) => demo::run(listen, admin, page),
                Err(err) => fail(&err),
            },
            Command::Check(configured) => match configured.source() {
                Ok(source) => check(&source),
                Err(problems) => refuse(&problems),
            },
            Command::Health { admin } => match health::ask(admin) {
                Ok(said) => print(&format!("{said}\n")),
                Err(err) => fail(&err),
            },
            Command::Schema => {
                let schema = config::json_schema();
                print(&format!("{schema:#}\n"))
            }
            Command::Render(files) => match render::render(&files) {
                Ok(output) => print(&output),
                Err(err) => {
                    say(&err.to_string());
                    ExitCode::from(err.exit_code())
                }
            },
        }
    }
}

/// Checks what only the start would show otherwise, too: the TLS files.
fn check(source: &Source) -> ExitCode {
    match source.load() {
        Err(problems) => refuse(&problems),
        Ok(loaded) => match tls_problem(&loaded.configuration) {
            Some(problem) => refuse(&format!("{}: {problem}", source.path.display())),
            None => {
                for warning in &loaded.warnings {
                    say(&format!("warning: {warning}"));
                }
                print(&config::summary(&loaded.configuration))
            }
        },
    }
}

fn tls_problem(configuration: &Configuration) -> Option<tidegate_edge::TlsError> {
    configuration.listen.tls.as_ref().and_then(|files| tidegate_edge::load_tls(files).err())
}

/// Prints to stdout; a reader that has gone away is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(err) => fail(&err),
    }
}
