//! `redis-away`: two nodes with clients and a little traffic, while the Redis is killed, or frozen,
//! and comes back.
//!
//! ```text
//! this thread:  posts at a steady rate, within each node and between them ──────────────► judged
//! the watch:    2 s ─► away ─► both nodes not ready ─► ... ─► back ─► both ready ─► 8 s after it
//! ```
//!
//! In:  two nodes and their Redis. Out: the figures of the outage; the sockets that were lost.
//!
//! Holds always: the posts are no fewer because some are slow: each direction has posters enough.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    admin,
    cluster::{Cluster, admin_of},
    crowd::Crowd,
    failure::Failure,
    message::{Shape, Tag},
    meter::DRAIN_TIMEOUT,
    outage::{self, Outage, Post, Reach, Timeline},
    pace::Pace,
    poster::Poster,
    redis_process::RedisProcess,
    soak_posts::write_post,
};

/// Traffic before the outage.
const BEFORE: Duration = Duration::from_secs(2);

/// Traffic after the return: longer than delivery may take to be back.
const AFTER: Duration = Duration::from_secs(8);

/// Posts in a second of each direction: within the first node, within the second, and between them
/// either way.
const RATE: f64 = 100.0;

const POSTERS_EACH: usize = 8;

const DIRECTIONS: usize = 4;

/// How the Redis goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// SIGKILL; it comes back empty.
    Killed,
    /// SIGSTOP; it comes back as it was.
    Frozen,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RedisAway {
    /// Clients of each of the two nodes.
    pub(crate) connections: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) away: Duration,
    pub(crate) way: Way,
}

/// The figures.
#[derive(Debug)]
pub(crate) struct WasAway {
    pub(crate) outage: Outage,
    pub(crate) times: Timeline,
    pub(crate) lost_sockets: u64,
}

/// One poster and the post that it has under way.
struct Turn {
    poster: Poster,
    through: usize,
    to: usize,
    next_receiver: usize,
    under_way: Option<usize>,
    is_connected: bool,
}

impl RedisAway {
    /// Runs it against `cluster`, whose Redis it takes for the time.
    pub(crate) fn run(self, cluster: Cluster) -> Result<WasAway, Failure> {
        let addresses = cluster.addresses();
        let mut crowd = Crowd::new()?;
        for (index, address) in addresses.iter().enumerate() {
            crowd.grow_to(*address, self.connections * (index + 1))?;
        }
        let ids = crowd.ask_each(br#"{"action":"id"}"#)?;
        let mut turns = self.turns(&addresses, &mut crowd)?;

        let Cluster { redis, nodes } = cluster;
        let admins: Vec<_> = nodes.iter().map(admin_of).collect();
        let begun = Instant::now();
        let watch = thread::spawn(move || self.watch(redis, &admins, begun));
        let (posts, lost_sockets) =
            self.traffic(&mut crowd, &ids, &mut turns, begun, || watch.is_finished())?;
        let ended = |_| Failure::Usage("the watch has ended".to_owned());
        let (redis, times) = watch.join().map_err(ended)??;
        let outage = outage::judge(&posts, times)?;
        drop(crowd);
        Cluster { redis, nodes }.stop()?;
        Ok(WasAway { outage, times, lost_sockets })
    }

    fn turns(self, addresses: &[SocketAddr], crowd: &mut Crowd) -> Result<Vec<Turn>, Failure> {
        let connect = |index: usize| {
            let (through, to) = [(0, 0), (1, 1), (0, 1), (1, 0)][index % DIRECTIONS];
            let token = self.connections * addresses.len() + index;
            let poster = Poster::connect(addresses[through], token, crowd)?;
            let next_receiver = index / DIRECTIONS;
            let under_way = None;
            Ok(Turn { poster, through, to, next_receiver, under_way, is_connected: false })
        };
        (0..POSTERS_EACH * DIRECTIONS).map(connect).collect()
    }

    /// Takes the Redis away and brings it back, and says when who noticed.
    fn watch(
        self,
        mut redis: RedisProcess,
        admins: &[SocketAddr],
        begun: Instant,
    ) -> Result<(RedisProcess, Timeline), Failure> {
        thread::sleep(BEFORE);
        let away_at = begun.elapsed();
        match self.way {
            Way::Killed => redis.kill()?,
            Way::Frozen => redis.freeze()?,
        }
        let back_at = away_at + self.away;
        let noticed_at = until_all(admins, false, begun, back_at)?;
        thread::sleep(back_at.saturating_sub(begun.elapsed()));
        match self.way {
            Way::Killed => redis.restart()?,
            Way::Frozen => redis.thaw()?,
        }
        let returned_at = begun.elapsed();
        let ready_at = until_all(admins, true, begun, returned_at + 4 * AFTER)?;
        thread::sleep((returned_at + AFTER).saturating_sub(begun.elapsed()));
        Ok((redis, Timeline { away_at, noticed_at, returned_at, ready_at }))
    }

    /// Posts until `is_over`, and waits for what is under way.
    fn traffic(
        self,
        crowd: &mut Crowd,
        ids: &[String],
        turns: &mut [Turn],
        begun: Instant,
        is_over: impl Fn() -> bool,
    ) -> Result<(Vec<Post>, u64), Failure> {
        let mut shape = Shape::new("post", self.payload_bytes);
        let mut posts: Vec<Post> = Vec::new();
        let mut paces = [Pace::new(RATE, 0); DIRECTIONS];
        let mut free: [VecDeque<usize>; DIRECTIONS] = Default::default();
        let mut is_open = vec![true; crowd.clients.len()];
        let mut messages = 0;
        let mut over_at = None;
        let mut request = Vec::new();
        let Crowd { poll, events, clients, scratch, .. } = crowd;
        loop {
            if over_at.is_none() && is_over() {
                over_at = Some(Instant::now());
            }
            let is_missing = |post: &Post| {
                let lost = post.deliveries == 0 && is_open[post.receiver];
                post.answer.is_none_or(|(status, _)| lost && status == *b"200")
            };
            if let Some(over_at) = over_at
                && (!posts.iter().any(is_missing) || over_at.elapsed() > DRAIN_TIMEOUT)
            {
                let lost = is_open.iter().filter(|is_open| !**is_open).count();
                return Ok((posts, lost as u64));
            }
            poll.poll(events, Some(Duration::from_millis(2)))?;
            for event in &*events {
                let token = event.token().0;
                if let Some(client) = clients.get_mut(token) {
                    if !is_open[token] {
                        continue;
                    }
                    let read = client.ready(event, scratch, |message, _| {
                        let tag = shape.read(message).filter(|tag| tag.owner as usize == token);
                        let post = tag.and_then(|tag| posts.get_mut(tag.sequence as usize));
                        let Some(post) = post.filter(|post| post.receiver == token) else {
                            let text = String::from_utf8_lossy(message).into_owned();
                            return Err(Failure::Foreign(text));
                        };
                        post.deliveries += 1;
                        post.delivered_as = messages;
                        messages += 1;
                        Ok(())
                    });
                    match read {
                        Err(Failure::Client(_)) => is_open[token] = false,
                        other => other?,
                    }
                    continue;
                }
                let index = token - clients.len();
                let turn = &mut turns[index];
                if let Some(post) = turn.under_way {
                    let Some(answer) = turn.poster.read_answer(scratch)? else { continue };
                    let post = &mut posts[post];
                    post.answer = Some((answer.status(), begun.elapsed() - post.sent_at));
                    turn.under_way = None;
                    free[index % DIRECTIONS].push_back(index);
                } else if event.is_writable() && !turn.is_connected {
                    turn.is_connected = true;
                    free[index % DIRECTIONS].push_back(index);
                }
            }
            let now = begun.elapsed();
            for (pace, free) in paces.iter_mut().zip(&mut free).filter(|_| over_at.is_none()) {
                // What is due while all posters wait is passed over: it would be a burst later on.
                while pace.due(now.as_nanos() as u64).is_some() {
                    let Some(index) = free.pop_front() else { continue };
                    let turn = &mut turns[index];
                    let receiver =
                        turn.to * self.connections + turn.next_receiver % self.connections;
                    turn.next_receiver += 1;
                    let tag = Tag {
                        owner: receiver as u32,
                        slot: index as u8,
                        sequence: posts.len() as u32,
                        sent_ns: 0,
                    };
                    write_post(&mut request, &ids[receiver], shape.write(tag));
                    let is_local = turn.through == turn.to;
                    turn.under_way = Some(posts.len());
                    posts.push(Post {
                        reach: if is_local { Reach::Local } else { Reach::Remote },
                        poster: index,
                        receiver,
                        sent_at: begun.elapsed(),
                        answer: None,
                        deliveries: 0,
                        delivered_as: 0,
                    });
                    turn.poster.post(&request)?;
                }
            }
        }
    }
}

/// Waits until all nodes say that they are ready, or that they are not. When the last one did.
fn until_all(
    admins: &[SocketAddr],
    ready: bool,
    begun: Instant,
    latest: Duration,
) -> Result<Duration, Failure> {
    for admin in admins {
        while admin::get(*admin, "/health/ready")?.is_ok != ready {
            if begun.elapsed() > latest {
                let what = if ready { "nodes that are ready" } else { "nodes that notice it" };
                return Err(Failure::Stuck(what, 1));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(begun.elapsed())
}
