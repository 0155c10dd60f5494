use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use proptest::prelude::*;

use super::*;

const IDLE: Duration = Duration::from_secs(300);

/// A job that knows what became of it.
#[derive(Debug, Clone)]
struct Ticket {
    number: usize,
    abandoned: Rc<RefCell<BTreeSet<usize>>>,
}

impl Job for Ticket {
    fn is_abandoned(&self) -> bool {
        self.abandoned.borrow().contains(&self.number)
    }
}

impl Job for u32 {
    fn is_abandoned(&self) -> bool {
        false
    }
}

fn rules(min_workers: usize, max_workers: usize) -> Rules {
    Rules {
        min_workers,
        max_workers,
        idle_worker: IDLE,
        max_waiting: 4,
        first_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(10),
    }
}

/// A pool on a clock of the test's own, with its orders as text.
struct Script {
    pool: Pool<u32>,
    now: Instant,
}

impl Script {
    fn new(min_workers: usize, max_workers: usize) -> (Self, Vec<String>) {
        let mut script =
            Self { pool: Pool::new(rules(min_workers, max_workers)), now: Instant::now() };
        let first = script.say(|pool, now, out| pool.tick(now, out));
        (script, first)
    }

    fn say(
        &mut self,
        input: impl FnOnce(&mut Pool<u32>, Instant, &mut Vec<Order<u32>>),
    ) -> Vec<String> {
        let mut out = Vec::new();
        input(&mut self.pool, self.now, &mut out);
        out.iter().map(word).collect()
    }

    fn invoke(&mut self, job: u32) -> Vec<String> {
        self.say(|pool, now, out| pool.invoke(now, job, out))
    }

    fn ready(&mut self, id: WorkerId) -> Vec<String> {
        self.say(|pool, now, out| pool.ready(now, id, out))
    }

    fn exited(&mut self, id: WorkerId, exit: Exit) -> Vec<String> {
        self.say(|pool, now, out| pool.exited(now, id, exit, 1.0, out))
    }

    fn after(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.say(|pool, now, out| pool.tick(now, out))
    }
}

fn word(order: &Order<u32>) -> String {
    match order {
        Order::Start(id) => format!("start {id}"),
        Order::Hand(id, job) => format!("hand {job} to {id}"),
        Order::End(id) => format!("end {id}"),
        Order::Fail(job, Refusal::Overloaded) => format!("overloaded {job}"),
        Order::Fail(job, Refusal::Start(_)) => format!("start failed {job}"),
        Order::Fail(job, Refusal::Removed) => format!("removed {job}"),
    }
}

fn broken() -> Exit {
    Exit::Start(StartFailure::NotStarted("broken".into()))
}

#[test]
fn workers_start_on_demand_up_to_the_most_and_the_one_that_was_busy_last_is_next() {
    let (mut script, first) = Script::new(0, 2);
    assert!(first.is_empty());
    assert_eq!(script.invoke(1), ["start 1"]);
    assert_eq!(script.invoke(2), ["start 2"]);
    assert!(script.invoke(3).is_empty(), "two is the most");
    assert_eq!(script.ready(1), ["hand 1 to 1"]);
    assert_eq!(script.ready(2), ["hand 2 to 2"]);
    assert_eq!(script.ready(1), ["hand 3 to 1"]);
    script.after(Duration::from_millis(1));
    assert!(script.ready(2).is_empty());
    script.after(Duration::from_millis(1));
    assert!(script.ready(1).is_empty());
    assert_eq!(script.invoke(4), ["hand 4 to 1"]);
}

#[test]
fn idle_workers_end_but_for_the_fewest_and_the_oldest_go_first() {
    let (mut script, first) = Script::new(1, 3);
    assert_eq!(first, ["start 1"]);
    script.ready(1);
    for job in 1..=3 {
        script.invoke(job);
    }
    for id in [2, 3, 1, 2, 3] {
        script.after(Duration::from_secs(1));
        script.ready(id);
    }
    let (wake, now) = (script.pool.wake_at().unwrap(), script.now);
    assert_eq!(wake - now, IDLE - Duration::from_secs(2), "since worker 1 became idle");
    assert!(script.after(IDLE - Duration::from_secs(3)).is_empty());
    assert_eq!(script.after(Duration::from_secs(3)), ["end 1", "end 2"]);
    assert!(script.after(IDLE).is_empty(), "one is the fewest");
    assert_eq!(script.pool.wake_at(), None);
}

#[test]
fn a_full_queue_refuses_and_the_others_keep_their_places() {
    let (mut script, _) = Script::new(0, 1);
    for job in 1..=4 {
        script.invoke(job);
    }
    assert_eq!(script.invoke(5), ["overloaded 5"]);
    assert_eq!(script.ready(1), ["hand 1 to 1"]);
    assert!(script.invoke(6).is_empty());
    assert_eq!(script.ready(1), ["hand 2 to 1"]);
}

/// A caller that gave up makes room: else a backlog of time-outs would refuse those who still wait.
#[test]
fn who_gave_up_is_passed_over_and_makes_room() {
    let abandoned = Rc::new(RefCell::new(BTreeSet::new()));
    let ticket = |number| Ticket { number, abandoned: Rc::clone(&abandoned) };
    let mut pool = Pool::new(rules(0, 1));
    let now = Instant::now();
    let mut out = Vec::new();
    for number in 1..=4 {
        pool.invoke(now, ticket(number), &mut out);
    }
    abandoned.borrow_mut().extend([1, 3]);
    out.clear();
    pool.invoke(now, ticket(5), &mut out);
    assert!(out.is_empty(), "{out:?}");
    pool.ready(now, 1, &mut out);
    assert!(matches!(&out[..], [Order::Hand(1, job)] if job.number == 2), "{out:?}");
}

#[test]
fn failed_starts_are_told_to_who_waits_and_repeated_ever_more_slowly() {
    let (mut script, _) = Script::new(0, 4);
    script.invoke(1);
    script.invoke(2);
    assert_eq!(script.exited(1, broken()), ["start failed 1"], "the other one's worker starts");
    assert_eq!(script.exited(2, broken()), ["start failed 2"]);
    assert_eq!(script.pool.wake_at(), None, "nobody waits, nothing is tried");
    // Two failures: 200 ms.
    assert!(script.invoke(3).is_empty(), "not at once");
    assert!(script.invoke(4).is_empty());
    let (wake, now) = (script.pool.wake_at().unwrap(), script.now);
    assert_eq!(wake - now, Duration::from_millis(200));
    assert_eq!(script.after(Duration::from_millis(200)), ["start 3"], "one tries, not a crowd");
    assert_eq!(script.exited(3, broken()), ["start failed 3", "start failed 4"]);
    for _ in 0..40 {
        script.invoke(5);
        let wait = script.pool.wake_at().unwrap() - script.now;
        assert!(wait <= Duration::from_secs(10));
        script.after(wait);
        let id = script.pool.last_id;
        assert_eq!(script.exited(id, broken()), ["start failed 5"]);
    }
    script.invoke(6);
    assert_eq!(script.pool.wake_at().unwrap() - script.now, Duration::from_secs(10));
    script.after(Duration::from_secs(10));
    let id = script.pool.last_id;
    assert_eq!(script.ready(id), [format!("hand 6 to {id}")]);
    script.ready(id);
    script.exited(id, Exit::Unasked);
    script.invoke(7);
    assert_eq!(
        script.pool.wake_at().unwrap() - script.now,
        Duration::from_millis(100),
        "a finished invocation makes good"
    );
}

#[test]
fn a_worker_that_comes_up_and_goes_away_is_not_restarted_in_a_hurry() {
    let (mut script, _) = Script::new(1, 1);
    script.ready(1);
    assert!(script.exited(1, Exit::Unasked).is_empty());
    assert_eq!(script.after(Duration::from_millis(100)), ["start 2"]);
    script.ready(2);
    assert!(script.exited(2, Exit::Unasked).is_empty());
    assert!(script.after(Duration::from_millis(199)).is_empty());
    assert_eq!(script.after(Duration::from_millis(1)), ["start 3"]);
}

#[test]
fn while_a_worker_serves_a_failed_start_of_another_fails_nobody() {
    let (mut script, _) = Script::new(0, 2);
    script.invoke(1);
    script.ready(1);
    assert_eq!(script.invoke(2), ["start 2"]);
    assert!(script.exited(2, broken()).is_empty());
    assert_eq!(script.ready(1), ["hand 2 to 1"]);
}

#[test]
fn a_worker_lost_with_its_invocation_is_replaced_at_once() {
    let (mut script, _) = Script::new(0, 1);
    script.invoke(1);
    script.ready(1);
    script.invoke(2);
    assert_eq!(script.exited(1, Exit::WithInvocation), ["start 2"]);
    assert_eq!(script.ready(2), ["hand 2 to 2"]);
}

#[test]
fn an_invocation_that_came_back_is_the_next_one() {
    let (mut script, _) = Script::new(0, 1);
    script.invoke(1);
    script.invoke(2);
    assert_eq!(script.ready(1), ["hand 1 to 1"]);
    assert!(script.say(|pool, now, out| pool.returned(now, 1, 1, out)).is_empty());
    assert_eq!(script.ready(1), ["hand 1 to 1"]);
}

#[test]
fn replaced_workers_finish_what_they_have_and_new_ones_take_over() {
    let (mut script, _) = Script::new(0, 2);
    script.invoke(1);
    script.ready(1);
    script.invoke(2);
    script.invoke(3);
    script.exited(2, Exit::Asked);
    script.ready(3);
    let orders = script.say(|pool, now, out| pool.replace(now, rules(0, 1), out));
    assert_eq!(orders, ["start 4"], "busy ones are left alone, and do not count");
    assert_eq!(script.ready(1), ["end 1"]);
    assert_eq!(script.ready(4), ["hand 3 to 4"]);
    assert!(script.exited(1, Exit::Asked).is_empty());
    assert!(script.exited(3, Exit::WithInvocation).is_empty());
}

#[test]
fn a_removed_function_refuses_and_ends_after_what_is_in_flight_and_a_stopped_one_now() {
    let (mut script, _) = Script::new(1, 2);
    script.ready(1);
    script.invoke(1);
    script.invoke(2);
    script.say(|pool, now, out| pool.remove(now, out));
    assert_eq!(script.invoke(3), ["removed 3"]);
    assert!(!script.pool.is_ended());
    assert_eq!(script.exited(2, Exit::Asked), [""; 0]);
    assert_eq!(script.ready(1), ["end 1"]);
    script.exited(1, Exit::Asked);
    assert!(script.pool.is_ended());

    let (mut script, _) = Script::new(1, 2);
    script.ready(1);
    script.invoke(1);
    assert_eq!(script.say(|pool, now, out| pool.stop(now, out)), ["end 1"]);
}

/// What happens to a pool. Workers are chosen by their place among those that can do it.
#[derive(Debug, Clone)]
enum Step {
    Invoke,
    Abandon(usize),
    Ready(usize),
    Return(usize),
    FailStart(usize),
    Exit(usize),
    Replace(usize, usize),
    Wait(u64),
    WaitForWake,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Invoke),
        1 => (0_usize..60).prop_map(Step::Abandon),
        6 => (0_usize..8).prop_map(Step::Ready),
        1 => (0_usize..8).prop_map(Step::Return),
        1 => (0_usize..8).prop_map(Step::FailStart),
        2 => (0_usize..8).prop_map(Step::Exit),
        1 => (0_usize..3, 1_usize..4).prop_map(|(min, max)| Step::Replace(min.min(max), max)),
        1 => (0_u64..400_000).prop_map(Step::Wait),
        2 => Just(Step::WaitForWake),
    ]
}

/// What the processes do, in the eyes of the test.
#[derive(Debug, Default)]
struct World {
    starting: Vec<WorkerId>,
    idle: Vec<WorkerId>,
    busy: Vec<(WorkerId, Ticket)>,
    ending: Vec<WorkerId>,
    /// Outcomes by ticket: handed over and done, or refused.
    settled: BTreeSet<usize>,
}

impl World {
    fn obey(&mut self, orders: &mut Vec<Order<Ticket>>) {
        for order in orders.drain(..) {
            match order {
                Order::Start(id) => self.starting.push(id),
                Order::Hand(id, ticket) => {
                    let at = self.idle.iter().position(|idle| *idle == id);
                    self.idle.swap_remove(at.expect("only an idle worker is handed anything"));
                    assert!(!ticket.is_abandoned(), "nobody waits for {ticket:?}");
                    self.busy.push((id, ticket));
                }
                Order::End(id) => {
                    self.starting.retain(|other| *other != id);
                    self.idle.retain(|other| *other != id);
                    self.ending.push(id);
                }
                Order::Fail(ticket, _) => {
                    assert!(self.settled.insert(ticket.number), "{ticket:?} is settled twice");
                }
            }
        }
    }

    fn settle(&mut self, ticket: &Ticket) {
        assert!(self.settled.insert(ticket.number), "{ticket:?} is settled twice");
    }
}

fn take<T>(from: &mut Vec<T>, at: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.remove(at % from.len()))
}

proptest! {
    #[test]
    fn whatever_happens_every_invocation_is_settled_once_and_none_is_forgotten(
        min in 0_usize..3,
        script in prop::collection::vec(any_step(), 0..120),
    ) {
        let abandoned = Rc::new(RefCell::new(BTreeSet::new()));
        let mut max = 3;
        let mut pool = Pool::new(rules(min, max));
        let mut now = Instant::now();
        let (mut world, mut out, mut tickets) = (World::default(), Vec::new(), 0);
        pool.tick(now, &mut out);
        world.obey(&mut out);
        for step in script {
            match step {
                Step::Invoke => {
                    let ticket = Ticket { number: tickets, abandoned: Rc::clone(&abandoned) };
                    tickets += 1;
                    pool.invoke(now, ticket, &mut out);
                }
                Step::Abandon(number) => {
                    let handed = world.busy.iter().any(|(_, ticket)| ticket.number == number);
                    if !handed {
                        abandoned.borrow_mut().insert(number);
                    }
                }
                Step::Ready(at) => {
                    if !world.busy.is_empty() {
                        let (id, ticket) = take(&mut world.busy, at).unwrap();
                        world.settle(&ticket);
                        world.idle.push(id);
                        pool.ready(now, id, &mut out);
                    } else if let Some(id) = take(&mut world.starting, at) {
                        world.idle.push(id);
                        pool.ready(now, id, &mut out);
                    }
                }
                Step::Return(at) => if let Some((id, ticket)) = take(&mut world.busy, at) {
                    world.starting.push(id);
                    pool.returned(now, id, ticket, &mut out);
                },
                Step::FailStart(at) => if let Some(id) = take(&mut world.starting, at) {
                    pool.exited(now, id, broken(), 0.5, &mut out);
                },
                Step::Exit(at) => {
                    if let Some(id) = take(&mut world.ending, at) {
                        pool.exited(now, id, Exit::Asked, 0.5, &mut out);
                    } else if let Some((id, ticket)) = take(&mut world.busy, at) {
                        world.settle(&ticket);
                        pool.exited(now, id, Exit::WithInvocation, 0.5, &mut out);
                    } else if let Some(id) = take(&mut world.idle, at) {
                        pool.exited(now, id, Exit::Unasked, 0.5, &mut out);
                    }
                }
                Step::Replace(new_min, new_max) => {
                    max = new_max;
                    pool.replace(now, rules(new_min, new_max), &mut out);
                }
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    pool.tick(now, &mut out);
                }
                Step::WaitForWake => if let Some(at) = pool.wake_at() {
                    prop_assert!(at > now, "what is due is done, not waited for");
                    now = at;
                    pool.tick(now, &mut out);
                },
            }
            world.obey(&mut out);
            prop_assert!(pool.present().count() <= max.max(3), "never more than the most");
            prop_assert!(pool.waiting.len() <= rules(0, 1).max_waiting + world.busy.len() + 1);
            // Whoever waits has a worker to wait for, or a time at which one is started.
            prop_assert!(
                pool.waiting.is_empty() || pool.present().count() > 0 || pool.wake_at().is_some(),
                "somebody waits for nothing"
            );
        }
        pool.stop(now, &mut out);
        world.obey(&mut out);
        for (id, ticket) in std::mem::take(&mut world.busy) {
            world.settle(&ticket);
            pool.exited(now, id, Exit::WithInvocation, 0.5, &mut out);
        }
        for id in world.ending.drain(..) {
            pool.exited(now, id, Exit::Asked, 0.5, &mut out);
        }
        world.obey(&mut out);
        prop_assert!(pool.is_ended(), "{:?}", pool.workers);
        for number in 0..tickets {
            prop_assert!(
                world.settled.contains(&number) || abandoned.borrow().contains(&number),
                "ticket {} is forgotten", number
            );
        }
    }
}
