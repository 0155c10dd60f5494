//! What workers print, as lines of the log.
//!
//! In:  a worker's stdout and stderr.
//! Out: events of the target `function`, with the fields `function`, `worker` and `line`: stdout's
//! at the level info, stderr's at warn.
//!
//! Holds always: the pipe is read until it ends, so that printing never blocks a worker; a line is
//! held up to [`MAX_LINE_BYTES`]; no more than [`MAX_LINES`] lines and [`MAX_LOGGED_BYTES`] of one
//! pipe are logged in a second, and how many were dropped is said; a line has no control
//! characters.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The rest of a longer line is dropped. 64 KiB.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Lines of one pipe that are logged in a second.
const MAX_LINES: u64 = 20_000;

/// Bytes of one pipe that are logged in a second. 4 MiB.
const MAX_LOGGED_BYTES: usize = 4 * 1024 * 1024;

/// Which of a worker's two pipes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pipe {
    Stdout,
    Stderr,
}

/// Reads `pipe` to its end.
pub(super) async fn forward(
    mut from: impl AsyncRead + Unpin,
    pipe: Pipe,
    function: Arc<str>,
    worker: u64,
) {
    let mut buffer = vec![0; 8 * 1024];
    let mut lines = Lines::default();
    let mut budget = Budget::new(Instant::now());
    loop {
        // A pipe that cannot be read has ended.
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let now = Instant::now();
        let mut log = |line: &[u8]| {
            if let Some(dropped) = budget.renew(now) {
                say_dropped(&function, worker, dropped);
            }
            if budget.take(line.len()) {
                log_line(pipe, &function, worker, line);
            }
        };
        if read == 0 {
            lines.finish(&mut log);
            if budget.dropped > 0 {
                say_dropped(&function, worker, budget.dropped);
            }
            return;
        }
        lines.feed(&buffer[..read], &mut log);
        // A worker that prints without end must not keep the thread from the other workers.
        tokio::task::yield_now().await;
    }
}

fn log_line(pipe: Pipe, function: &str, worker: u64, line: &[u8]) {
    let line = printable(line);
    match pipe {
        Pipe::Stdout => tracing::info!(target: "function", function, worker, %line, "output"),
        Pipe::Stderr => tracing::warn!(target: "function", function, worker, %line, "output"),
    }
}

fn say_dropped(function: &str, worker: u64, lines: u64) {
    tracing::warn!(target: "function", function, worker, lines, "output dropped: too much of it");
}

/// What a terminal or a log file can take.
fn printable(line: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(line);
    let is_harmful = |c: char| c.is_control() && c != '\t';
    if !text.contains(is_harmful) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// Parts a stream into lines. A carriage return ends one too: Python's runtime client prints a
/// stack trace as one record with these in between. Empty lines are left out.
#[derive(Default)]
struct Lines {
    /// The line so far, at most [`MAX_LINE_BYTES`] of it.
    begun: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], log: &mut impl FnMut(&[u8])) {
        let mut pieces = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).peekable();
        while let Some(piece) = pieces.next() {
            let ends = pieces.peek().is_some();
            if ends && self.begun.is_empty() {
                if !piece.is_empty() {
                    log(&piece[..piece.len().min(MAX_LINE_BYTES)]);
                }
                continue;
            }
            let room = MAX_LINE_BYTES - self.begun.len();
            self.begun.extend_from_slice(&piece[..piece.len().min(room)]);
            if ends {
                self.finish(log);
            }
        }
    }

    /// The line so far is whole.
    fn finish(&mut self, log: &mut impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            log(&self.begun);
            self.begun.clear();
            self.begun.shrink_to(1024);
        }
    }
}

/// What may be logged in the present second.
struct Budget {
    since: Instant,
    lines: u64,
    bytes: usize,
    dropped: u64,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { since: now, lines: MAX_LINES, bytes: MAX_LOGGED_BYTES, dropped: 0 }
    }

    /// Starts a second when the last is over. How many lines that one dropped, if any.
    fn renew(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) < Duration::from_secs(1) {
            return None;
        }
        let dropped = self.dropped;
        *self = Self::new(now);
        (dropped > 0).then_some(dropped)
    }

    fn take(&mut self, bytes: usize) -> bool {
        if self.lines == 0 || self.bytes < bytes {
            self.dropped += 1;
            return false;
        }
        self.lines -= 1;
        self.bytes -= bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `chunks`, then of what is left at the end.
    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.feed(chunk, &mut |line| seen.push(line.to_vec()));
        }
        lines.finish(&mut |line| seen.push(line.to_vec()));
        seen
    }

    #[test]
    fn lines_are_found_however_the_pipe_cuts_them() {
        let text = b"one\ntwo\r\n\nthree\rfour";
        let whole = lines(&[text]);
        assert_eq!(whole, [&b"one"[..], b"two", b"three", b"four"]);
        for at in 0..text.len() {
            let (left, right) = text.split_at(at);
            assert_eq!(lines(&[left, right]), whole, "cut at {at}");
        }
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; MAX_LINE_BYTES + 10];
        for chunks in [&[&long[..], b"\nnext\n"][..], &[&[&long[..], b"\nnext\n"].concat()[..]]] {
            let seen = lines(chunks);
            assert_eq!(seen.len(), 2);
            assert_eq!(seen[0].len(), MAX_LINE_BYTES);
            assert_eq!(seen[1], b"next");
        }
    }

    #[test]
    fn a_line_cannot_drive_a_terminal() {
        assert_eq!(printable(b"a\tb \x1b[31mred\x07"), "a\tb \\u{1b}[31mred\\u{7}");
        assert_eq!(printable("gr\u{fc}n".as_bytes()), "gr\u{fc}n");
        assert_eq!(printable(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn a_flood_is_cut_for_the_second_and_counted() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let taken = (0..MAX_LINES + 5).filter(|_| budget.take(1)).count() as u64;
        assert_eq!(taken, MAX_LINES);
        assert_eq!(budget.renew(start + Duration::from_millis(999)), None);
        assert_eq!(budget.renew(start + Duration::from_secs(1)), Some(5));
        assert!(budget.take(MAX_LOGGED_BYTES));
        assert!(!budget.take(1));
    }
}
