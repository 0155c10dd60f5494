//! The clients of one node on a thread of their own, which check what they get.
//!
//! ```text
//! arrive --101, then their ids--> members --listen--> ... --expect_end or leave--> nobody
//! ```
//!
//! In:  where they connect; who posts to them in which order ([`Plan`]).
//! Out: their connection ids; how many got what, in [`Got`], while they listen.
//!
//! Holds always: a post that a member gets is its own and the next one of its caller, none left
//! out; of the group sends it gets none twice and none after a later one. Anything else ends the
//! job with a [`Failure`].

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::ErrorKind,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};

use crate::{
    client::{Client, ClientError, SCRATCH_BYTES},
    crowd::Sources,
    failure::Failure,
    frame::{self, Masks},
    message::{Shape, Tag},
    post_plan::Plan,
};

/// Every so many members one leaves the group and joins it again, where members move.
const MOVER_EVERY: usize = 10;

/// Between two moves.
const MOVE_STEP: Duration = Duration::from_millis(2);

/// How long an upgrade, a move or an end may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// The members, on their thread.
#[derive(Debug)]
pub(crate) struct Flock {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    sources: Sources,
    masks: Masks,
    members: Vec<Member>,
    shapes: Shapes,
    plan: Plan,
    /// Which receiver of the plan the first member is.
    first_receiver: u32,
}

/// The messages that members get.
#[derive(Debug)]
struct Shapes {
    post: Shape,
    send: Shape,
}

#[derive(Debug)]
struct Member {
    client: Option<Client>,
    id: String,
    /// Of each caller, the number of the post that must come next.
    next_posts: Vec<u32>,
    last_send: u32,
    group: Standing,
}

/// Where a member stands with the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    In,
    Leaving,
    Out,
    Joining,
}

/// What became of arrivals.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// The connection id of each, in the order of the members.
    pub(crate) ids: Vec<String>,
    /// Upgrades that were answered 429, after each of which the client tried again.
    pub(crate) refused: u64,
    /// Until the last one was in.
    pub(crate) took: Duration,
}

/// What members got so far, and what they are to do, seen from other threads.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) posts: AtomicU64,
    /// Of each group send, by its number: all members, and those among them that never move.
    pub(crate) sends: Vec<AtomicU32>,
    pub(crate) stayers: Vec<AtomicU32>,
    /// Members go out of the group and come back, until this is false again and all are back.
    pub(crate) are_moving: AtomicBool,
    pub(crate) moves: AtomicU64,
    is_over: AtomicBool,
    is_abandoned: AtomicBool,
}

/// Whoever listens stops at the end of this value, so that a run that has failed ends.
#[derive(Debug)]
pub(crate) struct WhileListening<'g>(pub(crate) &'g Got);

impl Drop for WhileListening<'_> {
    fn drop(&mut self) {
        self.0.is_abandoned.store(true, Ordering::Relaxed);
    }
}

impl Got {
    /// Nothing yet, with room for so many group sends.
    pub(crate) fn new(sends: usize) -> Self {
        let none = || (0..=sends).map(|_| AtomicU32::new(0)).collect();
        Self {
            posts: AtomicU64::new(0),
            sends: none(),
            stayers: none(),
            are_moving: AtomicBool::new(false),
            moves: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
        }
    }

    /// Ends [`Flock::listen`].
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// How many of a flock of this size never move.
    pub(crate) fn stayers_of(members: usize) -> usize {
        members - members.div_ceil(MOVER_EVERY)
    }
}

impl Flock {
    /// Nobody yet.
    pub(crate) fn new(
        plan: Plan,
        first_receiver: u32,
        payload_bytes: usize,
    ) -> Result<Self, Failure> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            scratch: vec![0; SCRATCH_BYTES],
            sources: Sources::default(),
            masks: Masks::new(first_receiver + 1),
            members: Vec::new(),
            shapes: Shapes {
                post: Shape::new("post", payload_bytes),
                send: Shape::new("group", payload_bytes),
            },
            plan,
            first_receiver,
        })
    }

    /// Connects `count` members to `server`, evenly within `spread`. Who is answered 429 comes
    /// again half a second to one and a half later; any other refusal is a failure.
    pub(crate) fn arrive(
        &mut self,
        server: SocketAddr,
        count: usize,
        spread: Duration,
    ) -> Result<Arrived, Failure> {
        let begun = Instant::now();
        self.members = (0..count).map(|index| self.member(index)).collect();
        let at = |index: usize| begun + spread.mul_f64(index as f64 / count as f64);
        let mut due: BinaryHeap<_> = (0..count).map(|index| Reverse((at(index), index))).collect();
        let (mut arrived, mut refused, mut progress_at) = (0, 0, begun);
        while arrived < count {
            let now = Instant::now();
            while let Some(Reverse((at, index))) = due.peek().copied()
                && at <= now
            {
                due.pop();
                let (registry, source) = (self.poll.registry(), self.sources.next());
                let client = Client::connect(server, source, registry, Token(index))?;
                self.members[index].client = Some(client);
            }
            self.poll.poll(&mut self.events, Some(Duration::from_millis(2)))?;
            for event in &self.events {
                let index = event.token().0;
                let member = &mut self.members[index];
                let Some(client) = &mut member.client else { continue };
                let id = &mut member.id;
                let ready = client.ready(event, &mut self.scratch, |message, _| {
                    let text = String::from_utf8_lossy(message).into_owned();
                    if !id.is_empty() {
                        return Err(Failure::Unasked(text));
                    }
                    *id = text;
                    arrived += 1;
                    progress_at = Instant::now();
                    Ok(())
                });
                match ready {
                    Err(Failure::Client(ClientError::NotUpgraded(line)))
                        if line.starts_with("HTTP/1.1 429 ") =>
                    {
                        member.client = None;
                        refused += 1;
                        progress_at = Instant::now();
                        let wait = Duration::from_millis(500 + (index as u64 * 7_919) % 1_000);
                        due.push(Reverse((progress_at + wait, index)));
                    }
                    other => other?,
                }
            }
            if progress_at.elapsed() > PATIENCE + spread {
                return Err(Failure::Stuck("arrivals", (count - arrived) as u64));
            }
        }
        let ids = self.members.iter().map(|member| member.id.clone()).collect();
        Ok(Arrived { ids, refused, took: begun.elapsed() })
    }

    fn member(&self, index: usize) -> Member {
        let receiver = self.first_receiver + index as u32;
        let callers = 0..self.plan.callers;
        Member {
            client: None,
            id: String::new(),
            next_posts: callers.map(|caller| self.plan.first(caller, receiver)).collect(),
            last_send: 0,
            // The backend's answer to `$connect` says so.
            group: Standing::In,
        }
    }

    /// Takes what comes until [`Got::end`] and until all who move are back.
    pub(crate) fn listen(&mut self, got: &Got) -> Result<(), Failure> {
        let mut mover = 0;
        let mut moved_at = Instant::now();
        let mut over_at = None;
        loop {
            self.poll.poll(&mut self.events, Some(Duration::from_millis(2)))?;
            let Self { events, members, scratch, shapes, plan, first_receiver, .. } = self;
            for event in &*events {
                let index = event.token().0;
                let member = &mut members[index];
                let Some(client) = &mut member.client else { continue };
                let mut takes = Takes {
                    receiver: *first_receiver + index as u32,
                    is_stayer: !index.is_multiple_of(MOVER_EVERY),
                    next_posts: &mut member.next_posts,
                    last_send: &mut member.last_send,
                    group: &mut member.group,
                };
                client.ready(event, scratch, |message, _| {
                    if takes.message(message, shapes, *plan, got) {
                        return Ok(());
                    }
                    Err(Failure::Foreign(String::from_utf8_lossy(message).into_owned()))
                })?;
            }
            if got.is_abandoned.load(Ordering::Relaxed) {
                return Ok(());
            }
            let are_moving = got.are_moving.load(Ordering::Relaxed);
            if moved_at.elapsed() >= MOVE_STEP && !self.members.is_empty() {
                moved_at = Instant::now();
                mover = (mover + MOVER_EVERY) % self.members.len().next_multiple_of(MOVER_EVERY);
                self.step(mover, are_moving, got)?;
            }
            if got.is_over.load(Ordering::Relaxed) && !are_moving {
                let out = |member: &&Member| member.group != Standing::In;
                let out = self.members.iter().filter(out).count() as u64;
                if out == 0 {
                    return Ok(());
                }
                if over_at.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return Err(Failure::Stuck("answers to moves", out));
                }
            }
        }
    }

    /// One mover goes out of the group or comes back.
    fn step(&mut self, index: usize, are_moving: bool, got: &Got) -> Result<(), Failure> {
        let member = &mut self.members[index];
        let (next, message) = match member.group {
            Standing::In if are_moving => (Standing::Leaving, &br#"{"action":"leave"}"#[..]),
            Standing::Out => (Standing::Joining, &br#"{"action":"join"}"#[..]),
            _ => return Ok(()),
        };
        member.group = next;
        got.moves.fetch_add(1, Ordering::Relaxed);
        let mut frames = Vec::new();
        frame::append_client_text(&mut frames, message, self.masks.next());
        let client = member.client.as_mut().ok_or(Failure::Stuck("a member's connection", 1))?;
        Ok(client.send(&frames)?)
    }

    /// Every connection must end, as those of a node that was killed do.
    pub(crate) fn expect_end(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        let mut open = self.members.iter().filter(|member| member.client.is_some()).count();
        while open > 0 {
            self.poll.poll(&mut self.events, Some(Duration::from_millis(10)))?;
            for event in &self.events {
                let member = &mut self.members[event.token().0];
                let Some(client) = &mut member.client else { continue };
                let ready = client.ready(event, &mut self.scratch, |message, _| {
                    Err(Failure::Unasked(String::from_utf8_lossy(message).into_owned()))
                });
                match ready {
                    Ok(()) => {}
                    Err(Failure::Client(ClientError::Ended)) => open = leave(member, open),
                    Err(Failure::Client(ClientError::Io(error)))
                        if error.kind() == ErrorKind::ConnectionReset =>
                    {
                        open = leave(member, open);
                    }
                    Err(other) => return Err(other),
                }
            }
            if Instant::now() > until {
                return Err(Failure::Stuck("ends of a killed node's connections", open as u64));
            }
        }
        Ok(())
    }

    /// All go, without a close frame.
    pub(crate) fn leave(&mut self) {
        self.members.clear();
    }
}

fn leave(member: &mut Member, open: usize) -> usize {
    member.client = None;
    open - 1
}

/// One member while it takes messages.
struct Takes<'m> {
    receiver: u32,
    is_stayer: bool,
    next_posts: &'m mut [u32],
    last_send: &'m mut u32,
    group: &'m mut Standing,
}

impl Takes<'_> {
    /// Whether the message may come now.
    fn message(&mut self, message: &[u8], shapes: &Shapes, plan: Plan, got: &Got) -> bool {
        if let Some(tag) = shapes.post.read(message) {
            return self.post(tag, plan, got);
        }
        if let Some(tag) = shapes.send.read(message) {
            return self.send(tag, got);
        }
        match (message, *self.group) {
            (b"left", Standing::Leaving) => *self.group = Standing::Out,
            (b"joined", Standing::Joining) => *self.group = Standing::In,
            _ => return false,
        }
        true
    }

    fn post(&mut self, tag: Tag, plan: Plan, got: &Got) -> bool {
        let next = self.next_posts.get_mut(usize::from(tag.slot));
        let Some(next) = next.filter(|next| tag.owner == self.receiver && **next == tag.sequence)
        else {
            return false;
        };
        *next = plan.after(tag.sequence);
        got.posts.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn send(&mut self, tag: Tag, got: &Got) -> bool {
        let number = tag.sequence as usize;
        if tag.sequence <= *self.last_send || number >= got.sends.len() {
            return false;
        }
        *self.last_send = tag.sequence;
        got.sends[number].fetch_add(1, Ordering::Relaxed);
        if self.is_stayer {
            got.stayers[number].fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { receivers: 4, callers: 2 };

    /// What a stayer that is receiver 1 makes of messages.
    fn taken(messages: &[Vec<u8>]) -> Vec<bool> {
        let shapes = Shapes { post: Shape::new("post", 64), send: Shape::new("group", 64) };
        let got = Got::new(3);
        let mut next_posts: Vec<_> = (0..2).map(|caller| PLAN.first(caller, 1)).collect();
        let (mut last_send, mut group) = (0, Standing::In);
        let mut takes = Takes {
            receiver: 1,
            is_stayer: true,
            next_posts: &mut next_posts,
            last_send: &mut last_send,
            group: &mut group,
        };
        let taken = messages.iter().map(|it| takes.message(it, &shapes, PLAN, &got)).collect();
        assert_eq!(got.sends[1].load(Ordering::Relaxed), got.stayers[1].load(Ordering::Relaxed));
        taken
    }

    fn post(owner: u32, caller: u8, sequence: u32) -> Vec<u8> {
        let tag = Tag { owner, slot: caller, sequence, sent_ns: 0 };
        Shape::new("post", 64).write(tag).to_vec()
    }

    fn send(sequence: u32) -> Vec<u8> {
        Shape::new("group", 64).write(Tag { owner: 0, slot: 0, sequence, sent_ns: 0 }).to_vec()
    }

    #[test]
    fn a_post_that_is_missing_doubled_early_or_anothers_is_not_taken() {
        let first = PLAN.first(0, 1);
        assert_eq!(taken(&[post(1, 0, first), post(1, 0, first)]), [true, false]);
        assert_eq!(taken(&[post(1, 0, first + 1)]), [false]);
        assert_eq!(taken(&[post(1, 0, first), post(1, 0, first + 2)]), [true, false]);
        assert_eq!(taken(&[post(2, 0, first)]), [false]);
        assert_eq!(taken(&[post(1, 2, first)]), [false]);
        assert_eq!(taken(&[post(1, 1, first), post(1, 0, first)]), [true, true]);
    }

    #[test]
    fn a_send_comes_once_and_never_after_a_later_one() {
        assert_eq!(taken(&[send(1), send(1)]), [true, false]);
        assert_eq!(taken(&[send(2), send(1)]), [true, false]);
        assert_eq!(taken(&[send(1), send(3), send(4)]), [true, true, false]);
    }

    #[test]
    fn nobody_is_told_of_a_move_that_was_not_made() {
        assert_eq!(taken(&[b"left".to_vec(), b"joined".to_vec()]), [false, false]);
    }
}
