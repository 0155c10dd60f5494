//! The jobs of several nodes, from the start of their nodes to their figures.
//!
//! In:  a [`Job`] whose scenario needs nodes, and the gateway's binary. Out: its figures.
//!
//! Holds always: each job has nodes and a Redis of its own.

use std::{path::Path, time::Duration};

use crate::{
    affinity::Cores,
    backend::Backend,
    cluster::{Cluster, LEASE},
    failure::Failure,
    gateway_config::Settings,
    group::GroupSends,
    options::Sizes,
    redis_away::{RedisAway, WasAway},
    remote_post::{RemotePosted, RemotePosts},
    scenario::{Figures, Job, Quantity, Scenario, figures, group_figures, micros, quantile_us},
    soak::{Soak, Soaked},
};

/// Runs `job` on nodes of its own.
pub(crate) fn run(
    job: &Job,
    backend: &Backend,
    binary: &Path,
    cores: Cores,
) -> Result<Figures, Failure> {
    let Sizes { payload_bytes, posters, length, posts, lease, storm, away, way, .. } = job.sizes;
    let connections = job.connections;
    let start = || Cluster::start(binary, &Settings::new(backend.address), LEASE, cores);
    match job.scenario {
        Scenario::RemotePost => {
            let cluster = start()?;
            let posts = RemotePosts { posters, connections, payload_bytes, length };
            let figures = of_remote_posts(&posts.run(&cluster)?)?;
            cluster.stop()?;
            Ok(figures)
        }
        Scenario::RemoteGroup => {
            let cluster = start()?;
            let sends = GroupSends { members: connections, payload_bytes, length };
            let figures = remote_group(sends, &cluster)?;
            cluster.stop()?;
            Ok(figures)
        }
        Scenario::ClusterSoak => {
            let callers = posters;
            let soak = Soak { connections, posts, callers, payload_bytes, lease, storm };
            Ok(of_soak(&soak.run(binary, cores)?, lease))
        }
        Scenario::RedisAway => {
            let away = RedisAway { connections, payload_bytes, away, way };
            Ok(of_away(&away.run(start()?)?))
        }
        other => Err(Failure::Usage(format!("{} is measured on one server", other.name()))),
    }
}

fn of_remote_posts(posted: &RemotePosted) -> Result<Figures, Failure> {
    let remote = &posted.remote.measured;
    let mut all = figures(remote)?;
    let cpu =
        |figures: &Figures| figures.iter().find(|it| it.0 == Quantity::ServerCpuUs).map(|it| it.1);
    let local = figures(&posted.local.measured)?;
    let ratio = cpu(&all).zip(cpu(&local)).map(|(remote, local)| remote / local);
    all.extend(ratio.map(|ratio| (Quantity::CpuOfLocal, ratio)));
    all.push((Quantity::RedisCpuUs, micros(remote.redis_cpu) / remote.units as f64));
    all.push((Quantity::DeliveryP50Us, quantile_us(&posted.remote.delivery, 0.5)));
    all.push((Quantity::DeliveryP99Us, quantile_us(&posted.remote.delivery, 0.99)));
    let renamed = |figures: Figures, names: &[(Quantity, Quantity)]| -> Figures {
        let name = |of| names.iter().find(|(from, _)| *from == of).map(|(_, to)| *to);
        figures.into_iter().filter_map(|(of, value)| Some((name(of)?, value))).collect()
    };
    let half = figures(&posted.at_half.measured)?;
    all.extend(renamed(
        half,
        &[
            (Quantity::PerSecond, Quantity::HalfLoadPerSecond),
            (Quantity::P50Us, Quantity::HalfLoadP50Us),
            (Quantity::P99Us, Quantity::HalfLoadP99Us),
        ],
    ));
    all.extend(renamed(
        local,
        &[
            (Quantity::ServerCpuUs, Quantity::LocalCpuUs),
            (Quantity::PerSecond, Quantity::LocalPerSecond),
            (Quantity::P50Us, Quantity::LocalP50Us),
            (Quantity::P99Us, Quantity::LocalP99Us),
        ],
    ));
    Ok(all)
}

/// Counts the bus messages of all the sends: each node's, by the sends.
fn remote_group(sends: GroupSends, cluster: &Cluster) -> Result<Figures, Failure> {
    let count = || -> Result<Vec<f64>, Failure> {
        let metrics = cluster.metrics()?;
        metrics.iter().map(|node| node.value("tidegate_bus_published_total")).collect()
    };
    let before = count()?;
    let sent = sends.run(&cluster.addresses(), cluster.processes())?;
    let published = count()?.into_iter().zip(before).map(|(after, before)| after - before);
    let mut all = group_figures(&sent)?;
    let most = published.fold(0.0, f64::max);
    all.push((Quantity::BusMessagesPerSend, most / f64::from(sent.sends)));
    all.push((Quantity::RedisCpuUs, micros(sent.measured.redis_cpu) / sent.measured.units as f64));
    Ok(all)
}

fn of_soak(soaked: &Soaked, lease: Duration) -> Figures {
    let seconds = |duration: Duration| duration.as_secs_f64();
    let posts = &soaked.posts;
    vec![
        (Quantity::Posts, posts.posts as f64),
        (Quantity::PerSecond, posts.posts as f64 / seconds(posts.took)),
        (Quantity::P50Us, quantile_us(&posts.latency, 0.5)),
        (Quantity::P99Us, quantile_us(&posts.latency, 0.99)),
        (Quantity::Moves, soaked.moves as f64),
        (Quantity::LastMemberP50Ms, quantile_us(&soaked.sends, 0.5) / 1e3),
        (Quantity::LastMemberMaxMs, quantile_us(&soaked.sends, 1.0) / 1e3),
        (Quantity::FirstGoneS, seconds(soaked.first_gone)),
        (Quantity::AllGoneS, seconds(soaked.all_gone)),
        (Quantity::AllGoneOfLease, seconds(soaked.all_gone) / seconds(lease)),
        (Quantity::EndsS, seconds(soaked.ends)),
        (Quantity::EndsOfLease, seconds(soaked.ends) / seconds(lease)),
        (Quantity::StormS, seconds(soaked.storm)),
        (Quantity::StormRefused, soaked.refused as f64),
        (Quantity::ConnectsAtOnce, soaked.connects_at_once as f64),
        (Quantity::ConnectsBound, soaked.connects_bound as f64),
    ]
}

fn of_away(was: &WasAway) -> Figures {
    let WasAway { outage, times, lost_sockets } = was;
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let seconds = |duration: Duration| duration.as_secs_f64();
    vec![
        (Quantity::LostSockets, *lost_sockets as f64),
        (Quantity::Posts, outage.local_posts as f64),
        (Quantity::LocalFailed, outage.local_failed as f64),
        (Quantity::LocalSlowestMs, ms(outage.local_slowest)),
        (Quantity::Refused, outage.refused as f64),
        (Quantity::RefusedP99Ms, ms(outage.refused_p99)),
        (Quantity::RefusedSlowestMs, ms(outage.refused_slowest)),
        (Quantity::UnnoticedSlowestMs, ms(outage.unnoticed_slowest)),
        (Quantity::NoticedS, seconds(times.noticed_at - times.away_at)),
        (Quantity::ReadyAgainS, seconds(times.ready_at.saturating_sub(times.returned_at))),
        (Quantity::BackS, seconds(outage.back_after)),
    ]
}
