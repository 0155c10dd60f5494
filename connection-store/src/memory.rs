//! The store of a single node: a hub, and nobody to ask beyond it.
//!
//! In:  connections of this process, and calls by id from any of its threads.
//! Out: answers that are ready when the call returns.
//!
//! ```text
//! post ──► shard (read lock, clone the Arc, unlock) ──► scope equal? ──► encode ──► send
//! ```
//!
//! Holds always: no lock is held while a connection is called, so a connection may call the store
//! from any of its methods, and a slow one delays only its caller. A connection leaves the map by
//! one atomic removal, whichever of `remove` and `close` does it.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use dashmap::DashMap;

use crate::{
    CloseRequest, ConnectionId, ConnectionStore, DeliveryError, Description, Lease,
    LocalConnection, Message, NodeId, Receipt, Reply, Scope,
};

/// Below this many places `shrink` leaves the map alone.
const PLACES_WORTH_KEEPING: usize = 4096;

/// All connections of a cluster of one node, sharded. The default store (`kind = "memory"`), and
/// the hub of stores that add a bus.
pub struct MemoryStore<C> {
    node: NodeId,
    connections: DashMap<ConnectionId, Arc<C>, BuildHasherDefault<IdHasher>>,
}

impl<C: LocalConnection> MemoryStore<C> {
    /// A store without connections, for a node of a random name.
    pub fn new() -> Self {
        Self::with_node(NodeId::random())
    }

    /// A store without connections, for a node whose name is settled elsewhere.
    pub fn with_node(node: NodeId) -> Self {
        Self { node, connections: DashMap::default() }
    }

    /// How many connections it holds.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// An id that no open connection has. Chance makes a second id equal to an earlier one once in
    /// 2⁶⁴ pairs; the check makes it never for those that it could harm.
    fn allocate_from(&self, mut random: impl FnMut() -> [u8; 8]) -> ConnectionId {
        loop {
            let id = ConnectionId::new(self.node, random());
            if !self.connections.contains_key(&id) {
                return id;
            }
        }
    }

    /// The connection, out of its shard, if it is one of that api and stage.
    fn find(&self, scope: &Scope, id: ConnectionId) -> Result<Arc<C>, DeliveryError> {
        let found = self.connections.get(&id).map(|entry| Arc::clone(&entry));
        found.filter(|connection| connection.scope() == scope).ok_or(DeliveryError::Gone)
    }
}

impl<C: LocalConnection> Default for MemoryStore<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: LocalConnection> ConnectionStore<C> for MemoryStore<C> {
    fn node(&self) -> NodeId {
        self.node
    }

    fn lease(&self) -> Lease {
        Lease::Unbounded
    }

    fn allocate(&self) -> ConnectionId {
        // The thread's generator is ChaCha, seeded by the operating system and again every 64 KiB:
        // ids that a client has seen tell nothing about those of others.
        self.allocate_from(rand::random)
    }

    fn insert(&self, connection: Arc<C>) {
        let id = connection.id();
        let earlier = self.connections.insert(id, connection);
        debug_assert!(earlier.is_none(), "connection {id} was inserted twice");
    }

    fn remove(&self, id: ConnectionId) -> Option<Arc<C>> {
        self.connections.remove(&id).map(|(_, connection)| connection)
    }

    fn post(
        &self,
        scope: &Scope,
        id: ConnectionId,
        message: Message,
    ) -> Reply<Result<Receipt, DeliveryError>> {
        Reply::ready(self.find(scope, id).and_then(|connection| {
            connection.send(&C::encode(&message))?;
            Ok(Receipt { node: self.node })
        }))
    }

    fn describe(
        &self,
        scope: &Scope,
        id: ConnectionId,
    ) -> Reply<Result<Description, DeliveryError>> {
        Reply::ready(self.find(scope, id).map(|connection| connection.describe()))
    }

    fn close(
        &self,
        scope: &Scope,
        id: ConnectionId,
        request: CloseRequest,
    ) -> Reply<Result<(), DeliveryError>> {
        Reply::ready(self.find(scope, id).and_then(|connection| {
            // First out of the map: whoever hears of the close, by the answer or by the socket,
            // must not reach the connection afterwards. The scope was compared outside the lock,
            // so the removal makes sure that it takes what was compared.
            let (_, connection) = self
                .connections
                .remove_if(&id, |_, held| Arc::ptr_eq(held, &connection))
                .ok_or(DeliveryError::Gone)?;
            connection.close(&request);
            Ok(())
        }))
    }

    /// Shrinks the map once three quarters of it stand empty: every entry moves, one shard at a
    /// time, while that shard is locked.
    fn shrink(&self) {
        let places = self.connections.capacity();
        if places > PLACES_WORTH_KEEPING && places / 4 >= self.connections.len() {
            self.connections.shrink_to_fit();
        }
    }

    fn local(&self) -> Vec<Arc<C>> {
        self.connections.iter().map(|entry| Arc::clone(&entry)).collect()
    }
}

/// Hashes an id by one multiplication of its two halves.
///
/// Not keyed, unlike the standard library's hasher, and need not be: what is *in* the map has
/// random bits that this node drew, so nobody can fill one bucket. Strangers choose only what is
/// looked up, and a look-up costs as much as what is in the bucket. The multiplication spreads the
/// randomness, of which a base64 character carries six bits, over the bits that choose shard
/// and bucket.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, text: &[u8]) {
        for pair in text.chunks(16) {
            let mut halves = [0; 16];
            halves[..pair.len()].copy_from_slice(pair);
            let halves = u128::from_le_bytes(halves);
            // Odd constants without a pattern (the fractions of the golden ratio and of √2), so
            // that no half of an id is likely to be zero.
            let low = (halves as u64) ^ 0x9e37_79b9_7f4a_7c15;
            let high = ((halves >> 64) as u64) ^ self.0 ^ 0x6a09_e667_f3bc_c909;
            let product = u128::from(low) * u128::from(high);
            self.0 = (product as u64) ^ ((product >> 64) as u64);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{
        hash::BuildHasher as _,
        iter,
        sync::{
            Barrier, Weak,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };

    use super::*;
    use crate::{
        MessageKind, SendError,
        suite::{self, RecordingConnection, at_once},
    };

    type Store = MemoryStore<RecordingConnection>;

    fn scope() -> Scope {
        Scope::new("chat", "prod")
    }

    fn text(payload: String) -> Message {
        Message { kind: MessageKind::Text, payload: payload.into() }
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
        /// Takes the write lock of its own shard and the read lock of all.
        fn meddle(&self) {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let store = self.store.upgrade().unwrap();
            let removed = store.remove(self.id);
            assert!(store.local().is_empty());
            if let Some(own) = removed {
                store.connections.insert(self.id, own);
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
            self.meddle();
            &self.scope
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

    /// A shard that is locked during a call would wait for itself for ever, hence the thread.
    #[test]
    fn no_lock_is_held_while_a_connection_is_called() {
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let store = Arc::new(MemoryStore::<Meddler>::new());
            let meddler = Arc::new(Meddler {
                id: store.allocate(),
                scope: scope(),
                store: Arc::downgrade(&store),
                calls: AtomicUsize::new(0),
            });
            let id = meddler.id;
            store.insert(Arc::clone(&meddler));
            at_once(store.post(&scope(), id, text(String::new()))).unwrap();
            at_once(store.describe(&scope(), id)).unwrap();
            at_once(store.close(&scope(), id, normal_close())).unwrap();
            done.send((meddler.calls.load(Ordering::Relaxed), store.len())).unwrap();
        });
        let outcome = is_done.recv_timeout(Duration::from_secs(20));
        // Three looks at the scope, one send, one description, one close.
        assert_eq!(outcome, Ok((6, 0)), "the store waits for its own lock");
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
        let half_empty = store.connections.capacity();
        store.shrink();
        assert_eq!(store.connections.capacity(), half_empty, "the next peak would grow it again");
        remove(&peak[100..9_000]);
        assert!(store.connections.capacity() > 15_000, "a map does not shrink by itself");
        store.shrink();
        assert!(store.connections.capacity() < PLACES_WORTH_KEEPING);
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
}
