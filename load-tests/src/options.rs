//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    frame::MAX_PAYLOAD_BYTES,
    message::MIN_PAYLOAD_BYTES,
    redis_away::Way,
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
    /// HTTP posts to connections of another node, beside posts to the node's own
    RemotePost(OneScenario),
    /// Posts to a group whose members are on two nodes
    RemoteGroup(OneScenario),
    /// Two nodes posted to and sent to, one of them killed, and everybody back at the other
    ClusterSoak(SoakArguments),
    /// Two nodes while their Redis is away
    RedisAway(AwayArguments),
    /// All but the last two, one after another, at the sizes the targets were set for
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

/// A soak, perhaps the long one.
#[derive(Debug, Args)]
pub(crate) struct SoakArguments {
    #[command(flatten)]
    pub(crate) one: OneScenario,
    /// Posts in all
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    posts: u64,
    /// `[store] node_lease_s` of the nodes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(2..=300))]
    lease: u64,
    /// Seconds within which the clients come back
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    storm: u64,
}

/// An outage, or one of each kind.
#[derive(Debug, Args)]
pub(crate) struct AwayArguments {
    #[command(flatten)]
    pub(crate) one: OneScenario,
    /// Seconds for which the Redis is away, at least as many as it takes to notice
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(4..=3600))]
    away: u64,
    /// How it goes away
    #[arg(long, value_enum, default_value_t = Ways::Both)]
    way: Ways,
}

/// How the Redis goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ways {
    /// Killed, then frozen
    Both,
    /// SIGKILL; it comes back empty
    Killed,
    /// SIGSTOP; it comes back as it was
    Frozen,
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
    /// Connections that post (post, remote-post, cluster-soak)
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
    /// Posts in all of a soak.
    pub(crate) posts: u64,
    /// The nodes' lease in a soak.
    pub(crate) lease: Duration,
    /// Within which the clients of a soak come back.
    pub(crate) storm: Duration,
    /// For how long the Redis is away, and how.
    pub(crate) away: Duration,
    pub(crate) way: Way,
}

impl Common {
    fn sizes(&self) -> Sizes {
        Sizes {
            payload_bytes: self.payload,
            depth: self.depth.into(),
            posters: self.posters.into(),
            length: Duration::from_secs(self.seconds),
            posts: 0,
            lease: Duration::ZERO,
            storm: Duration::ZERO,
            away: Duration::ZERO,
            way: Way::Killed,
        }
    }
}

impl SoakArguments {
    /// A job for each count of connections of a node.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        let mut jobs = self.one.jobs(Scenario::ClusterSoak);
        for job in &mut jobs {
            job.sizes.posts = self.posts;
            job.sizes.lease = Duration::from_secs(self.lease);
            job.sizes.storm = Duration::from_secs(self.storm);
        }
        jobs
    }
}

impl AwayArguments {
    /// A job for each count of connections of a node and each way.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        let ways: &[Way] = match self.way {
            Ways::Both => &[Way::Killed, Way::Frozen],
            Ways::Killed => &[Way::Killed],
            Ways::Frozen => &[Way::Frozen],
        };
        let away = Duration::from_secs(self.away);
        let jobs = self.one.jobs(Scenario::RedisAway).into_iter();
        let each = |job: Job| ways.iter().map(move |way| (job, *way));
        jobs.flat_map(each)
            .map(|(job, way)| Job { sizes: Sizes { away, way, ..job.sizes }, ..job })
            .collect()
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
