//! `post`: posters with one keep-alive connection each post to WebSocket clients, in turn,
//! the next post when the last is answered, or at a rate; every client reads what it gets. The
//! posters may ask another node than the clients'.
//!
//! Holds always: a client gets just the messages posted to it that were answered 200, each
//! once, those of one poster in the order they were posted in.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use crate::{
    crowd::Crowd,
    failure::Failure,
    histogram::Histogram,
    message::{Shape, Tag},
    meter::{Measured, Meter, Phase, Processes},
    pace::Pace,
    poster::Poster,
};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posts {
    /// Connections that post, at most 256.
    pub(crate) posters: usize,
    /// Clients that are posted to.
    pub(crate) connections: usize,
    /// Length of each message.
    pub(crate) payload_bytes: usize,
    /// Length of the measured part.
    pub(crate) length: Duration,
    /// Posts in a second that begin, whatever becomes of those before; each poster's next when
    /// the last is answered, where there is no rate.
    pub(crate) rate: Option<f64>,
}

/// The figures: of the posts and their answers, and of the deliveries.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) measured: Measured,
    pub(crate) delivery: Histogram,
}

/// What one client must get and has got.
struct Receiver {
    /// A whole request head for it, of fixed body length.
    request_head: Vec<u8>,
    /// Posts to it that were answered 200.
    accepted: u64,
    received: u64,
    /// The next sequence of each poster that may come is at least this.
    expected: Vec<u32>,
}

impl Receiver {
    /// Counts one message, unless it is foreign, doubled or out of order.
    fn takes(&mut self, own: usize, tag: Tag) -> bool {
        let Some(expected) = self.expected.get_mut(usize::from(tag.slot)) else { return false };
        if tag.owner as usize != own || tag.sequence < *expected {
            return false;
        }
        *expected = tag.sequence + 1;
        self.received += 1;
        true
    }
}

/// One poster and where it stands.
struct Turn {
    poster: Poster,
    /// Of its next post.
    sequence: u32,
    /// Whom the post under way is for, and since when; `None` at the end of the run.
    under_way: Option<(usize, u64)>,
}

impl Turn {
    /// Posts to the client that is next, as of `sent_ns`.
    fn post(
        &mut self,
        index: usize,
        receivers: &[Receiver],
        shape: &mut Shape,
        request: &mut Vec<u8>,
        sent_ns: u64,
    ) -> Result<(), Failure> {
        let to = (index + self.sequence as usize) % receivers.len();
        let tag = Tag { owner: to as u32, slot: index as u8, sequence: self.sequence, sent_ns };
        request.clear();
        request.extend_from_slice(&receivers[to].request_head);
        request.extend_from_slice(shape.write(tag));
        self.poster.post(request)?;
        self.sequence += 1;
        self.under_way = Some((to, sent_ns));
        Ok(())
    }
}

impl Posts {
    /// Connects the clients to the node at `clients_of`, and posts to them through the one at
    /// `through`, which may be the same.
    pub(crate) fn run(
        self,
        clients_of: SocketAddr,
        through: SocketAddr,
        processes: Processes,
    ) -> Result<Posted, Failure> {
        let mut crowd = Crowd::new()?;
        crowd.grow_to(clients_of, self.connections)?;
        let mut shape = Shape::new("post", self.payload_bytes);
        let mut receivers = Self::learn_ids(&mut crowd)?
            .iter()
            .map(|id| self.receiver(through, id, shape.payload_bytes()))
            .collect::<Vec<_>>();

        let mut meter = Meter::start(processes, self.length);
        let mut delivery = Histogram::default();
        let mut turns = (0..self.posters)
            .map(|index| {
                let token = self.connections + index;
                let poster = Poster::connect(through, token, &mut crowd)?;
                Ok(Turn { poster, sequence: 0, under_way: None })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let mut pace = self.rate.map(|rate| Pace::new(rate, meter.now_ns()));
        // Posters that wait for something to be due.
        let mut free = VecDeque::new();
        let mut request = Vec::new();
        let Crowd { poll, events, clients, scratch, .. } = &mut crowd;
        loop {
            match meter.tick()? {
                Phase::Draining if is_all_delivered(&turns, &receivers) => break,
                Phase::OutOfTime => return Err(missing(&turns, &receivers)),
                _ => {}
            }
            let longest = Duration::from_millis(100);
            let idle = pace.filter(|_| meter.loading() && !free.is_empty());
            let idle = idle.map_or(longest, |pace| pace.idle(meter.now_ns()).min(longest));
            poll.poll(events, Some(idle))?;
            for event in &*events {
                let token = event.token().0;
                let now_ns = meter.now_ns();
                if let Some(client) = clients.get_mut(token) {
                    client.ready(event, scratch, |message, _| {
                        let tag = shape.read(message);
                        let tag = tag.filter(|tag| receivers[token].takes(token, *tag));
                        let Some(tag) = tag else {
                            let text = String::from_utf8_lossy(message).into_owned();
                            return Err(Failure::Foreign(text));
                        };
                        if meter.measuring() {
                            delivery.record(now_ns.saturating_sub(tag.sent_ns));
                        }
                        Ok(())
                    })?;
                    continue;
                }
                let index = token - self.connections;
                let turn = &mut turns[index];
                let may_post = match turn.under_way {
                    // The first event of a poster says that it is connected.
                    None => event.is_writable() && turn.sequence == 0,
                    Some((to, sent_ns)) => {
                        let answer = turn.poster.read_answer(scratch)?;
                        let is_answered = answer.is_some();
                        if let Some(answer) = answer {
                            answer.accepted()?;
                            receivers[to].accepted += 1;
                            meter.unit(now_ns.saturating_sub(sent_ns));
                            turn.under_way = None;
                        }
                        is_answered
                    }
                };
                if may_post && pace.is_some() {
                    if !free.contains(&index) {
                        free.push_back(index);
                    }
                } else if may_post && meter.loading() {
                    turn.post(index, &receivers, &mut shape, &mut request, now_ns)?;
                }
            }
            while let Some(pace) = pace.as_mut().filter(|_| meter.loading() && !free.is_empty())
                && let Some(due_ns) = pace.due(meter.now_ns())
                && let Some(index) = free.pop_front()
            {
                turns[index].post(index, &receivers, &mut shape, &mut request, due_ns)?;
            }
        }
        Ok(Posted { measured: meter.finish(), delivery })
    }

    fn receiver(self, through: SocketAddr, id: &str, payload_bytes: usize) -> Receiver {
        // As the SDKs write it: an id is one path segment, its `=` escaped.
        let id = id.replace('=', "%3D");
        let request_head = format!(
            "POST /s/@connections/{id} HTTP/1.1\r\nHost: {through}\r\n\
             Content-Length: {payload_bytes}\r\n\r\n"
        );
        Receiver {
            request_head: request_head.into_bytes(),
            accepted: 0,
            received: 0,
            expected: vec![0; self.posters],
        }
    }

    /// Asks for each client's connection id, by the route that answers it.
    fn learn_ids(crowd: &mut Crowd) -> Result<Vec<String>, Failure> {
        let ids = crowd.ask_each(br#"{"action":"id"}"#)?;
        let of_ids = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
        match ids.iter().find(|id| id.is_empty() || !id.bytes().all(of_ids)) {
            Some(other) => Err(Failure::Unasked(other.clone())),
            None => Ok(ids),
        }
    }
}

fn is_all_delivered(turns: &[Turn], receivers: &[Receiver]) -> bool {
    turns.iter().all(|turn| turn.under_way.is_none())
        && receivers.iter().all(|receiver| receiver.received == receiver.accepted)
}

fn missing(turns: &[Turn], receivers: &[Receiver]) -> Failure {
    let unanswered = turns.iter().filter(|turn| turn.under_way.is_some()).count();
    if unanswered > 0 {
        return Failure::Stuck("answers to posts", unanswered as u64);
    }
    let sum = |of: fn(&Receiver) -> u64| receivers.iter().map(of).sum();
    Failure::Count {
        what: "posted messages that were delivered",
        got: sum(|receiver| receiver.received),
        expected: sum(|receiver| receiver.accepted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_takes_its_own_messages_once_and_in_each_posters_order() {
        let mut receiver =
            Receiver { request_head: Vec::new(), accepted: 0, received: 0, expected: vec![0; 2] };
        let tag = Tag { owner: 5, slot: 1, sequence: 3, sent_ns: 0 };
        assert!(receiver.takes(5, tag));
        assert!(!receiver.takes(5, tag), "doubled");
        assert!(!receiver.takes(5, Tag { sequence: 2, ..tag }), "out of order");
        assert!(!receiver.takes(6, Tag { sequence: 4, ..tag }), "another client's");
        assert!(!receiver.takes(5, Tag { slot: 2, ..tag }), "a poster that is not there");
        assert!(receiver.takes(5, Tag { slot: 0, sequence: 0, ..tag }), "another poster's first");
        assert_eq!(receiver.received, 2);
    }
}
