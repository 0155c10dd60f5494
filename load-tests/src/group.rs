//! `group`: one poster sends a message to a group that all clients are members of, and the next
//! one when it has been answered and the last member has the message. A unit is one recipient.
//! The members may be on several nodes.
//!
//! Holds always: each member gets each message once, in the order of the sends; each send is
//! answered with as many recipients as there are members, on as many nodes as have some.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

use crate::{
    crowd::Crowd,
    failure::Failure,
    histogram::Histogram,
    message::{Shape, Tag},
    meter::{Measured, Meter, Phase, Processes},
    poster::Poster,
};

/// Sends before the measured part. Linux acknowledges the first 16 segments on a socket one by one
/// (`TCP_MAX_QUICKACKS`), and on loopback the sender's core pays for that.
const WARM_UP_SENDS: u64 = 20;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupSends {
    /// Clients in the group.
    pub(crate) members: usize,
    /// Length of each message.
    pub(crate) payload_bytes: usize,
    /// Length of the measured part.
    pub(crate) length: Duration,
}

/// The figures: of the deliveries, and of the last one of each send.
#[derive(Debug)]
pub(crate) struct GroupSent {
    pub(crate) measured: Measured,
    pub(crate) last_member: Histogram,
    /// Sends in the whole run.
    pub(crate) sends: u32,
}

/// The send that is under way.
struct Send {
    tag: Tag,
    /// Who has its message, by member.
    has_it: Vec<bool>,
    deliveries: usize,
    is_answered: bool,
}

impl Send {
    /// Before the first one: whatever a member gets is foreign.
    fn none(members: usize) -> Self {
        let tag = Tag { owner: 0, slot: 0, sequence: 0, sent_ns: 0 };
        Self { tag, has_it: vec![true; members], deliveries: members, is_answered: true }
    }

    /// The next one begins; the last one must be complete.
    fn begin(&mut self, sent_ns: u64) -> Tag {
        self.tag = Tag { sequence: self.tag.sequence + 1, sent_ns, ..self.tag };
        self.has_it.fill(false);
        self.deliveries = 0;
        self.is_answered = false;
        self.tag
    }

    /// Whether `member` may get the message with `tag` now.
    fn delivers(&mut self, member: usize, tag: Tag) -> bool {
        if tag != self.tag || self.has_it[member] {
            return false;
        }
        self.has_it[member] = true;
        self.deliveries += 1;
        true
    }

    fn has_everyone(&self) -> bool {
        self.deliveries == self.has_it.len()
    }

    fn is_complete(&self) -> bool {
        self.is_answered && self.has_everyone()
    }
}

/// What a group send is answered.
#[derive(Deserialize)]
struct Counts {
    recipients: u64,
    /// The raw server does not say.
    nodes: Option<u64>,
}

impl GroupSends {
    /// Connects as many members to each of `nodes`, and sends to all through the first.
    pub(crate) fn run(
        self,
        nodes: &[SocketAddr],
        processes: Processes,
    ) -> Result<GroupSent, Failure> {
        let through = nodes[0];
        let mut crowd = Crowd::new()?;
        for (index, node) in nodes.iter().enumerate() {
            crowd.grow_to(*node, self.members * (index + 1) / nodes.len())?;
        }
        let answers = crowd.ask_each(br#"{"action":"join"}"#)?;
        if let Some(other) = answers.into_iter().find(|answer| answer != "joined") {
            return Err(Failure::Unasked(other));
        }

        let mut shape = Shape::new("group", self.payload_bytes);
        let request_head = format!(
            "POST /s/@groups/room HTTP/1.1\r\nHost: {through}\r\nContent-Length: {}\r\n\r\n",
            shape.payload_bytes()
        );
        let mut poster = Poster::connect(through, self.members, &mut crowd)?;
        let mut meter =
            Meter::start(processes, self.length).after_units(WARM_UP_SENDS * self.members as u64);
        let mut last_member = Histogram::default();
        let mut send = Send::none(self.members);
        let mut is_connected = false;
        let mut request = Vec::new();
        let Crowd { poll, events, clients, scratch, .. } = &mut crowd;
        loop {
            match meter.tick()? {
                Phase::Draining if send.is_complete() => break,
                Phase::OutOfTime => return Err(self.missing(&send)),
                _ => {}
            }
            poll.poll(events, Some(Duration::from_millis(100)))?;
            for event in &*events {
                let token = event.token().0;
                let now_ns = meter.now_ns();
                if let Some(client) = clients.get_mut(token) {
                    client.ready(event, scratch, |message, _| {
                        let tag = shape.read(message);
                        let Some(tag) = tag.filter(|tag| send.delivers(token, *tag)) else {
                            let text = String::from_utf8_lossy(message).into_owned();
                            return Err(Failure::Foreign(text));
                        };
                        let latency_ns = now_ns.saturating_sub(tag.sent_ns);
                        meter.unit(latency_ns);
                        if send.has_everyone() && meter.measuring() {
                            last_member.record(latency_ns);
                        }
                        Ok(())
                    })?;
                } else if !send.is_answered {
                    if let Some(answer) = poster.read_answer(scratch)? {
                        self.check(answer.accepted()?, nodes.len() as u64)?;
                        send.is_answered = true;
                    }
                } else {
                    // Its first event, when no send is under way yet.
                    is_connected |= event.is_writable();
                }
                if is_connected && send.is_complete() && meter.loading() {
                    request.clear();
                    request.extend_from_slice(request_head.as_bytes());
                    request.extend_from_slice(shape.write(send.begin(now_ns)));
                    poster.post(&request)?;
                }
            }
        }
        Ok(GroupSent { measured: meter.finish(), last_member, sends: send.tag.sequence })
    }

    fn check(self, answer: &[u8], nodes: u64) -> Result<(), Failure> {
        let members = self.members as u64;
        let is = |what, got, expected| {
            if got == expected { Ok(()) } else { Err(Failure::Count { what, got, expected }) }
        };
        match serde_json::from_slice(answer) {
            Ok(Counts { recipients, nodes: counted }) => {
                is("recipients of a group send", recipients, members)?;
                is("nodes of a group send", counted.unwrap_or(nodes), nodes.min(members))
            }
            Err(_) => Err(Failure::NoCounts(String::from_utf8_lossy(answer).into_owned())),
        }
    }

    fn missing(self, send: &Send) -> Failure {
        if send.has_everyone() {
            return Failure::Stuck("answers to group sends", 1);
        }
        let missing = self.members - send.deliveries;
        Failure::Stuck("members that get a message", missing as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_gets_the_message_of_the_send_under_way_once() {
        let mut send = Send::none(2);
        assert!(send.is_complete());
        assert!(!send.delivers(0, send.tag), "nothing was sent");
        let first = send.begin(100);
        assert!(send.delivers(0, first));
        assert!(!send.delivers(0, first), "doubled");
        assert!(!send.delivers(1, Tag { sent_ns: 99, ..first }), "altered");
        assert!(!send.has_everyone());
        assert!(send.delivers(1, first));
        assert!(!send.is_complete(), "the answer is still missing");
        send.is_answered = true;
        assert!(send.is_complete());
        let second = send.begin(200);
        assert!(!send.delivers(0, first), "the one before, again");
        assert!(send.delivers(0, second));
    }

    #[test]
    fn an_answer_must_count_every_member() {
        let sends = GroupSends { members: 3, payload_bytes: 64, length: Duration::ZERO };
        assert!(sends.check(br#"{"recipients": 3, "nodes": 1}"#, 1).is_ok());
        assert!(sends.check(br#"{"recipients": 3}"#, 1).is_ok());
        let error = sends.check(br#"{"recipients":2,"nodes":1}"#, 1).expect_err("one is missing");
        assert_eq!(error.to_string(), "recipients of a group send: 2, where 3 must be");
        let error = sends.check(br#"{"recipients":3,"nodes":1}"#, 2).expect_err("half a group");
        assert_eq!(error.to_string(), "nodes of a group send: 1, where 2 must be");
        let error = sends.check(b"", 1).expect_err("no counts");
        assert!(error.to_string().contains("counts"), "{error}");
    }
}
