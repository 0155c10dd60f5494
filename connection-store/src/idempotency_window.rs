//! Which calls have been made already: a caller that repeats one is answered as before, and nothing
//! is sent twice.
//!
//! In:  calls, each by its target and the caller's own name for it, and their answers; and when.
//! Out: whether a call is new, under way, or answered.
//!
//! ```text
//! unknown ──begin──► in flight ──finish──► answered ──after the window, or crowded out──► unknown
//!    ▲                   └──forget──► unknown
//! ```
//!
//! Holds always: of the calls with one name to one target, one at most is in flight, and none is
//! new before that one is forgotten or its answer's window has passed, unless newer answers crowded
//! it out. At most `capacity` calls are known, and they take `max_bytes` at most, answers and all;
//! a name takes the same whatever its length: what is kept of it is a keyed hash of 128 bits.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

/// What a window keeps as an answer.
pub trait Weighed {
    /// How many bytes it holds besides its own size. Always the same for one value.
    fn heap_bytes(&self) -> usize;
}

/// The calls of one scope in the last while. `A` is their answer, `F` what stands for a call that
/// is under way (who waits for it, say).
pub struct IdempotencyWindow<A, F = ()> {
    remembered: Duration,
    capacity: usize,
    max_bytes: usize,
    /// What the known calls take: [`Self::CALL_BYTES`] each, and what their answers hold.
    bytes: usize,
    calls: HashMap<Call, State<A, F>>,
    /// When each was answered; oldest first. A call stands here exactly while it is answered.
    answered: VecDeque<(Instant, Call)>,
    /// The latest moment heard of. Callers on several threads look at the clock before they come
    /// here, so theirs may be a little behind, and `answered` would be out of order.
    latest: Option<Instant>,
    // Two keys of 64 bits each: a stranger cannot make two calls look like one.
    hashing: [RandomState; 2],
}

/// A call's target and name, hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Call(u128);

enum State<A, F> {
    InFlight(F),
    Answered(A),
}

/// What is known of a call.
#[derive(Debug)]
pub enum Known<'w, A, F = ()> {
    /// Nothing: whoever asks makes it, and gives the ticket back with or without an answer.
    New(Ticket),
    /// It is being made.
    InFlight(&'w F),
    /// It was answered so.
    Replayed(A),
}

/// The right to make a call, to be given back by [`IdempotencyWindow::finish`] or
/// [`IdempotencyWindow::forget`]. One that is lost keeps its call in flight for ever.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    /// `None` where there was no room to remember the call.
    call: Option<Call>,
}

impl<A: Clone + Weighed, F: Default> IdempotencyWindow<A, F> {
    /// What a call takes in both tables, but for what its answer holds. Without the tables' free
    /// places: they have up to as many again.
    pub(crate) const CALL_BYTES: usize =
        size_of::<(Call, State<A, F>)>() + size_of::<(Instant, Call)>();

    /// A window that keeps answers for `remembered` (60 s by contract): those of `capacity` calls,
    /// in `max_bytes`, at most.
    pub fn new(remembered: Duration, capacity: NonZeroUsize, max_bytes: NonZeroUsize) -> Self {
        Self {
            remembered,
            capacity: capacity.get(),
            max_bytes: max_bytes.get(),
            bytes: 0,
            calls: HashMap::new(),
            answered: VecDeque::new(),
            latest: None,
            hashing: [RandomState::new(), RandomState::new()],
        }
    }

    /// A call begins, which its caller names `name` (`amz-sdk-invocation-id`, `Idempotency-Key`).
    /// The same name for another target is another call.
    ///
    /// Where all that there is room for are in flight, the call is new and will not be remembered.
    pub fn begin(
        &mut self,
        now: Instant,
        target: &(impl Hash + ?Sized),
        name: &[u8],
    ) -> Known<'_, A, F> {
        self.expire(now);
        let [high, low] = self.hashing.each_ref().map(|keyed| keyed.hash_one((target, name)));
        let call = Call(u128::from(high) << 64 | u128::from(low));
        if self.calls.contains_key(&call) {
            return match &self.calls[&call] {
                State::Answered(answer) => Known::Replayed(answer.clone()),
                State::InFlight(flight) => Known::InFlight(flight),
            };
        }
        while self.calls.len() >= self.capacity || self.bytes + Self::CALL_BYTES > self.max_bytes {
            if !self.drop_oldest() {
                return Known::New(Ticket { call: None });
            }
        }
        self.bytes += Self::CALL_BYTES;
        self.calls.insert(call.clone(), State::InFlight(F::default()));
        Known::New(Ticket { call: Some(call) })
    }

    /// The call was answered so, and whoever repeats it gets the same answer, unless that alone is
    /// too large. Gives back what stood for it while it was in flight.
    pub fn finish(&mut self, ticket: Ticket, now: Instant, answer: A) -> Option<F> {
        let call = ticket.call?;
        let now = self.clock(now);
        self.answered.push_back((now, call.clone()));
        self.bytes += answer.heap_bytes();
        let before = self.calls.insert(call, State::Answered(answer));
        while self.bytes > self.max_bytes && self.drop_oldest() {}
        match before {
            Some(State::InFlight(flight)) => Some(flight),
            _ => None,
        }
    }

    /// The call was not made, or so that it may be made again (a full queue, say): whoever repeats
    /// it makes it. Gives back what stood for it while it was in flight.
    pub fn forget(&mut self, ticket: Ticket) -> Option<F> {
        match self.calls.remove(&ticket.call?) {
            Some(State::InFlight(flight)) => {
                self.bytes -= Self::CALL_BYTES;
                Some(flight)
            }
            _ => None,
        }
    }

    /// How many calls are known: answered, or in flight.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Forgets what has expired and gives back the memory of a peak. Called about once a minute.
    pub fn shrink(&mut self, now: Instant) {
        self.expire(now);
        if self.calls.capacity() / 4 >= self.calls.len() {
            self.calls.shrink_to_fit();
            self.answered.shrink_to_fit();
        }
    }

    fn expire(&mut self, now: Instant) {
        let now = self.clock(now);
        while let Some((at, _)) = self.answered.front()
            && *at + self.remembered <= now
        {
            self.drop_oldest();
        }
    }

    /// Forgets the oldest answer. `false` where there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some((_, oldest)) = self.answered.pop_front() else { return false };
        if let Some(State::Answered(answer)) = self.calls.remove(&oldest) {
            self.bytes -= Self::CALL_BYTES + answer.heap_bytes();
        }
        true
    }

    /// This moment, or the latest one where a caller had looked at the clock before it.
    fn clock(&mut self, now: Instant) -> Instant {
        *self.latest.insert(self.latest.map_or(now, |latest| latest.max(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    impl Weighed for u32 {
        fn heap_bytes(&self) -> usize {
            0
        }
    }

    impl Weighed for Box<[u8]> {
        fn heap_bytes(&self) -> usize {
            self.len()
        }
    }

    /// A window that only the number of calls bounds.
    fn window(capacity: usize) -> IdempotencyWindow<u32> {
        let max_bytes = NonZeroUsize::MAX;
        IdempotencyWindow::new(MINUTE, NonZeroUsize::new(capacity).unwrap(), max_bytes)
    }

    /// A window with room for that many calls without answers, or fewer with large ones.
    fn room_for(calls: usize) -> IdempotencyWindow<Box<[u8]>> {
        let bytes = calls * IdempotencyWindow::<Box<[u8]>>::CALL_BYTES;
        IdempotencyWindow::new(MINUTE, NonZeroUsize::MAX, NonZeroUsize::new(bytes).unwrap())
    }

    fn new<A: std::fmt::Debug>(known: Known<'_, A>) -> Ticket {
        match known {
            Known::New(ticket) => ticket,
            other => panic!("the call is known: {other:?}"),
        }
    }

    #[test]
    fn a_repeated_call_waits_for_the_first_and_is_then_answered_as_it() {
        let (mut window, start) = (window(10), Instant::now());
        let ticket = new(window.begin(start, "room", b"1"));
        assert!(matches!(window.begin(start, "room", b"1"), Known::InFlight(())));
        assert_eq!(window.finish(ticket, start, 7), Some(()));
        let last = start + MINUTE - Duration::from_nanos(1);
        assert!(matches!(window.begin(last, "room", b"1"), Known::Replayed(7)));
        let ticket = new(window.begin(start + MINUTE, "room", b"1"));
        window.forget(ticket);
    }

    #[test]
    fn another_target_or_name_is_another_call() {
        let (mut window, now) = (window(10), Instant::now());
        for (target, name) in [("room", b"1".as_slice()), ("room", b"2"), ("roo", b"m1"), ("", b"")]
        {
            let ticket = new(window.begin(now, target, name));
            window.finish(ticket, now, 7);
        }
    }

    #[test]
    fn a_forgotten_call_may_be_made_again() {
        let (mut window, now) = (window(10), Instant::now());
        let ticket = new(window.begin(now, "room", b"1"));
        assert_eq!(window.forget(ticket), Some(()));
        assert!(window.is_empty());
        let _ticket = new(window.begin(now, "room", b"1"));
    }

    #[test]
    fn the_oldest_answer_makes_room_and_a_call_in_flight_never_does() {
        let (mut window, now) = (window(2), Instant::now());
        let mut call = |name: &[u8]| {
            let ticket = new(window.begin(now, "room", name));
            window.finish(ticket, now, 7);
            window.len()
        };
        assert_eq!((call(b"1"), call(b"2"), call(b"3")), (1, 2, 2));
        assert!(matches!(window.begin(now, "room", b"3"), Known::Replayed(7)));
        let one = new(window.begin(now, "room", b"1"));
        let two = new(window.begin(now, "room", b"2"));
        let beyond = new(window.begin(now, "room", b"3"));
        assert_eq!(window.len(), 2);
        assert_eq!(window.finish(beyond, now, 9), None, "there was no room to remember it");
        assert_eq!(window.finish(one, now, 1), Some(()));
        assert_eq!(window.forget(two), Some(()));
        assert!(matches!(window.begin(now, "room", b"1"), Known::Replayed(1)));
    }

    /// The bytes of calls in flight count as well: what is promised is the memory.
    #[test]
    fn a_large_answer_makes_the_oldest_go() {
        let (mut window, now) = (room_for(100), Instant::now());
        for name in 0..90u8 {
            let ticket = new(window.begin(now, "room", &[name]));
            assert_eq!(window.finish(ticket, now, [].into()), Some(()));
        }
        let large = new(window.begin(now, "room", b"large"));
        let in_flight = new(window.begin(now, "room", b"in flight"));
        let eighty = 80 * IdempotencyWindow::<Box<[u8]>>::CALL_BYTES;
        assert_eq!(window.finish(large, now, vec![7; eighty].into()), Some(()));
        assert_eq!(
            window.len(),
            20,
            "the large one, the one in flight, and the last of the others"
        );
        assert_eq!(window.bytes, window.max_bytes);
        for name in 72..90 {
            assert!(matches!(window.begin(now, "room", &[name]), Known::Replayed(_)), "{name}");
        }
        let again = new(window.begin(now, "room", &[71]));
        window.finish(again, now, [].into());
        window.finish(in_flight, now, [].into());
        assert!(matches!(window.begin(now, "room", b"large"), Known::Replayed(_)));
    }

    #[test]
    fn an_answer_that_is_too_large_by_itself_is_not_kept_and_calls_in_flight_are_bounded_by_bytes()
    {
        let (mut window, now) = (room_for(3), Instant::now());
        let [one, two, three] = [b"1", b"2", b"3"].map(|name| new(window.begin(now, "", name)));
        let beyond = new(window.begin(now, "", b"4"));
        assert_eq!((window.len(), window.bytes), (3, window.max_bytes));
        assert_eq!(window.finish(beyond, now, [].into()), None, "there was no room to remember it");
        assert_eq!(window.finish(one, now, vec![7; window.max_bytes].into()), Some(()));
        assert_eq!(window.len(), 2, "no answer fits beside two in flight that large");
        for ticket in [two, three] {
            assert_eq!(window.finish(ticket, now, [].into()), Some(()));
        }
        assert!(matches!(window.begin(now, "", b"3"), Known::Replayed(_)));
        assert!(matches!(window.begin(now, "", b"1"), Known::New(_)));
    }

    /// Threads read the clock before they wait for the lock.
    #[test]
    fn callers_that_come_late_do_not_disturb_the_order() {
        let (mut window, start) = (window(10), Instant::now());
        let later = start + Duration::from_secs(5);
        let (one, two) = (new(window.begin(start, "", b"1")), new(window.begin(start, "", b"2")));
        window.finish(one, later, 1);
        window.finish(two, start, 2);
        assert!(matches!(window.begin(start + MINUTE, "", b"2"), Known::Replayed(2)));
        let again = new(window.begin(later + MINUTE, "", b"2"));
        assert_eq!(window.len(), 1);
        window.finish(again, later, 3);
        assert!(matches!(window.begin(later + MINUTE, "", b"2"), Known::Replayed(3)));
    }

    #[test]
    fn the_memory_of_a_peak_is_given_back() {
        let (mut window, now) = (window(10_000), Instant::now());
        for number in 0..10_000u32 {
            let ticket = new(window.begin(now, "room", &number.to_be_bytes()));
            window.finish(ticket, now, number);
        }
        window.shrink(now);
        assert_eq!(window.len(), 10_000);
        window.shrink(now + MINUTE);
        assert_eq!((window.len(), window.calls.capacity(), window.answered.capacity()), (0, 0, 0));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin(u8),
        Finish(prop::sample::Index),
        Forget(prop::sample::Index),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..12).prop_map(Step::Begin),
            4 => any::<prop::sample::Index>().prop_map(Step::Finish),
            1 => any::<prop::sample::Index>().prop_map(Step::Forget),
            2 => (0u64..40).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// The model keeps everything; what it knows, the window may have forgotten for want of
        /// room only.
        #[test]
        fn a_window_agrees_with_a_model_that_forgets_nothing_early(
            capacity in 1usize..14,
            steps in prop::collection::vec(step(), 0..300),
        ) {
            let (mut window, mut now) = (window(capacity), Instant::now());
            let mut answers = BTreeMap::<u8, (Instant, u32)>::new();
            let mut flights: Vec<(u8, Ticket)> = Vec::new();
            for (serial, step) in (0u32..).zip(steps) {
                match step {
                    Step::Begin(name) => {
                        let in_flight = flights
                            .iter()
                            .any(|(flying, ticket)| *flying == name && ticket.call.is_some());
                        let before = answers.get(&name).filter(|(at, _)| now < *at + MINUTE);
                        let crowded = window.len() >= capacity || capacity < 12;
                        match window.begin(now, "room", &[name]) {
                            Known::New(ticket) => {
                                prop_assert!(!in_flight);
                                prop_assert!(before.is_none() || crowded);
                                flights.push((name, ticket));
                            }
                            Known::InFlight(()) => prop_assert!(in_flight),
                            Known::Replayed(answer) => {
                                prop_assert_eq!(Some(answer), before.map(|(_, answer)| *answer));
                            }
                        }
                    }
                    Step::Finish(which) if !flights.is_empty() => {
                        let (name, ticket) = flights.swap_remove(which.index(flights.len()));
                        let tracked = ticket.call.is_some();
                        prop_assert_eq!(window.finish(ticket, now, serial).is_some(), tracked);
                        if tracked {
                            answers.insert(name, (now, serial));
                        }
                    }
                    Step::Forget(which) if !flights.is_empty() => {
                        let (_, ticket) = flights.swap_remove(which.index(flights.len()));
                        let tracked = ticket.call.is_some();
                        prop_assert_eq!(window.forget(ticket).is_some(), tracked);
                    }
                    Step::Finish(_) | Step::Forget(_) => {}
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                }
                prop_assert!(window.len() <= capacity);
                prop_assert_eq!(window.bytes, window.len() * IdempotencyWindow::<u32>::CALL_BYTES);
                prop_assert!(window.answered.len() <= window.len());
            }
        }

        /// What is known are the newest answers of the last minute, as many as there is room for.
        #[test]
        fn the_newest_answers_that_fit_are_known(
            capacity in 1usize..30,
            room in 1usize..20,
            steps in prop::collection::vec((0usize..2000, 0u64..20), 0..60),
        ) {
            const CALL: usize = IdempotencyWindow::<Box<[u8]>>::CALL_BYTES;
            let mut window = room_for(room);
            window.capacity = capacity;
            let (mut now, mut history) = (Instant::now(), Vec::new());
            for (serial, (size, pause)) in (0u64..).zip(steps) {
                now += Duration::from_secs(pause);
                let ticket = new(window.begin(now, "room", &serial.to_be_bytes()));
                prop_assert_eq!(window.finish(ticket, now, vec![0; size].into()), Some(()));
                history.push((now, serial, size));
                let mut bytes = 0;
                let fits = |(at, _, size): &&(Instant, u64, usize)| {
                    bytes += CALL + *size;
                    bytes <= room * CALL && now < *at + MINUTE
                };
                let known = history.iter().rev().take(capacity).take_while(fits);
                let known: Vec<_> = known.map(|(_, serial, size)| (*serial, *size)).collect();
                let weight: usize = known.iter().map(|(_, size)| CALL + size).sum();
                prop_assert_eq!((window.len(), window.bytes), (known.len(), weight));
                for (serial, size) in known {
                    match window.begin(now, "room", &serial.to_be_bytes()) {
                        Known::Replayed(answer) => prop_assert_eq!(answer.len(), size),
                        other => prop_assert!(false, "{} is {:?}", serial, other),
                    }
                }
            }
        }
    }
}
