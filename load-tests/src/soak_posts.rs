//! The callers of `cluster-soak`: posts to all connections through all nodes, and one question
//! about many connections.
//!
//! In:  the nodes, the connection ids, the [`Plan`]. Out: how many were accepted, how fast; what
//! each connection id was answered.
//!
//! Holds always: a caller has one post under way; only a 200 is an answer to a planned post.

use std::{
    io::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    crowd::Crowd,
    failure::Failure,
    histogram::Histogram,
    message::{Shape, Tag},
    meter::DRAIN_TIMEOUT,
    post_plan::Plan,
    poster::Poster,
};

/// What came of the planned posts.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) posts: u64,
    pub(crate) took: Duration,
    pub(crate) latency: Histogram,
}

/// A caller and where it stands.
struct Caller {
    poster: Poster,
    sequence: u32,
    is_connected: bool,
    since: Option<Instant>,
}

impl Caller {
    /// One for each of `count`, through `nodes` in turn.
    fn connect(
        nodes: &[SocketAddr],
        count: usize,
        crowd: &mut Crowd,
    ) -> Result<Vec<Self>, Failure> {
        let connect = |index: usize| {
            let poster = Poster::connect(nodes[index % nodes.len()], index, crowd)?;
            Ok(Self { poster, sequence: 0, is_connected: false, since: None })
        };
        (0..count).map(connect).collect()
    }
}

/// Makes `count` posts as `plan` says, the odd callers through the second node. `is_well` is asked
/// meanwhile whether the receivers are.
pub(crate) fn post_all(
    nodes: &[SocketAddr],
    ids: &[String],
    plan: Plan,
    payload_bytes: usize,
    count: u64,
    mut is_well: impl FnMut() -> Result<(), Failure>,
) -> Result<Accepted, Failure> {
    let mut crowd = Crowd::new()?;
    let mut callers = Caller::connect(nodes, plan.callers as usize, &mut crowd)?;
    let mut shape = Shape::new("post", payload_bytes);
    let mut request = Vec::new();
    let (mut begun_posts, mut posts) = (0, 0);
    let mut latency = Histogram::default();
    let begun = Instant::now();
    let mut progress_at = begun;
    let Crowd { poll, events, scratch, .. } = &mut crowd;
    while posts < count {
        is_well()?;
        poll.poll(events, Some(Duration::from_millis(100)))?;
        for event in &*events {
            let index = event.token().0;
            let caller = &mut callers[index];
            caller.is_connected |= event.is_writable();
            if let Some(since) = caller.since {
                let Some(answer) = caller.poster.read_answer(scratch)? else { continue };
                answer.accepted()?;
                posts += 1;
                progress_at = Instant::now();
                latency.record(since.elapsed().as_nanos() as u64);
                caller.since = None;
            }
            if caller.is_connected && begun_posts < count {
                let owner = plan.receiver(index as u32, caller.sequence);
                let tag = Tag { owner, slot: index as u8, sequence: caller.sequence, sent_ns: 0 };
                write_post(&mut request, &ids[owner as usize], shape.write(tag));
                caller.poster.post(&request)?;
                caller.sequence += 1;
                caller.since = Some(Instant::now());
                begun_posts += 1;
            }
        }
        if progress_at.elapsed() > DRAIN_TIMEOUT {
            return Err(Failure::Stuck("answers to posts", begun_posts - posts));
        }
    }
    Ok(Accepted { posts, took: begun.elapsed(), latency })
}

/// What connections were answered, each posted to once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answers {
    /// 410.
    pub(crate) gone: u64,
    /// 503.
    pub(crate) unavailable: u64,
}

/// Posts once to each of `ids` through `node`. An answer that is neither 410 nor 503 is a failure:
/// the connections are dead.
pub(crate) fn ask_for_dead(
    node: SocketAddr,
    ids: &[String],
    callers: usize,
) -> Result<Answers, Failure> {
    let mut crowd = Crowd::new()?;
    let mut callers = Caller::connect(&[node], callers.min(ids.len()), &mut crowd)?;
    let mut rest = ids.iter();
    let mut answers = Answers::default();
    let mut request = Vec::new();
    let mut progress_at = Instant::now();
    let Crowd { poll, events, scratch, .. } = &mut crowd;
    while answers.gone + answers.unavailable < ids.len() as u64 {
        poll.poll(events, Some(Duration::from_millis(100)))?;
        for event in &*events {
            let caller = &mut callers[event.token().0];
            caller.is_connected |= event.is_writable();
            if caller.since.is_some() {
                let Some(answer) = caller.poster.read_answer(scratch)? else { continue };
                match &answer.status() {
                    b"410" => answers.gone += 1,
                    b"503" => answers.unavailable += 1,
                    _ => return Err(answer.not_gone()),
                }
                caller.since = None;
                progress_at = Instant::now();
            }
            if caller.is_connected
                && let Some(id) = rest.next()
            {
                write_post(&mut request, id, b"to the dead");
                caller.poster.post(&request)?;
                caller.since = Some(Instant::now());
            }
        }
        if progress_at.elapsed() > DRAIN_TIMEOUT {
            let missing = ids.len() as u64 - answers.gone - answers.unavailable;
            return Err(Failure::Stuck("answers to posts to the dead", missing));
        }
    }
    Ok(answers)
}

/// Writes a whole request for a post to the connection with this id.
pub(crate) fn write_post(request: &mut Vec<u8>, id: &str, body: &[u8]) {
    request.clear();
    // As the SDKs write it: an id is one path segment, its `=` escaped.
    let id = id.replace('=', "%3D");
    let length = body.len();
    // Writing into a Vec cannot fail.
    let _ = write!(
        request,
        "POST /s/@connections/{id} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    );
    request.extend_from_slice(body);
}
