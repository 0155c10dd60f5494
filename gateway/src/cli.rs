//! The commands (tidegate, section 1).

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};
use tidegate_model::Configuration;
use tidegate_telemetry::{LogFormat, start_logging};

use crate::{
    config, demo,
    exit::{fail, refuse, say},
    render, serve,
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
    Run {
        /// The configuration, see docs/configuration.md.
        #[arg(value_name = "gateway.toml")]
        file: PathBuf,
    },
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
    Check {
        /// The configuration, see docs/configuration.md.
        #[arg(value_name = "gateway.toml")]
        file: PathBuf,
    },
    /// Prints the JSON Schema of gateway.toml, for editors.
    Schema,
    /// Renders a mapping template offline and prints exactly its output.
    Render(render::Files),
}

impl Cli {
    /// Runs the command to its end.
    pub fn run(self) -> ExitCode {
        let format = match self.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        match self.command {
            Command::Run { file } => {
                if let Err(err) = start_logging(format) {
                    return fail(&err);
                }
                match config::load(&file) {
                    Ok(loaded) => serve::run_file(&file, &loaded),
                    Err(problems) => refuse(&problems),
                }
            }
            Command::Demo { listen, admin, page } => match start_logging(format) {
                Ok(()) => demo::run(listen, admin, page),
                Err(err) => fail(&err),
            },
            Command::Check { file } => check(&file),
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
fn check(file: &std::path::Path) -> ExitCode {
    match config::load(file) {
        Err(problems) => refuse(&problems),
        Ok(loaded) => match tls_problem(&loaded.configuration) {
            Some(problem) => refuse(&format!("{}: {problem}", file.display())),
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
