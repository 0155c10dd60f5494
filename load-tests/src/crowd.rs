//! Many open clients at once, and the loopback addresses they come from.
//!
//! In:  how many. Out: that many clients, each upgraded, registered under its index.
//!
//! Holds always: at most [`AT_ONCE`] upgrades are under way, so that neither the listener's
//! backlog nor `handshake_timeout_s` is what is measured.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};

use crate::{
    client::{Client, ClientError, SCRATCH_BYTES},
    failure::Failure,
    frame::{self, Masks},
};

const AT_ONCE: usize = 128;

/// An upgrade takes microseconds; a server that answers none for this long is stuck.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for a question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Gives each connection its source address. A loopback address has 28,000 ports towards one
/// listener, and a closed connection keeps its port for a minute.
#[derive(Debug, Default)]
pub(crate) struct Sources(u32);

impl Sources {
    const CONNECTIONS_EACH: u32 = 10_000;
    const ADDRESSES: u32 = 250;

    /// The source of the next connection: 127.0.0.1 to 127.0.0.250, in turn.
    pub(crate) fn next(&mut self) -> Ipv4Addr {
        let turn = self.0 / Self::CONNECTIONS_EACH % Self::ADDRESSES;
        self.0 = self.0.wrapping_add(1);
        Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + turn)
    }
}

/// Open clients and what polls them. Client `i` has token `i`.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    pub(crate) clients: Vec<Client>,
    pub(crate) sources: Sources,
    /// What every read goes through.
    pub(crate) scratch: Vec<u8>,
}

impl Crowd {
    /// A crowd of none.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            sources: Sources::default(),
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Adds clients until there are `count`, each of them open.
    pub(crate) fn grow_to(&mut self, server: SocketAddr, count: usize) -> Result<(), Failure> {
        let mut opening = 0;
        let mut progress_at = Instant::now();
        while opening > 0 || self.clients.len() < count {
            while opening < AT_ONCE && self.clients.len() < count {
                let token = Token(self.clients.len());
                let source = self.sources.next();
                let client = Client::connect(server, source, self.poll.registry(), token)?;
                self.clients.push(client);
                opening += 1;
            }
            self.poll.poll(&mut self.events, Some(Duration::from_millis(100)))?;
            for event in &self.events {
                let client = &mut self.clients[event.token().0];
                let was_open = client.is_open();
                client.ready(event, &mut self.scratch, |message, _| {
                    Err(Failure::Unasked(String::from_utf8_lossy(message).into_owned()))
                })?;
                if client.is_open() && !was_open {
                    opening -= 1;
                    progress_at = Instant::now();
                }
            }
            if progress_at.elapsed() > UPGRADE_TIMEOUT {
                return Err(Failure::Stuck("upgrades", opening as u64));
            }
        }
        Ok(())
    }

    /// Sends `message` from each client and gives what each is answered, in their order.
    pub(crate) fn ask_each(&mut self, message: &[u8]) -> Result<Vec<String>, Failure> {
        let mut masks = Masks::new(2);
        let mut answers: Vec<Option<String>> = vec![None; self.clients.len()];
        let mut frame = Vec::new();
        // One after another: nothing here is measured, and no backend is flooded.
        for asked in 0..answers.len() {
            frame.clear();
            frame::append_client_text(&mut frame, message, masks.next());
            self.send(asked, &frame)?;
            let until = Instant::now() + ANSWER_TIMEOUT;
            while answers[asked].is_none() {
                let Self { poll, events, clients, scratch, .. } = self;
                poll.poll(events, Some(Duration::from_millis(100)))?;
                for event in &*events {
                    let own = event.token().0;
                    clients[own].ready(event, scratch, |message, _| {
                        let text = String::from_utf8_lossy(message).into_owned();
                        if own != asked || answers[own].is_some() {
                            return Err(Failure::Unasked(text));
                        }
                        answers[own] = Some(text);
                        Ok(())
                    })?;
                }
                if answers[asked].is_none() && Instant::now() > until {
                    let missing = answers.len() - asked;
                    return Err(Failure::Stuck("answers to a question", missing as u64));
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Sends `frames` from client `index`.
    pub(crate) fn send(&mut self, index: usize, frames: &[u8]) -> Result<(), ClientError> {
        self.clients[index].send(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_move_on_before_an_addresss_ports_run_out() {
        let mut sources = Sources::default();
        let seen: Vec<_> = (0..20_001).map(|_| sources.next()).collect();
        assert_eq!(seen[0], Ipv4Addr::new(127, 0, 0, 1));
        assert_eq!(seen[9_999], Ipv4Addr::new(127, 0, 0, 1));
        assert_eq!(seen[10_000], Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(seen[20_000], Ipv4Addr::new(127, 0, 0, 3));
    }
}
