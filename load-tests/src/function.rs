//! `function`: a local function of one worker echoes messages. The worker is this program
//! (see [`crate::worker`]), which knows how long it had each message.
//!
//! Holds always: the worker got as many events as there were replies, each once.

use crate::{
    closed_loop::ClosedLoop, crowd::Crowd, failure::Failure, meter::Measured,
    server_process::ServerProcess, worker::Times,
};

/// The figures: of the round trips, and of the worker's part in them.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) measured: Measured,
    pub(crate) worker: Times,
}

/// Runs `messages` against `server`, whose worker must be fresh.
pub(crate) fn run(messages: ClosedLoop, server: &ServerProcess) -> Result<Called, Failure> {
    let looped = messages.run(server)?;
    let mut crowd = Crowd::new()?;
    crowd.grow_to(server.address, 1)?;
    let answer = crowd.ask_each(br#"{"action":"times"}"#)?.concat();
    let worker: Times = serde_json::from_str(&answer).map_err(|_| Failure::NoTimes(answer))?;
    if worker.events != looped.replies {
        let what = "events that the worker got";
        return Err(Failure::Count { what, got: worker.events, expected: looped.replies });
    }
    Ok(Called { measured: looped.measured, worker })
}
