//! `handshake`: connect, upgrade, close, again. A unit is the whole of it, from the SYN to
//! the server's answer; the client then closes the TCP connection without a close frame.
//!
//! Holds always: a connection counts only if it was answered 101 with the right accept key.

use std::time::Duration;

use mio::{Registry, Token};

use crate::{
    client::Client,
    crowd::{Crowd, Sources},
    failure::Failure,
    meter::{Measured, Meter, Phase},
    server_process::ServerProcess,
};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handshakes {
    /// Upgrades under way at once.
    pub(crate) at_once: usize,
    /// Length of the measured part.
    pub(crate) length: Duration,
}

/// One upgrade, and since when.
struct Attempt {
    client: Client,
    begun_ns: u64,
}

impl Handshakes {
    /// Runs it against `server`.
    pub(crate) fn run(self, server: &ServerProcess) -> Result<Measured, Failure> {
        let Crowd { mut poll, mut events, mut sources, mut scratch, .. } = Crowd::new()?;
        let begin = |slot, begun_ns, registry: &Registry, sources: &mut Sources| {
            let client = Client::connect(server.address, sources.next(), registry, Token(slot))?;
            Ok::<_, Failure>(Some(Attempt { client, begun_ns }))
        };
        let mut meter = Meter::start(server.processes(), self.length);
        let mut attempts = (0..self.at_once)
            .map(|slot| begin(slot, meter.now_ns(), poll.registry(), &mut sources))
            .collect::<Result<Vec<_>, _>>()?;
        let mut under_way = attempts.len();
        loop {
            match meter.tick()? {
                Phase::Draining if under_way == 0 => break,
                Phase::OutOfTime => return Err(Failure::Stuck("upgrades", under_way as u64)),
                _ => {}
            }
            poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                let slot = event.token().0;
                let Some(attempt) = &mut attempts[slot] else { continue };
                attempt.client.ready(event, &mut scratch, |message, _| {
                    Err(Failure::Unasked(String::from_utf8_lossy(message).into_owned()))
                })?;
                if !attempt.client.is_open() {
                    continue;
                }
                let now_ns = meter.now_ns();
                meter.unit(now_ns - attempt.begun_ns);
                // Dropping the client closes its socket.
                attempts[slot] = None;
                if meter.loading() {
                    attempts[slot] = begin(slot, now_ns, poll.registry(), &mut sources)?;
                } else {
                    under_way -= 1;
                }
            }
        }
        Ok(meter.finish())
    }
}
