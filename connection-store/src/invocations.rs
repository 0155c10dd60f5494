//! The calls of the last minute, for the tasks of a whole process: an [`IdempotencyWindow`] for each
//! stage, and a way to wait for a call that is under way.
//!
//! In:  calls as they begin, and their answers.
//! Out: for each, the right to make it, its answer, or a future of that.
//!
//! Holds always: a call that was begun ends, by its answer or because its task was dropped, and
//! whoever waits for it hears of either. No lock is held over an await or while a task is woken.

use std::{
    future::Future,
    hash::Hash,
    mem,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use dashmap::DashMap;

use crate::{IdempotencyWindow, Known, Scope, Weighed, idempotency_window::Ticket};

/// How long an answer is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How much memory the calls of one stage take at most, answers and all: as much as those of
/// [`Invocations::DEFAULT_CAPACITY`] need whose answers hold nothing, or 12,000 batches of which all
/// connections are gone.
const MAX_BYTES: NonZeroUsize = NonZeroUsize::new(16 << 20).expect("it is not zero");

type Windows<A> = DashMap<Scope, IdempotencyWindow<A, Arc<Flight<A>>>>;

/// What has been called in the last minute, for each stage apart. `A` is an answer. A clone is the same
/// memory.
#[derive(Clone)]
pub struct Invocations<A> {
    windows: Arc<Windows<A>>,
    capacity: NonZeroUsize,
}

/// What to do about a call.
pub enum Begun<A: Clone + Weighed> {
    /// Make it.
    New(Invocation<A>),
    /// Wait for whoever is making it.
    InFlight(Duplicate<A>),
    /// Answer it so.
    Replayed(A),
}

impl<A: Clone + Weighed> Invocations<A> {
    /// How many calls of one stage are remembered unless said otherwise: 10,000 a second, Amazon's
    /// quota, for 13 seconds, in which all retries of an SDK come by default.
    pub const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::new(131_072).expect("it is not zero");

    /// A memory of at most `capacity` calls for each stage, in 16 MiB at most. Where more are made
    /// within 60 s, the oldest answers are forgotten first.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { windows: Arc::default(), capacity }
    }

    /// A call begins, which its caller names `name`. `target` is what it is about: the operation,
    /// the group or connection, and every parameter that changes what it does.
    pub fn begin(
        &self,
        now: Instant,
        scope: &Scope,
        target: &(impl Hash + ?Sized),
        name: &[u8],
    ) -> Begun<A> {
        let mut window = match self.windows.get_mut(scope) {
            Some(window) => window,
            None => {
                let new = || IdempotencyWindow::new(REMEMBERED, self.capacity, MAX_BYTES);
                self.windows.entry(scope.clone()).or_insert_with(new)
            }
        };
        match window.begin(now, target, name) {
            Known::New(ticket) => Begun::New(Invocation {
                windows: Arc::clone(&self.windows),
                scope: scope.clone(),
                ticket: Some(ticket),
            }),
            Known::InFlight(flight) => Begun::InFlight(Duplicate { flight: Arc::clone(flight) }),
            Known::Replayed(answer) => Begun::Replayed(answer),
        }
    }

    /// Forgets what has expired and gives back the memory of peaks. Called about once a minute.
    pub fn shrink(&self, now: Instant) {
        for mut window in self.windows.iter_mut() {
            window.shrink(now);
        }
    }
}

/// The right to make a call once. Dropped without an answer, the call counts as not made: who waits
/// for it, or repeats it, makes it.
#[must_use]
pub struct Invocation<A: Clone + Weighed> {
    windows: Arc<Windows<A>>,
    scope: Scope,
    ticket: Option<Ticket>,
}

impl<A: Clone + Weighed> Invocation<A> {
    /// The call was answered so. For an answer that a repeated call shall get too: where nothing
    /// was done and trying again may help, drop the right instead.
    pub fn answer(mut self, now: Instant, answer: A) {
        self.give_back(Some((now, answer)));
    }

    fn give_back(&mut self, outcome: Option<(Instant, A)>) {
        let Some(ticket) = self.ticket.take() else { return };
        let answer = outcome.as_ref().map(|(_, answer)| answer.clone());
        let flight = self.windows.get_mut(&self.scope).and_then(|mut window| match outcome {
            Some((now, answer)) => window.finish(ticket, now, answer),
            None => window.forget(ticket),
        });
        if let Some(flight) = flight {
            flight.land(answer);
        }
    }
}

impl<A: Clone + Weighed> Drop for Invocation<A> {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

/// A call that somebody else is making: its answer, or `None` where it was not made. Then it has to
/// begin again.
pub struct Duplicate<A> {
    flight: Arc<Flight<A>>,
}

impl<A: Clone> Future for Duplicate<A> {
    type Output = Option<A>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.flight.state();
        match &mut *state {
            Landing::Landed(answer) => Poll::Ready(answer.clone()),
            Landing::Expected(waiting) => {
                if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// A call under way, as those who wait for it share it.
struct Flight<A> {
    state: Mutex<Landing<A>>,
}

enum Landing<A> {
    Expected(Vec<Waker>),
    Landed(Option<A>),
}

impl<A> Default for Flight<A> {
    fn default() -> Self {
        Self { state: Mutex::new(Landing::Expected(Vec::new())) }
    }
}

impl<A> Flight<A> {
    fn state(&self) -> MutexGuard<'_, Landing<A>> {
        // A state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn land(&self, answer: Option<A>) {
        let before = mem::replace(&mut *self.state(), Landing::Landed(answer));
        if let Landing::Expected(waiting) = before {
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicU32, Ordering},
        },
        thread,
    };

    use super::*;
    use crate::{remembered_report::RememberedReport, suite::at_once};

    fn scope() -> Scope {
        Scope::new("chat", "prod")
    }

    fn calls() -> Invocations<u32> {
        Invocations::new(Invocations::<u32>::DEFAULT_CAPACITY)
    }

    fn new(begun: Begun<u32>) -> Invocation<u32> {
        match begun {
            Begun::New(invocation) => invocation,
            Begun::InFlight(_) => panic!("the call is in flight"),
            Begun::Replayed(answer) => panic!("the call was answered {answer}"),
        }
    }

    #[test]
    fn a_duplicate_hears_the_answer_of_the_first_and_a_later_one_gets_it_at_once() {
        let (calls, now) = (calls(), Instant::now());
        let first = new(calls.begin(now, &scope(), "room", b"1"));
        let Begun::InFlight(mut waiting) = calls.begin(now, &scope(), "room", b"1") else {
            panic!("the first is in flight");
        };
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut waiting).poll(&mut context).is_pending());
        first.answer(now, 7);
        assert_eq!(at_once(waiting), Some(7));
        assert!(matches!(calls.begin(now, &scope(), "room", b"1"), Begun::Replayed(7)));
    }

    #[test]
    fn a_call_that_was_dropped_is_made_by_the_duplicate() {
        let (calls, now) = (calls(), Instant::now());
        let first = new(calls.begin(now, &scope(), "room", b"1"));
        let Begun::InFlight(waiting) = calls.begin(now, &scope(), "room", b"1") else {
            panic!("the first is in flight");
        };
        drop(first);
        assert_eq!(at_once(waiting), None);
        drop(new(calls.begin(now, &scope(), "room", b"1")));
    }

    #[test]
    fn the_memory_has_room_for_131_072_sends_or_12_000_of_the_largest_answers() {
        type Window = IdempotencyWindow<RememberedReport, Arc<Flight<RememberedReport>>>;
        let calls = Invocations::<RememberedReport>::DEFAULT_CAPACITY.get();
        assert!(calls * Window::CALL_BYTES <= MAX_BYTES.get());
        assert!(12_000 * (Window::CALL_BYTES + 10_000 / 8) <= MAX_BYTES.get());
    }

    #[test]
    fn another_stages_calls_are_others() {
        let (calls, now) = (calls(), Instant::now());
        new(calls.begin(now, &scope(), "room", b"1")).answer(now, 7);
        new(calls.begin(now, &Scope::new("chat", "dev"), "room", b"1")).answer(now, 8);
        calls.shrink(now + REMEMBERED);
        new(calls.begin(now, &scope(), "room", b"1")).answer(now, 9);
    }

    #[test]
    fn of_racing_duplicates_exactly_one_makes_the_call_and_all_hear_its_answer() {
        let (calls, made, now) = (calls(), AtomicU32::new(0), Instant::now());
        for round in 0..300u32 {
            let together = Barrier::new(4);
            thread::scope(|threads| {
                for caller in 0..4 {
                    let (calls, made, together) = (&calls, &made, &together);
                    threads.spawn(move || {
                        together.wait();
                        // The first of some rounds gives up once, as a caller that hangs up does.
                        let mut gives_up = round % 3 == 0 && caller == 0;
                        let answer = loop {
                            match calls.begin(now, &scope(), "room", &round.to_be_bytes()) {
                                Begun::New(_) if gives_up => gives_up = false,
                                Begun::New(invocation) => {
                                    made.fetch_add(1, Ordering::Relaxed);
                                    invocation.answer(now, round);
                                    break round;
                                }
                                Begun::InFlight(waiting) => {
                                    if let Some(answer) = at_once(waiting) {
                                        break answer;
                                    }
                                }
                                Begun::Replayed(answer) => break answer,
                            }
                        };
                        assert_eq!(answer, round);
                    });
                }
            });
        }
        assert_eq!(made.into_inner(), 300);
    }
}
