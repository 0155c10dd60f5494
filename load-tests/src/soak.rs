//! `cluster-soak`: two nodes full of clients, posted to, sent to, one of them killed, and everybody
//! back at the other.
//!
//! ```text
//! arrive ─► posts through both nodes ─► group sends while members move ─► SIGKILL of one node
//!   ─► its ids answer 410, its $disconnects run at the other ─► the others leave ─► storm ─► leave
//! ```
//!
//! In:  the gateway's binary and the sizes. Out: [`Soaked`]: how long each step took.
//!
//! Holds always: what was accepted was delivered once, in its caller's order, to whom it was for;
//! each connection that was accepted had one `$connect` and has one `$disconnect`, whoever ran it;
//! the counts of a group send are right. Anything else ends the run with a failure.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    affinity::Cores,
    backend::Backend,
    cluster::Cluster,
    failure::Failure,
    flock::{Flock, Got, WhileListening},
    gateway_config::Settings,
    group_calls::GroupCaller,
    histogram::Histogram,
    lifecycle::Ends,
    meter::DRAIN_TIMEOUT,
    own_descriptors::{Begun, OwnDescriptors},
    post_plan::Plan,
    soak_posts::{self, Accepted},
};

/// How long a `$connect` takes in the storm.
const CONNECT_TAKES: Duration = Duration::from_millis(50);

/// `[limits] lifecycle_calls_in_flight`, by the `$connect` calls that would be under way at once
/// while a storm begins, when nobody is refused yet. Later on half of them come, which is less.
const CALLS_OF_WANTED: f64 = 0.64;

/// Group sends while members move.
const SENDS: u32 = 20;

/// Those, and all that fit into the longest wait for a death.
const MOST_SENDS: usize = 100_000;

/// Between two sends while a node's death is not known.
const SEND_STEP: Duration = Duration::from_millis(500);

/// Between two looks at what is awaited.
const LOOK: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Soak {
    /// Clients of each of the two nodes.
    pub(crate) connections: usize,
    pub(crate) posts: u64,
    /// Connections that post, at most 256.
    pub(crate) callers: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) lease: Duration,
    /// Within which as many clients as a node has come back to the survivor.
    pub(crate) storm: Duration,
}

/// The figures.
#[derive(Debug)]
pub(crate) struct Soaked {
    pub(crate) posts: Accepted,
    /// From a group send to its last member.
    pub(crate) sends: Histogram,
    pub(crate) moves: u64,
    /// From the kill until the first, and every, dead connection was answered 410.
    pub(crate) first_gone: Duration,
    pub(crate) all_gone: Duration,
    /// From the kill until the last `$disconnect`.
    pub(crate) ends: Duration,
    /// Upgrades of the storm that were answered 429, and until all were in.
    pub(crate) refused: u64,
    pub(crate) storm: Duration,
    /// The most `$connect` calls at once in the storm.
    pub(crate) connects_at_once: u64,
    /// `[limits] lifecycle_calls_in_flight`, which bounds them.
    pub(crate) connects_bound: u64,
}

/// The clients of one node, and their ids.
struct Side {
    flock: OwnDescriptors<Flock>,
    ids: Vec<String>,
}

impl Side {
    fn listen(&self, got: &Arc<Got>) -> Begun<()> {
        let got = Arc::clone(got);
        self.flock.begin(move |flock| flock.listen(&got))
    }

    fn leave(&self) -> Result<(), Failure> {
        self.flock
            .begin(|flock| {
                flock.leave();
                Ok(())
            })
            .end()
    }

    fn ends(&self, backend: &Backend) -> Ends {
        backend.lifecycle().ends_of(self.ids.iter().map(String::as_str))
    }
}

impl Soak {
    /// Runs it from the start of its nodes to their end.
    pub(crate) fn run(self, binary: &Path, cores: Cores) -> Result<Soaked, Failure> {
        let total = 2 * self.connections;
        let plan = Plan { receivers: total as u32, callers: self.callers as u32 };
        // Before anything else is opened: what is, they would hold as well.
        let flocks = [0, self.connections as u32].map(|first_receiver| {
            let payload_bytes = self.payload_bytes;
            OwnDescriptors::start(move || Flock::new(plan, first_receiver, payload_bytes))
        });
        let backend = Backend::start()?;
        let arrivals_per_s = self.connections as f64 / self.storm.as_secs_f64();
        let wanted = arrivals_per_s * CONNECT_TAKES.as_secs_f64();
        let connects_bound = (wanted * CALLS_OF_WANTED).ceil() as u32;
        let settings = Settings {
            new_connections_per_s: Some(((arrivals_per_s / 2.0) as u32).max(1)),
            lifecycle_calls_in_flight: Some(connects_bound),
            ..Settings::new(backend.address)
        };
        let mut cluster = Cluster::start(binary, &settings, self.lease, cores)?;
        let addresses = cluster.addresses();

        let mut arriving = Vec::new();
        for (flock, address) in flocks.into_iter().zip(&addresses) {
            let (flock, address, count, spread) =
                (flock?, *address, self.connections, 2 * self.storm);
            let arrival = flock.begin(move |flock| flock.arrive(address, count, spread));
            arriving.push((flock, arrival));
        }
        let mut sides = Vec::new();
        for (flock, arrival) in arriving {
            sides.push(Side { flock, ids: arrival.end()?.ids });
        }
        let [stays, dies] = &sides[..] else {
            return Err(Failure::Usage("a soak needs two nodes".to_owned()));
        };
        let got = Arc::new(Got::new(MOST_SENDS));
        let _until_the_end = WhileListening(&got);
        let listening = [stays.listen(&got), dies.listen(&got)];
        let is_well = || listening.iter().find_map(Begun::has_ended).unwrap_or(Ok(()));

        let ids = [&stays.ids[..], &dies.ids[..]].concat();
        let posts =
            soak_posts::post_all(&addresses, &ids, plan, self.payload_bytes, self.posts, is_well)?;
        wait("posts that were accepted and did not arrive", DRAIN_TIMEOUT, || {
            is_well()?;
            Ok(posts.posts - got.posts.load(Ordering::Relaxed))
        })?;

        let mut room = GroupCaller::new(self.payload_bytes);
        let mut sends = Histogram::default();
        got.are_moving.store(true, Ordering::Relaxed);
        let stayers = 2 * Got::stayers_of(self.connections) as u32;
        for turn in 0..SENDS as usize {
            let begun = Instant::now();
            let sent = room.send(addresses[turn % 2])?;
            let Some(recipients) = sent.recipients else { return Err(sent.refused()) };
            wait("members that were counted and got nothing", DRAIN_TIMEOUT, || {
                is_well()?;
                let got = got.sends[sent.number].load(Ordering::Relaxed);
                Ok(u64::from(recipients.saturating_sub(got)))
            })?;
            sends.record(begun.elapsed().as_nanos() as u64);
        }
        got.are_moving.store(false, Ordering::Relaxed);
        got.end();
        let [stayed, ended] = listening;
        stayed.end()?;
        ended.end()?;
        room.check(&got, stayers, total as u32)?;

        let (dead_at, first_gone, all_gone) = self.kill(&mut cluster, stays, dies, &mut room)?;
        let ends = self.wait_for_ends(dead_at, &backend, stays, dies)?;
        stays.leave()?;
        self.wait_for_all_ends(&backend, stays)?;

        backend.lifecycle().begin_connects(CONNECT_TAKES);
        let (survivor, count, spread) = (addresses[0], self.connections, self.storm);
        let storm = dies.flock.begin(move |flock| flock.arrive(survivor, count, spread)).end()?;
        let (connects, connects_at_once) = backend.lifecycle().connects();
        is("$connect calls of the storm", connects, self.connections as u64)?;
        if connects_at_once > u64::from(connects_bound) {
            let expected = u64::from(connects_bound);
            let what = "$connect calls at once";
            return Err(Failure::Count { what, got: connects_at_once, expected });
        }
        dies.leave()?;
        let back = storm.ids.iter().map(String::as_str);
        wait("$disconnects of who came back", self.long(), || {
            Ok(backend.lifecycle().ends_of(back.clone()).never)
        })?;
        cluster.stop()?;
        is("$disconnect calls in all", backend.lifecycle().all_ends().0, 3 * count as u64)?;
        Ok(Soaked {
            posts,
            sends,
            moves: got.moves.load(Ordering::Relaxed),
            first_gone,
            all_gone,
            ends,
            refused: storm.refused,
            storm: storm.took,
            connects_at_once,
            connects_bound: connects_bound.into(),
        })
    }

    /// Longer than anything should take of which there is a figure.
    fn long(self) -> Duration {
        4 * self.lease + Duration::from_millis(2 * self.connections as u64) + DRAIN_TIMEOUT
    }

    /// Kills the second node and waits until the first says that all its connections are gone,
    /// while the first one's clients are sent to.
    fn kill(
        self,
        cluster: &mut Cluster,
        stays: &Side,
        dies: &Side,
        room: &mut GroupCaller,
    ) -> Result<(Instant, Duration, Duration), Failure> {
        let survivor = cluster.nodes[0].address;
        let got = Arc::new(Got::new(MOST_SENDS));
        let _until_the_end = WhileListening(&got);
        let listening = stays.listen(&got);
        let ending = dies.flock.begin(Flock::expect_end);
        let killed = cluster.nodes.remove(1);
        let dead_at = Instant::now();
        killed.kill()?;
        let all = self.connections as u32;
        let first = &dies.ids[..1];
        let mut sent_at = None;
        wait("dead connections that are not said to be gone", self.long(), || {
            if let Some(ended) = listening.has_ended() {
                ended?;
            }
            if sent_at.is_none_or(|sent_at: Instant| sent_at.elapsed() >= SEND_STEP) {
                sent_at = Some(Instant::now());
                let sent = room.send(survivor)?;
                let recipients = sent.recipients.unwrap_or(all);
                is("recipients of a send after a death", recipients.into(), all.into())?;
            }
            Ok(soak_posts::ask_for_dead(survivor, first, 1)?.unavailable)
        })?;
        let first_gone = dead_at.elapsed();
        let answers = soak_posts::ask_for_dead(survivor, &dies.ids, self.callers)?;
        is("dead connections that are gone", answers.gone, dies.ids.len() as u64)?;
        let all_gone = dead_at.elapsed();
        ending.end()?;
        // Once more, with the dead out of the count.
        let sent = room.send(survivor)?;
        if sent.recipients.is_none() {
            return Err(sent.refused());
        }
        wait("members of the survivor that got nothing", DRAIN_TIMEOUT, || {
            Ok(u64::from(all - got.sends[sent.number].load(Ordering::Relaxed).min(all)))
        })?;
        got.end();
        listening.end()?;
        room.check(&got, Got::stayers_of(self.connections) as u32, all)?;
        Ok((dead_at, first_gone, all_gone))
    }

    /// Waits until each dead connection has its `$disconnect`, and then for one that came twice or
    /// was somebody else's. How long after the death the last one was.
    fn wait_for_ends(
        self,
        dead_at: Instant,
        backend: &Backend,
        stays: &Side,
        dies: &Side,
    ) -> Result<Duration, Failure> {
        let lifecycle = backend.lifecycle();
        wait("$disconnects of a dead node", self.long(), || Ok(dies.ends(backend).never))?;
        let last = lifecycle.all_ends().1.unwrap_or(dead_at);
        thread::sleep(self.lease);
        is("$disconnects that came twice", dies.ends(backend).repeated, 0)?;
        let without = stays.ends(backend).never;
        is("connections of the survivor without an end", without, self.connections as u64)?;
        is("$disconnect calls", lifecycle.all_ends().0, self.connections as u64)?;
        Ok(last - dead_at)
    }

    fn wait_for_all_ends(self, backend: &Backend, side: &Side) -> Result<(), Failure> {
        wait("$disconnects of who left", self.long(), || Ok(side.ends(backend).never))?;
        is("$disconnects that came twice", side.ends(backend).repeated, 0)
    }
}

/// Looks until nothing is missing.
fn wait(
    what: &'static str,
    longest: Duration,
    mut missing: impl FnMut() -> Result<u64, Failure>,
) -> Result<(), Failure> {
    let until = Instant::now() + longest;
    loop {
        match missing()? {
            0 => return Ok(()),
            missing if Instant::now() > until => return Err(Failure::Stuck(what, missing)),
            _ => thread::sleep(LOOK),
        }
    }
}

fn is(what: &'static str, got: u64, expected: u64) -> Result<(), Failure> {
    if got == expected { Ok(()) } else { Err(Failure::Count { what, got, expected }) }
}
