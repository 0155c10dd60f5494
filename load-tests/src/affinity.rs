//! Which core does what: the server on one, the generator on another.
//!
//! A child process inherits the affinity of the thread that starts it. So the generator
//! stands on the server's core while it starts the server, and then goes back. The server
//! sees one processor from its first instruction on, and starts one thread for it.

use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// The two cores; none of it where the machine has only one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores(Option<Pair>);

#[derive(Debug, Clone, Copy)]
struct Pair {
    server: usize,
    generator: usize,
}

impl Cores {
    /// Takes the first and the last core this process may use, and moves the generator
    /// (this thread, and threads it starts from now on) to the last.
    pub(crate) fn take() -> Result<Self, Errno> {
        let allowed = sched_getaffinity(this_thread())?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
        let pair = match (cores.next(), cores.next_back()) {
            (Some(server), Some(generator)) => Some(Pair { server, generator }),
            _ => None,
        };
        if let Some(pair) = pair {
            move_to(pair.generator)?;
        }
        Ok(Self(pair))
    }

    /// Pins nothing.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Runs `start` on the server's core.
    pub(crate) fn on_server_core<T>(self, start: impl FnOnce() -> T) -> Result<T, Errno> {
        let Some(pair) = self.0 else { return Ok(start()) };
        move_to(pair.server)?;
        let started = start();
        move_to(pair.generator)?;
        Ok(started)
    }

    /// Where the generator is, for what belongs to it and is started by the server.
    pub(crate) fn generator(self) -> Option<usize> {
        self.0.map(|pair| pair.generator)
    }

    /// For the head of the report.
    pub(crate) fn describe(self) -> String {
        match self.0 {
            Some(pair) => {
                format!("server on core {}, generator on {}", pair.server, pair.generator)
            }
            None => "one core for server and generator: no figure here compares".to_owned(),
        }
    }
}

fn this_thread() -> Pid {
    Pid::from_raw(0)
}

/// Puts this thread, and those that it starts from now on, on `core`.
pub(crate) fn move_to(core: usize) -> Result<(), Errno> {
    let mut only = CpuSet::new();
    only.set(core)?;
    sched_setaffinity(this_thread(), &only)
}
