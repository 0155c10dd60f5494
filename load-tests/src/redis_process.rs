//! A Redis of a scenario's own: the real `redis-server`, to be killed, frozen and started again.
//!
//! ```text
//! start --PONG--> running --kill--> away --restart--> running, empty
//!                    \------freeze----> silent --thaw--> running, as it was
//! ```
//!
//! In:  the program `redis-server` on the path. Out: its url and its process id.
//!
//! Holds always: it listens on loopback only and writes nothing down; the child is gone when its
//! [`RedisProcess`] is, on every path.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::{self, Signal};
use tempfile::TempDir;

use crate::{affinity::Cores, failure::Failure, server_process::pid_of};

/// Below the ports that the system takes for itself: while the server is away, nobody else's
/// connection sits on its port.
const PORTS: Range<u16> = 10_000..32_000;

const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Another process may take the port between the look and the start.
const ATTEMPTS: usize = 10;

/// A running server, or one that is away.
#[derive(Debug)]
pub(crate) struct RedisProcess {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
    cores: Cores,
}

impl RedisProcess {
    /// Starts one on the server's core; returns when it answers.
    pub(crate) fn start(cores: Cores) -> Result<Self, Failure> {
        for _ in 0..ATTEMPTS {
            let folder = tempfile::tempdir()?;
            let address = free_address();
            let child = spawn(address, &folder, cores)?;
            let mut redis = Self { child, address, folder, cores };
            if redis.answers()? {
                return Ok(redis);
            }
        }
        Err(Failure::Usage(format!("no redis-server came up in {ATTEMPTS} attempts")))
    }

    /// As `[store] url` names it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Its process, for [`crate::proc_stats`].
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// The same server again, on the same port, and empty; returns when it answers.
    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        self.child = spawn(self.address, &self.folder, self.cores)?;
        if self.answers()? {
            return Ok(());
        }
        Err(Failure::Usage("the redis-server did not come back on its port".to_owned()))
    }

    /// SIGSTOP: it keeps its sockets and says nothing.
    pub(crate) fn freeze(&self) -> Result<(), Failure> {
        Ok(signal::kill(pid_of(&self.child), Signal::SIGSTOP)?)
    }

    /// SIGCONT: it goes on where it was.
    pub(crate) fn thaw(&self) -> Result<(), Failure> {
        Ok(signal::kill(pid_of(&self.child), Signal::SIGCONT)?)
    }

    /// Whether it answers before it ends or the time is over.
    fn answers(&mut self) -> io::Result<bool> {
        let until = Instant::now() + START_TIMEOUT;
        while Instant::now() < until {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if ping(self.address).is_ok_and(|answer| &answer == b"+PONG\r\n") {
                // Not the answer of another server that had the port before.
                return Ok(self.child.try_wait()?.is_none());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(false)
    }
}

impl Drop for RedisProcess {
    fn drop(&mut self) {
        // A frozen process is killed like any other; one that is gone only reports that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(address: SocketAddr, folder: &TempDir, cores: Cores) -> Result<Child, Failure> {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &address.port().to_string(), "--bind", &address.ip().to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    cores.on_server_core(|| command.spawn())?.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            let text = "no redis-server on the path: scenarios of several nodes start their own";
            return Failure::Usage(text.to_owned());
        }
        Failure::Io(error)
    })
}

fn free_address() -> SocketAddr {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let among = u64::from(PORTS.end - PORTS.start);
        // The rest of a division by a u16 is one.
        let port = PORTS.start + (random % among) as u16;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn ping(address: SocketAddr) -> io::Result<[u8; 7]> {
    let timeout = Duration::from_millis(500);
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_silent_while_it_is_frozen_and_comes_back_on_its_port() {
        let mut redis = RedisProcess::start(Cores::none()).expect("redis-server");
        let url = redis.url();
        redis.freeze().expect("a signal");
        ping(redis.address).expect_err("it is frozen");
        redis.thaw().expect("a signal");
        ping(redis.address).expect("it goes on");
        redis.kill().expect("a signal");
        ping(redis.address).expect_err("it is gone");
        redis.restart().expect("it comes back");
        ping(redis.address).expect("it is back");
        assert_eq!(redis.url(), url);
    }
}
