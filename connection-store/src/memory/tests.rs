//! What only the memory store promises: its memory, its locks, its hash.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault},
    iter,
    pin::Pin,
    sync::{
        Barrier, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use proptest::prelude::*;

use super::{hub::PLACES_WORTH_KEEPING, id_hasher::IdHasher, *};
use crate::{
    ConnectionList, MessageKind,
    suite::{self, RecordingConnection, at_once},
};

type Store = MemoryStore<RecordingConnection>;

fn scope() -> Scope {
    Scope::new("chat", "prod")
}

fn text(payload: String) -> Message {
    Message { kind: MessageKind::Text, payload: payload.into() }
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn user(principal: &str) -> Audience {
    Audience::User(principal.into())
}

fn normal_close() -> CloseRequest {
    CloseRequest { code: 1000, reason: String::new() }
}

fn open(store: &Store) -> Arc<RecordingConnection> {
    let connection = RecordingConnection::new(store.allocate(), scope(), 100_000);
    store.insert(Arc::clone(&connection));
    connection
}

#[test]
fn it_passes_the_suite() {
    at_once(suite::run_all(async || Store::new()));
}

#[test]
fn it_names_the_node_that_it_was_given_and_needs_no_lease() {
    let node = NodeId::new(7).unwrap();
    let store = Store::with_node(node);
    assert_eq!((store.node(), store.allocate().node()), (node, node));
    assert_eq!(store.lease(), Lease::Unbounded);
}

#[test]
fn an_id_of_an_open_connection_is_not_given_again() {
    let store = Store::new();
    let taken = ConnectionId::new(store.node(), [1; 8]);
    store.insert(RecordingConnection::new(taken, scope(), 1));
    let mut draws = [[1; 8], [1; 8], [2; 8]].into_iter();
    let id = store.allocate_from(|| draws.next().unwrap());
    assert_eq!(id, ConnectionId::new(store.node(), [2; 8]));
}

#[test]
fn the_same_random_bytes_under_another_node_are_gone() {
    let store = Store::with_node(NodeId::new(7).unwrap());
    store.insert(RecordingConnection::new(ConnectionId::new(store.node(), [1; 8]), scope(), 1));
    let foreign = ConnectionId::new(NodeId::new(8).unwrap(), [1; 8]);
    let answer = at_once(store.post(&scope(), foreign, text(String::new())));
    assert_eq!(answer, Err(DeliveryError::Gone));
}

#[test]
fn each_of_several_threads_keeps_its_order() {
    const THREADS: usize = 4;
    const MESSAGES: usize = 2000;
    let store = Store::new();
    let connection = open(&store);
    let together = Barrier::new(THREADS);
    thread::scope(|threads| {
        for name in 0..THREADS {
            let (store, together, id) = (&store, &together, connection.id());
            threads.spawn(move || {
                together.wait();
                for number in 0..MESSAGES {
                    let message = text(format!("{name} {number}"));
                    at_once(store.post(&scope(), id, message)).unwrap();
                }
            });
        }
    });
    let taken = connection.take();
    for name in 0..THREADS {
        let prefix = format!("{name} ");
        let of_one: Vec<_> =
            taken.iter().filter(|m| m.payload.starts_with(prefix.as_bytes())).collect();
        assert_eq!(of_one.len(), MESSAGES);
        for (number, message) in of_one.into_iter().enumerate() {
            assert_eq!(message.payload, format!("{name} {number}"));
        }
    }
}

/// `remove` by the connection's own task and `close` by the management API, at once.
#[test]
fn of_racing_closes_and_removes_exactly_one_gets_the_connection() {
    let store = Store::new();
    for _ in 0..500 {
        let connection = open(&store);
        let (winners, together) = (AtomicUsize::new(0), Barrier::new(4));
        thread::scope(|threads| {
            for number in 0..4 {
                let (store, winners, together) = (&store, &winners, &together);
                let id = connection.id();
                threads.spawn(move || {
                    together.wait();
                    let won = if number % 2 == 0 {
                        store.remove(id).is_some()
                    } else {
                        at_once(store.close(&scope(), id, normal_close())).is_ok()
                    };
                    winners.fetch_add(usize::from(won), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(winners.into_inner(), 1);
        assert!(connection.closes().len() <= 1);
    }
    assert!(store.is_empty());
}

/// Calls back into the store from every method that the store calls.
struct Meddler {
    id: ConnectionId,
    scope: Scope,
    store: Weak<MemoryStore<Meddler>>,
    calls: AtomicUsize,
}

impl Meddler {
    /// Takes every lock there is for writing, and leaves itself in the store if it was there.
    fn meddle(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let store = self.store.upgrade().unwrap();
        let removed = store.remove(self.id);
        assert!(store.local().is_empty());
        if let Some(own) = removed {
            store.insert(own);
            store.hub.join(&self.scope, &group("room"), self.id).ok();
        }
    }
}

impl LocalConnection for Meddler {
    type Frame = ();
    fn encode(_: &Message) -> Self::Frame {}
    fn id(&self) -> ConnectionId {
        self.id
    }
    fn scope(&self) -> &Scope {
        // `meddle` comes to find its scope, too.
        if self.calls.load(Ordering::Relaxed) < 100 {
            self.meddle();
        }
        &self.scope
    }
    fn principal(&self) -> Option<&str> {
        if self.calls.load(Ordering::Relaxed) < 200 {
            self.meddle();
        }
        Some("meddler")
    }
    fn send(&self, (): &Self::Frame) -> Result<(), SendError> {
        self.meddle();
        Ok(())
    }
    fn close(&self, _: &CloseRequest) {
        assert!(self.store.upgrade().unwrap().is_empty(), "it is closed before it is removed");
        self.meddle();
    }
    fn describe(&self) -> Description {
        self.meddle();
        Description {
            connected_at_ms: 0,
            last_active_at_ms: 0,
            source_ip: [127, 0, 0, 1].into(),
            user_agent: None,
        }
    }
}

/// A lock that is held during a call would be waited for for ever, hence the thread.
#[test]
fn no_lock_is_held_while_a_connection_is_called() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let store = Arc::new(MemoryStore::<Meddler>::new());
        let insert = || {
            let (id, weak) = (store.allocate(), Arc::downgrade(&store));
            let calls = AtomicUsize::new(0);
            let meddler = Arc::new(Meddler { id, scope: scope(), store: weak, calls });
            store.insert(meddler.clone());
            meddler
        };
        for audience in [Audience::Group(group("room")), Audience::Stage, user("meddler")] {
            let id = insert().id;
            at_once(store.post(&scope(), id, text(String::new()))).unwrap();
            at_once(store.describe(&scope(), id)).unwrap();
            at_once(store.join(&scope(), &group("room"), id)).unwrap();
            at_once(store.leave(&scope(), &group("hall"), id)).unwrap();
            let message = text(String::new());
            let sent = at_once(store.send(&scope(), audience.clone(), message, vec![])).unwrap();
            assert_eq!(sent.recipients, 1);
            at_once(store.count(&scope(), &group("room"))).unwrap();
            let page = PageLimit::default();
            at_once(store.members(&scope(), &group("room"), page, None)).unwrap();
            at_once(store.list(&scope(), page, None)).unwrap();
            let normal = normal_close();
            assert_eq!(at_once(store.close_audience(&scope(), audience, normal)), Ok(1));
        }
        let id = insert().id;
        at_once(store.close(&scope(), id, normal_close())).unwrap();
        done.send((store.len(), store.hub.stage(&scope()).unwrap().sizes())).unwrap();
    });
    let outcome = is_done.recv_timeout(Duration::from_secs(20));
    assert_eq!(outcome, Ok((0, (0, 0, 0))), "the store waits for its own lock");
}

/// Everything that can happen to two connections and their groups, at once, from four threads.
#[test]
fn no_race_leaves_a_member_behind_or_a_group_without_members() {
    let watcher = Arc::<Interests>::default();
    let store = MemoryStore::<RecordingConnection>::with_watcher(NodeId::random(), watcher.clone());
    let rooms = [group("a"), group("b")];
    for round in 0..1_500usize {
        let connections = [0, 1].map(|_| {
            let id = store.allocate();
            RecordingConnection::of(Some("alice"), id, scope(), usize::MAX)
        });
        for connection in &connections {
            store.insert(Arc::clone(connection));
        }
        let together = Barrier::new(4);
        thread::scope(|threads| {
            for number in 0..4usize {
                let (store, rooms, together, connections) =
                    (&store, &rooms, &together, &connections);
                threads.spawn(move || {
                    together.wait();
                    for step in 0..6 {
                        let id = connections[(number + step) % 2].id();
                        let room = &rooms[(number + round + step) % 2];
                        let last = step == 2 + round % 4;
                        match number {
                            0 if last => _ = store.remove(id),
                            1 if last => {
                                _ = at_once(store.close(&scope(), id, normal_close()));
                            }
                            2 => {
                                let audience = Audience::Group(room.clone());
                                let message = text(String::new());
                                _ = at_once(store.send(&scope(), audience, message, vec![]));
                            }
                            3 if step % 2 == 1 => _ = store.hub.leave(&scope(), room, id),
                            _ => _ = store.hub.join(&scope(), room, id),
                        }
                    }
                });
            }
        });
        for connection in &connections {
            store.remove(connection.id());
        }
        let sizes = store.hub.stage(&scope()).unwrap().sizes();
        assert_eq!(sizes, (0, 0, 0), "members, users and groups after round {round}");
        assert_eq!(store.audiences(), []);
        assert_eq!(watcher.there(), [], "audiences of which the watcher was told no end");
    }
}

/// What a directory would know.
#[derive(Default)]
struct Interests {
    there: Mutex<Vec<(Scope, Audience)>>,
}

impl Interests {
    fn there(&self) -> Vec<(Scope, Audience)> {
        self.there.lock().unwrap().clone()
    }
}

impl InterestWatcher for Interests {
    fn changed(&self, scope: &Scope, audience: Audience, has_members: bool) {
        let mut there = self.there.lock().unwrap();
        let what = (scope.clone(), audience);
        let known = there.iter().position(|known| *known == what);
        match known {
            Some(place) if !has_members => drop(there.swap_remove(place)),
            None if has_members => there.push(what),
            _ => panic!("{what:?} changed to what it was: {has_members}"),
        }
    }
}

#[test]
fn the_watcher_is_told_of_the_first_and_the_last_member_of_each_audience() {
    let watcher = Arc::<Interests>::default();
    let store = MemoryStore::<RecordingConnection>::with_watcher(NodeId::random(), watcher.clone());
    let connections: Vec<_> = (0..2)
        .map(|_| {
            let alice = Some("alice");
            let connection = RecordingConnection::of(alice, store.allocate(), scope(), 1);
            store.insert(Arc::clone(&connection));
            store.hub.join(&scope(), &group("room"), connection.id()).unwrap();
            connection
        })
        .collect();
    let mut expected = vec![
        (scope(), Audience::Stage),
        (scope(), user("alice")),
        (scope(), Audience::Group(group("room"))),
    ];
    assert_eq!(watcher.there(), expected);
    assert_eq!(store.audiences(), expected);
    store.remove(connections[0].id());
    assert_eq!(watcher.there(), expected);
    store.hub.leave(&scope(), &group("room"), connections[1].id()).unwrap();
    expected.truncate(2);
    assert_eq!(watcher.there(), expected);
    at_once(store.close(&scope(), connections[1].id(), normal_close())).unwrap();
    assert_eq!(watcher.there(), []);
}

#[test]
fn a_send_to_many_pauses_after_each_128_and_one_to_few_is_there_at_once() {
    let store = Store::new();
    let members: Vec<_> = iter::repeat_with(|| open(&store)).take(1_000).collect();
    for (number, member) in members.iter().enumerate() {
        store.hub.join(&scope(), &group("many"), member.id()).unwrap();
        if number < 128 {
            store.hub.join(&scope(), &group("few"), member.id()).unwrap();
        }
    }
    let send = |audience| store.send(&scope(), audience, text("x".to_owned()), vec![]);
    assert!(matches!(send(Audience::Group(group("few"))), Reply::Ready(Some(_))));
    members.iter().for_each(|member| drop(member.take()));

    let ids = members.iter().map(|member| member.id()).collect();
    let listed = Audience::Connections(ConnectionList::new(ids).unwrap());
    for audience in [Audience::Group(group("many")), Audience::Stage, listed] {
        let mut reply = send(audience);
        let mut context = Context::from_waker(Waker::noop());
        let mut reached = 0;
        let mut polls = 0;
        let report = loop {
            let now = members.iter().map(|member| member.take().len()).sum::<usize>();
            assert!(now <= 128, "{now} sends without a pause");
            reached += now;
            polls += 1;
            if let Poll::Ready(report) = Pin::new(&mut reply).poll(&mut context) {
                break report.unwrap();
            }
        };
        reached += members.iter().map(|member| member.take().len()).sum::<usize>();
        assert_eq!((reached, report.recipients), (1_000, 1_000));
        assert_eq!(polls, 8, "a pause between each two of 8 chunks");
    }
}

#[test]
fn an_own_pause_takes_the_place_of_the_default() {
    static PAUSES: AtomicUsize = AtomicUsize::new(0);
    let store = Store::new().pausing_by(|| {
        PAUSES.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    });
    let _open: Vec<_> = iter::repeat_with(|| open(&store)).take(300).collect();
    at_once(store.send(&scope(), Audience::Stage, text(String::new()), vec![])).unwrap();
    assert_eq!(PAUSES.load(Ordering::Relaxed), 2);
}

/// A connection in no group allocates nothing for groups, and none that has left them all keeps
/// anything.
#[test]
fn a_connection_that_has_left_its_groups_keeps_nothing_of_them() {
    let store = Store::new();
    let connection = open(&store);
    let memberships = || {
        let entry = store.hub.connections.get(&connection.id()).unwrap();
        entry.has_memberships()
    };
    assert!(!memberships());
    store.hub.leave(&scope(), &group("a"), connection.id()).unwrap();
    assert!(!memberships());
    for name in ["a", "b"] {
        store.hub.join(&scope(), &group(name), connection.id()).unwrap();
    }
    store.hub.leave(&scope(), &group("a"), connection.id()).unwrap();
    assert!(memberships());
    store.hub.leave(&scope(), &group("b"), connection.id()).unwrap();
    assert!(!memberships());
    assert_eq!(store.hub.stage(&scope()).unwrap().sizes(), (1, 0, 0));
}

proptest! {
    #[test]
    fn any_history_agrees_with_the_model(script in prop::collection::vec(any::<u32>(), 0..150)) {
        let store = Store::new();
        at_once(suite::a_history_agrees_with_a_model(&store, &store, &script));
    }
}

#[test]
fn memory_of_a_peak_is_given_back_and_a_well_filled_map_is_left_alone() {
    let store = Store::new();
    let peak: Vec<_> = iter::repeat_with(|| open(&store)).take(20_000).collect();
    let remove = |gone: &[Arc<RecordingConnection>]| {
        for connection in gone {
            assert!(store.remove(connection.id()).is_some());
        }
    };
    remove(&peak[9_000..]);
    let half_empty = store.hub.connections.capacity();
    store.shrink();
    assert_eq!(store.hub.connections.capacity(), half_empty, "the next peak would grow it again");
    remove(&peak[100..9_000]);
    assert!(store.hub.connections.capacity() > 15_000, "a map does not shrink by itself");
    store.shrink();
    assert!(store.hub.connections.capacity() < PLACES_WORTH_KEEPING);
    assert_eq!(store.len(), 100);
    for connection in &peak[..100] {
        assert!(at_once(store.describe(&scope(), connection.id())).is_ok());
    }
}

/// The map takes the top seven bits for tags, those below them for the shard, and the low ones
/// for the bucket. Each must be spread evenly: 100,000 ids over 128 values are 781 ± 28 each.
#[test]
fn the_hash_spreads_ids_over_all_bits_that_the_map_uses() {
    let hashing = BuildHasherDefault::<IdHasher>::default();
    let store = Store::new();
    let hashes: Vec<u64> =
        iter::repeat_with(|| hashing.hash_one(store.allocate())).take(100_000).collect();
    for shift in [0, 7, 14, 20, 43, 50, 57] {
        let mut counts = [0; 128];
        for hash in &hashes {
            counts[(hash >> shift) as usize & 127] += 1;
        }
        for (value, count) in counts.iter().enumerate() {
            assert!(
                (580..=980).contains(count),
                "bits from {shift}: value {value} came {count} times"
            );
        }
    }
}
