//! The load generator of the release gateway.
//!
//! ```text
//! generator (this process, its core)          server (child process, its core)
//!   scenario: clients over mio  ---frames--->  gateway, then raw: a baseline of our own
//!   backend: a thread           <---HTTP-----
//!   worker: this program again  <---HTTP-----     (a child of the gateway)
//!                                               or two gateways and a Redis between them
//! ```
//!
//! Holds always: only loopback is used; every run is bounded in time and count; a reply
//! that is lost, foreign or altered ends in exit code 1.

mod admin;
mod affinity;
mod backend;
mod client;
mod closed_loop;
mod cluster;
mod cluster_job;
mod crowd;
mod failure;
mod flock;
mod frame;
mod function;
mod gateway_config;
mod group;
mod group_calls;
mod handshake;
mod histogram;
mod http;
mod idle;
mod lifecycle;
mod message;
mod meter;
mod options;
mod outage;
mod own_descriptors;
mod pace;
mod post;
mod post_plan;
mod poster;
mod proc_stats;
mod raw;
mod redis_away;
mod redis_process;
mod remote_post;
mod report;
mod scenario;
mod server_process;
mod soak;
mod soak_posts;
mod targets;
mod worker;

use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    affinity::Cores,
    backend::Backend,
    failure::Failure,
    options::{Arguments, Command, Common, Servers},
    report::{Report, Row},
    scenario::{Figures, Job, Scenario},
    server_process::{Kind, ServerProcess},
};

fn main() -> ExitCode {
    let (jobs, common) = match Arguments::parse().command {
        Command::RawServer { backend } => {
            return finish(raw::serve(backend).map_err(Failure::Io).map(|()| true));
        }
        Command::Worker { core } => return finish(worker::work(core).map(|()| true)),
        Command::Idle(one) => (one.jobs(Scenario::Idle), one.common),
        Command::Handshake(one) => (one.jobs(Scenario::Handshake), one.common),
        Command::Echo(one) => (one.jobs(Scenario::Echo), one.common),
        Command::Pipelined(one) => (one.jobs(Scenario::Pipelined), one.common),
        Command::Post(one) => (one.jobs(Scenario::Post), one.common),
        Command::Route(one) => (one.jobs(Scenario::Route), one.common),
        Command::Group(one) => (one.jobs(Scenario::Group), one.common),
        Command::Function(one) => (one.jobs(Scenario::Function), one.common),
        Command::RemotePost(one) => (one.jobs(Scenario::RemotePost), one.common),
        Command::RemoteGroup(one) => (one.jobs(Scenario::RemoteGroup), one.common),
        Command::ClusterSoak(soak) => (soak.jobs(), soak.one.common),
        Command::RedisAway(away) => (away.jobs(), away.one.common),
        Command::All(common) => (common.all_jobs(), common),
    };
    finish(run(&jobs, &common))
}

fn finish(outcome: Result<bool, Failure>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            say(&format!("load-tests: {}", with_sources(&failure)));
            ExitCode::FAILURE
        }
    }
}

/// Runs all jobs, also behind one that failed; whether none has.
fn run(jobs: &[Job], common: &Common) -> Result<bool, Failure> {
    let is_possible = |job: &Job| common.servers != Servers::Raw || job.scenario.is_for_raw();
    if !jobs.iter().any(is_possible) {
        return Err(Failure::Usage(
            "the raw server has no local functions, and no nodes beside it".to_owned(),
        ));
    }
    let gateway = match common.servers {
        Servers::Raw => None,
        Servers::Both | Servers::Gateway => {
            Some(server_process::find_gateway(common.gateway.clone())?)
        }
    };
    raise_descriptor_limit(jobs)?;
    let cores = Cores::take()?;
    let backend = Backend::start()?;
    let mut report = Report {
        machine: proc_stats::machine(),
        cores: cores.describe(),
        release_build: !cfg!(debug_assertions),
        rows: Vec::new(),
        failures: Vec::new(),
    };
    let mut stdout = io::stdout();
    writeln!(stdout, "{}\n{}", report.machine, report.cores)?;
    if !report.release_build {
        writeln!(stdout, "load-tests is a debug build: its figures are no figures, use --release")?;
    }
    writeln!(stdout, "{}", report::table_head())?;
    for job in jobs.iter().filter(|job| is_possible(job)) {
        let note = |kind, measured: Result<Figures, Failure>, failures: &mut Vec<String>| {
            measured
                .map_err(|failure| {
                    let text = failed(job, kind, &failure);
                    say(&text);
                    failures.push(text);
                })
                .ok()
        };
        let raw = (common.servers != Servers::Gateway && job.scenario.is_for_raw())
            .then(|| measure(job, &backend, &|| ServerProcess::raw(backend.address, cores)));
        let raw = raw.and_then(|raw| note(Kind::Raw, raw, &mut report.failures));
        let start = |binary: &Path| ServerProcess::gateway(binary, backend.address, job, cores);
        let gateway = gateway.as_deref().map(|binary| {
            if job.scenario.is_for_nodes() {
                cluster_job::run(job, &backend, binary, cores)
            } else {
                measure(job, &backend, &|| start(binary))
            }
        });
        let gateway = gateway.and_then(|of| note(Kind::Gateway, of, &mut report.failures));
        let rows = report::rows(job, gateway.as_ref(), raw.as_ref());
        writeln!(stdout, "{}", report::table_section(&job.title(), &rows))?;
        let missed: Vec<_> = rows.iter().filter(|row| row.is_missed()).map(Row::label).collect();
        if job.scenario.must_meet_targets() && !missed.is_empty() {
            let text = format!("failed: {}: targets missed: {}", job.title(), missed.join("; "));
            say(&text);
            report.failures.push(text);
        }
        report.rows.extend(rows);
    }
    if let Some(path) = &common.json {
        fs::write(path, serde_json::to_vec_pretty(&report).map_err(io::Error::other)?)?;
    }
    Ok(report.failures.is_empty())
}

/// One job against one fresh server, which must also end as it should.
fn measure(
    job: &Job,
    backend: &Backend,
    start: &dyn Fn() -> Result<ServerProcess, Failure>,
) -> Result<Figures, Failure> {
    let server = start()?;
    let figures = job.run(&server, backend);
    let stopped = server.stop();
    if let (Err(_), Err(failure)) = (&figures, &stopped) {
        // Often the cause of what the clients saw.
        say(&format!("{}: {}", job.title(), with_sources(failure)));
    }
    let figures = figures?;
    stopped?;
    Ok(figures)
}

fn failed(job: &Job, kind: Kind, failure: &Failure) -> String {
    format!("failed: {} ({}): {}", job.title(), kind.name(), with_sources(failure))
}

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

fn say(text: &str) {
    // Nothing is left to be done when even the error stream is gone.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Takes all descriptors that may be had; the server inherits the limit.
fn raise_descriptor_limit(jobs: &[Job]) -> Result<(), Failure> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let needed = jobs.iter().map(Job::descriptors).max().unwrap_or(0);
    if needed as u64 <= most {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{needed} descriptors are needed and {most} allowed: fewer --connections, or a higher ulimit -n"
    )))
}
