//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    frame::MAX_PAYLOAD_BYTES,
    message::MIN_PAYLOAD_BYTES,
    scenario::{Job, Scenario},
};

/// Measures the release gateway, and beside it a hand-written epoll server, on loopback.
#[derive(Debug, Parser)]
#[command(name = "load-tests")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Memory of connections that do nothing
    Idle(OneScenario),
    /// Connect, upgrade, close
    Handshake(OneScenario),
    /// A message and its echo, one at a time per connection
    Echo(OneScenario),
    /// Many messages under way per connection
    Pipelined(OneScenario),
    /// HTTP posts to @connections
    Post(OneScenario),
    /// A message to an HTTP backend, and its answer back
    Route(OneScenario),
    /// Posts to a group that every connection is a member of
    Group(OneScenario),
    /// A message to a local function of one worker, and its answer back
    Function(OneScenario),
    /// All of them, one after another, at the sizes the targets were set for
    All(Common),
    /// The baseline itself, which this program starts
    #[command(hide = true)]
    RawServer {
        #[arg(long)]
        backend: SocketAddr,
    },
    /// The worker of the local function, which the gateway starts
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        core: Option<usize>,
    },
}

/// One scenario, perhaps at other sizes.
#[derive(Debug, Args)]
pub(crate) struct OneScenario {
    /// Connections, upgrades under way at once, or members; several counts run one after another
    #[arg(long, value_delimiter = ',', value_parser = connections)]
    connections: Vec<usize>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What holds for every scenario.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Length of each measured part
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Bytes of each message
    #[arg(long, default_value_t = 64, value_parser = payload)]
    payload: usize,
    /// Messages under way per connection (pipelined)
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    depth: u16,
    /// Connections that post (post)
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    posters: u16,
    /// Which servers to measure
    #[arg(long, value_enum, default_value_t = Servers::Both)]
    pub(crate) servers: Servers,
    /// The gateway's binary [default: beside this program, or target/release/tidegate]
    #[arg(long)]
    pub(crate) gateway: Option<PathBuf>,
    /// Write the figures to this file as well
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Which servers to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Servers {
    /// The raw baseline, then the gateway
    Both,
    /// Only the gateway
    Gateway,
    /// Only the baseline, which has no functions; needs no gateway
    Raw,
}

/// Checked sizes of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Length of each message.
    pub(crate) payload_bytes: usize,
    /// Messages under way per connection, at most 256.
    pub(crate) depth: usize,
    /// Connections that post, at most 256.
    pub(crate) posters: usize,
    /// Length of the measured part.
    pub(crate) length: Duration,
}

impl Common {
    fn sizes(&self) -> Sizes {
        Sizes {
            payload_bytes: self.payload,
            depth: self.depth.into(),
            posters: self.posters.into(),
            length: Duration::from_secs(self.seconds),
        }
    }
}

impl OneScenario {
    /// A job for each count of connections.
    pub(crate) fn jobs(&self, scenario: Scenario) -> Vec<Job> {
        let given = Some(&self.connections[..]).filter(|given| !given.is_empty());
        let counts = given.unwrap_or(scenario.default_connections());
        let sizes = self.common.sizes();
        counts.iter().map(|&connections| Job { scenario, connections, sizes }).collect()
    }
}

impl Common {
    /// The jobs of `all`.
    pub(crate) fn all_jobs(&self) -> Vec<Job> {
        let sizes = self.sizes();
        let counts = |scenario: Scenario| scenario.default_connections().iter();
        let job = |scenario, &connections| Job { scenario, connections, sizes };
        let jobs = Scenario::ALL.into_iter();
        jobs.flat_map(|scenario| counts(scenario).map(move |count| job(scenario, count))).collect()
    }
}

fn connections(text: &str) -> Result<usize, String> {
    in_range(text, 1, 1_000_000)
}

fn payload(text: &str) -> Result<usize, String> {
    in_range(text, MIN_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES)
}

fn in_range(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn counts_of_connections_become_jobs() {
        let arguments = ["load-tests", "echo", "--connections", "10,20", "--payload", "128"];
        let Command::Echo(echo) = Arguments::parse_from(arguments).command else {
            panic!("echo was asked for")
        };
        let jobs = echo.jobs(Scenario::Echo);
        assert_eq!(jobs.iter().map(|job| job.connections).collect::<Vec<_>>(), [10, 20]);
        assert!(jobs.iter().all(|job| job.sizes.payload_bytes == 128));
    }

    #[test]
    fn a_payload_too_small_for_the_tag_is_refused() {
        let arguments = ["load-tests", "echo", "--payload", "54"];
        let error = Arguments::try_parse_from(arguments).expect_err("54 bytes hold no tag");
        assert!(error.to_string().contains("55"), "{error}");
    }
}
