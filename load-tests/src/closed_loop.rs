//! `echo`, `pipelined`, `route` and `function`: each connection keeps a fixed number of messages under
//! way, and sends the next one when a reply has come.
//!
//! Holds always: a reply is taken only by the connection and for the message it was sent
//! for, once; every message has had its reply when the run is over.

use std::time::Duration;

use crate::{
    crowd::Crowd,
    failure::Failure,
    frame::{self, Masks},
    message::{Shape, Tag},
    meter::{Measured, Meter, Phase},
    server_process::ServerProcess,
};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClosedLoop {
    /// What route selection reads: `route` goes to the backend, `local` to the worker, all else
    /// is echoed.
    pub(crate) action: &'static str,
    /// Clients.
    pub(crate) connections: usize,
    /// Messages under way per client, at most 256.
    pub(crate) depth: usize,
    /// Length of each message.
    pub(crate) payload_bytes: usize,
    /// Length of the measured part.
    pub(crate) length: Duration,
}

/// The figures, and how many messages had their replies in the whole run.
#[derive(Debug)]
pub(crate) struct Looped {
    pub(crate) measured: Measured,
    pub(crate) replies: u64,
}

/// The messages under way, by connection and slot.
struct InFlight {
    /// `connections * depth`; `None` where the slot rests.
    slots: Vec<Option<Tag>>,
    depth: usize,
    count: u64,
    replies: u64,
}

impl InFlight {
    /// Notes the slot's next message.
    fn begin(&mut self, owner: usize, slot: usize, sequence: u32, sent_ns: u64) -> Tag {
        let tag = Tag { owner: owner as u32, slot: slot as u8, sequence, sent_ns };
        self.slots[owner * self.depth + slot] = Some(tag);
        self.count += 1;
        tag
    }

    /// Takes the reply with `tag` off, if `owner` waits for just that.
    fn end(&mut self, owner: usize, tag: Tag) -> bool {
        let slot = usize::from(tag.slot);
        let awaited = slot < self.depth && self.slots[owner * self.depth + slot] == Some(tag);
        if awaited {
            self.slots[owner * self.depth + slot] = None;
            self.count -= 1;
            self.replies += 1;
        }
        awaited
    }
}

impl ClosedLoop {
    /// Runs it against `server`.
    pub(crate) fn run(self, server: &ServerProcess) -> Result<Looped, Failure> {
        let mut crowd = Crowd::new()?;
        crowd.grow_to(server.address, self.connections)?;

        let mut shape = Shape::new(self.action, self.payload_bytes);
        let mut masks = Masks::new(1);
        let slots = vec![None; self.connections * self.depth];
        let mut under_way = InFlight { slots, depth: self.depth, count: 0, replies: 0 };
        let mut meter = Meter::start(server.processes(), self.length);
        for owner in 0..self.connections {
            let mut frames = Vec::new();
            for slot in 0..self.depth {
                let tag = under_way.begin(owner, slot, 0, meter.now_ns());
                frame::append_client_text(&mut frames, shape.write(tag), masks.next());
            }
            crowd.send(owner, &frames)?;
        }
        let Crowd { poll, events, clients, scratch, .. } = &mut crowd;
        loop {
            match meter.tick()? {
                Phase::Draining if under_way.count == 0 => break,
                Phase::OutOfTime => return Err(Failure::Stuck("replies", under_way.count)),
                _ => {}
            }
            poll.poll(events, Some(Duration::from_millis(100)))?;
            for event in &*events {
                let owner = event.token().0;
                // One reading of the clock per event: what it brings has come by now.
                let now_ns = meter.now_ns();
                clients[owner].ready(event, scratch, |message, out| {
                    let tag = shape.read(message).filter(|tag| under_way.end(owner, *tag));
                    let Some(tag) = tag else {
                        return Err(Failure::Foreign(
                            String::from_utf8_lossy(message).into_owned(),
                        ));
                    };
                    meter.unit(now_ns.saturating_sub(tag.sent_ns));
                    if meter.loading() {
                        let sequence = tag.sequence.wrapping_add(1);
                        let next = under_way.begin(owner, tag.slot.into(), sequence, now_ns);
                        frame::append_client_text(out, shape.write(next), masks.next());
                    }
                    Ok(())
                })?;
            }
        }
        Ok(Looped { measured: meter.finish(), replies: under_way.replies })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_its_own_message_once_and_no_other() {
        let mut under_way = InFlight { slots: vec![None; 4], depth: 2, count: 0, replies: 0 };
        let tag = under_way.begin(1, 1, 7, 100);
        assert!(!under_way.end(0, tag), "another connection got it");
        assert!(!under_way.end(1, Tag { sequence: 6, ..tag }), "an older message's reply");
        assert!(!under_way.end(1, Tag { slot: 0, ..tag }), "a slot that rests");
        assert!(!under_way.end(1, Tag { slot: 9, ..tag }), "a slot that is not there");
        assert!(under_way.end(1, tag));
        assert!(!under_way.end(1, tag), "the same reply twice");
        assert_eq!((under_way.count, under_way.replies), (0, 1));
    }
}
