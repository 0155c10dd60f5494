//! A thread with a table of descriptors of its own, so that a generator may hold more sockets than
//! one process may have.
//!
//! ```text
//! caller --begin(job)--> thread: job(&mut state), one after the other --end--> result
//! ```
//!
//! The limit counts per table, and a thread may leave its process's table (`unshare(2)`,
//! CLONE_FILES). What it opens from then on is its alone, and closed with it.
//!
//! Holds always: the state is made, used and dropped on its thread; jobs run in the order they
//! were begun.

use std::{
    sync::mpsc::{self, Receiver, Sender, TryRecvError},
    thread::{self, JoinHandle},
};

use nix::sched::{CloneFlags, unshare};

use crate::failure::Failure;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// The thread, and the state on it.
#[derive(Debug)]
pub(crate) struct OwnDescriptors<S> {
    jobs: Option<Sender<Job<S>>>,
    thread: Option<JoinHandle<()>>,
}

/// A job that was begun.
#[derive(Debug)]
pub(crate) struct Begun<T>(Receiver<Result<T, Failure>>);

impl<S: 'static> OwnDescriptors<S> {
    /// Starts the thread and makes the state there.
    pub(crate) fn start(
        make: impl FnOnce() -> Result<S, Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let (jobs, waiting) = mpsc::channel::<Job<S>>();
        let (made, is_made) = mpsc::channel();
        let thread = thread::spawn(move || {
            let state = unshare(CloneFlags::CLONE_FILES).map_err(Failure::System);
            let mut state = match state.and_then(|()| make()) {
                Ok(state) => state,
                Err(failure) => return drop(made.send(Err(failure))),
            };
            // Whoever started it waits.
            let _ = made.send(Ok(()));
            while let Ok(job) = waiting.recv() {
                job(&mut state);
            }
        });
        let started = Self { jobs: Some(jobs), thread: Some(thread) };
        is_made.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(started)
    }

    /// Has the thread do `job` when those before are done.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> Result<T, Failure> + Send + 'static,
    ) -> Begun<T> {
        let (done, is_done) = mpsc::channel();
        let job = Box::new(move |state: &mut S| drop(done.send(job(state))));
        // Where the thread is gone, `is_done` says so.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
        Begun(is_done)
    }
}

impl<T> Begun<T> {
    /// Waits for the job's end.
    pub(crate) fn end(self) -> Result<T, Failure> {
        self.0.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// The job's result, where it has ended.
    pub(crate) fn has_ended(&self) -> Option<Result<T, Failure>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(ended())),
        }
    }
}

fn ended() -> Failure {
    Failure::Usage("a thread of the generator has ended".to_owned())
}

impl<S> Drop for OwnDescriptors<S> {
    fn drop(&mut self) {
        self.jobs = None;
        // A panic there has shown itself already, as a job without a result.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs::File, os::fd::AsRawFd as _};

    use super::*;

    #[test]
    fn the_same_number_is_another_file_on_each_thread() {
        let open =
            || Ok((0..64).map(|_| File::open("/dev/null")).collect::<Result<Vec<_>, _>>()?);
        let threads = [(); 2].map(|()| OwnDescriptors::start(open).expect("a thread"));
        let [first, second] = threads.each_ref().map(|thread| {
            let numbers = thread.begin(|files: &mut Vec<File>| {
                Ok(files.iter().map(File::as_raw_fd).collect::<HashSet<_>>())
            });
            numbers.end().expect("numbers")
        });
        assert!(!first.is_disjoint(&second), "in one table no number stands for two files");
    }

    #[test]
    fn a_failure_on_the_thread_is_told() {
        let failed = OwnDescriptors::<()>::start(|| Err(Failure::Usage("no".to_owned())));
        assert_eq!(failed.err().map(|failure| failure.to_string()), Some("no".to_owned()));
        let thread = OwnDescriptors::start(|| Ok(0)).expect("a thread");
        let job = thread.begin(|count| -> Result<(), _> {
            *count += 1;
            Err(Failure::Usage(format!("at {count}")))
        });
        assert_eq!(job.end().expect_err("it failed").to_string(), "at 1");
    }
}
