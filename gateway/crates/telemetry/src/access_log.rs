//! Access log files, written by a thread of their own.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use prometheus::IntCounter;
use tracing::warn;

/// Lines that may wait for the disk; more are dropped and counted, so that a full disk costs log
/// lines and not connections.
const WAITING_LINES: usize = 8192;

/// Why an access log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("open the access log {path}")]
pub struct AccessLogError {
    path: String,
    #[source]
    source: io::Error,
}

enum Order {
    Line(String),
    Reopen,
}

/// One access log file. Clones write to the same file; when the last one is dropped, what waits
/// is written and the file closed.
#[derive(Clone)]
pub struct AccessLog {
    orders: SyncSender<Order>,
    dropped: IntCounter,
}

impl AccessLog {
    /// Opens `path` for appending and starts its writer. `dropped` counts lines that were lost.
    pub fn open(path: &Path, dropped: IntCounter) -> Result<Self, AccessLogError> {
        let file = append_to(path)
            .map_err(|source| AccessLogError { path: path.display().to_string(), source })?;
        let (orders, inbox) = sync_channel(WAITING_LINES);
        let owned = path.to_owned();
        let lost = dropped.clone();
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&inbox, file, &owned, &lost))
            .map_err(|source| AccessLogError { path: path.display().to_string(), source })?;
        Ok(Self { orders, dropped })
    }

    /// Appends one line; the line break is added. Never blocks.
    pub fn write(&self, line: String) {
        if self.orders.try_send(Order::Line(line)).is_err() {
            self.dropped.inc();
        }
    }

    /// Opens the file anew, as `logrotate` wants it after it has moved the old one away.
    pub fn reopen(&self) {
        let _ = self.orders.try_send(Order::Reopen);
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write_lines(inbox: &Receiver<Order>, file: File, path: &Path, lost: &IntCounter) {
    let mut out = io::BufWriter::new(file);
    loop {
        // Lines reach the file when nothing more is waiting, so a busy log costs few writes and a
        // quiet one is up to date.
        let order = match inbox.try_recv() {
            Ok(order) => order,
            Err(_) => {
                flush(&mut out, path);
                match inbox.recv_timeout(Duration::from_secs(3600)) {
                    Ok(order) => order,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        match order {
            Order::Line(mut line) => {
                line.push('\n');
                if let Err(err) = out.write_all(line.as_bytes()) {
                    lost.inc();
                    warn!(path = %path.display(), error = %err, "access log write failed");
                }
            }
            Order::Reopen => {
                flush(&mut out, path);
                match append_to(path) {
                    Ok(file) => out = io::BufWriter::new(file),
                    Err(err) => {
                        warn!(path = %path.display(), error = %err, "access log reopen failed");
                    }
                }
            }
        }
    }
}

fn flush(out: &mut io::BufWriter<File>, path: &Path) {
    if let Err(err) = out.flush() {
        warn!(path = %path.display(), error = %err, "access log write failed");
    }
}
