//! `idle`: what open connections cost that do nothing.
//!
//! Memory is taken before and after `connections` more clients are connected, and again
//! after each of them has had one message echoed. The clients that come first pay for what
//! the server allocates once, whatever the count.
//!
//! Holds always: at the end every connection has proved to be alive.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    admin,
    crowd::Crowd,
    failure::Failure,
    frame::{self, Masks},
    message::{Shape, Tag},
    meter::DRAIN_TIMEOUT,
    server_process::ServerProcess,
};

const FIRST_CLIENTS: usize = 200;

/// Memory counts as settled when it has moved by less than this in [`SETTLE_STEP`].
const SETTLED_BYTES: u64 = 16 * 1024;
const SETTLE_STEP: Duration = Duration::from_millis(250);
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages under way at once in the round that shows that all are alive.
const ROUND_STEP: usize = 128;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// Connections that are counted.
    pub(crate) connections: usize,
    /// Length of the one message each sends.
    pub(crate) payload_bytes: usize,
}

/// User memory of the server.
#[derive(Debug)]
pub(crate) struct IdleMemory {
    /// Bytes per connection that was opened and left alone.
    pub(crate) untouched: f64,
    /// Bytes per connection after one message.
    pub(crate) after_a_message: f64,
    /// How long a scrape of `/metrics` took with all of them open.
    pub(crate) scrape: Option<Duration>,
}

impl Idle {
    /// Runs it against `server`, which must be fresh.
    pub(crate) fn run(self, server: &ServerProcess) -> Result<IdleMemory, Failure> {
        let mut crowd = Crowd::new()?;
        crowd.grow_to(server.address, FIRST_CLIENTS)?;
        self.echo_once(&mut crowd)?;
        let before = settled_memory(server)?;
        crowd.grow_to(server.address, FIRST_CLIENTS + self.connections)?;
        let untouched = settled_memory(server)?;
        let scrape = server.admin.map(scrape).transpose()?;
        // The scrape's own buffers are the server's for good, and no connection's.
        let scraped = settled_memory(server)?.saturating_sub(untouched);
        self.echo_once(&mut crowd)?;
        let after_a_message = settled_memory(server)?.saturating_sub(scraped);
        let each = |memory: u64| memory.saturating_sub(before) as f64 / self.connections as f64;
        Ok(IdleMemory {
            untouched: each(untouched),
            after_a_message: each(after_a_message),
            scrape,
        })
    }

    /// One message and its reply on each connection.
    fn echo_once(self, crowd: &mut Crowd) -> Result<(), Failure> {
        let mut shape = Shape::new("echo", self.payload_bytes);
        let mut masks = Masks::new(1);
        let tag = |owner| Tag { owner: owner as u32, slot: 0, sequence: 0, sent_ns: 0 };
        let count = crowd.clients.len();
        let (mut sent, mut replied) = (0, vec![false; count]);
        let mut replies = 0;
        let mut frame = Vec::new();
        let until = Instant::now() + DRAIN_TIMEOUT + Duration::from_millis(count as u64);
        while replies < count {
            while sent < count && sent - replies < ROUND_STEP {
                frame.clear();
                frame::append_client_text(&mut frame, shape.write(tag(sent)), masks.next());
                crowd.send(sent, &frame)?;
                sent += 1;
            }
            let Crowd { poll, events, clients, scratch, .. } = &mut *crowd;
            poll.poll(events, Some(Duration::from_millis(100)))?;
            for event in &*events {
                let owner = event.token().0;
                clients[owner].ready(event, scratch, |message, _| {
                    if shape.read(message) != Some(tag(owner)) || replied[owner] {
                        return Err(Failure::Foreign(
                            String::from_utf8_lossy(message).into_owned(),
                        ));
                    }
                    replied[owner] = true;
                    replies += 1;
                    Ok(())
                })?;
            }
            if Instant::now() > until {
                return Err(Failure::Stuck("replies", (count - replies) as u64));
            }
        }
        Ok(())
    }
}

/// Waits until the memory stands still, at most [`SETTLE_TIMEOUT`].
fn settled_memory(server: &ServerProcess) -> Result<u64, Failure> {
    let until = Instant::now() + SETTLE_TIMEOUT;
    let mut before = server.user_memory_bytes()?;
    loop {
        thread::sleep(SETTLE_STEP);
        let now = server.user_memory_bytes()?;
        if now.abs_diff(before) < SETTLED_BYTES || Instant::now() > until {
            return Ok(now);
        }
        before = now;
    }
}

/// Takes `/metrics` once and says how long it took.
fn scrape(admin: SocketAddr) -> Result<Duration, Failure> {
    let begun = Instant::now();
    admin::metrics(admin)?;
    Ok(begun.elapsed())
}
