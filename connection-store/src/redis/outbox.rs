//! What leaves this node, and the questions that wait for an answer.
//!
//! In:  questions and answers from any thread, each for one node; answers as they arrive.
//! Out: bus messages, each with all that waits for its node; and every question's answer, once.
//!
//! Holds always: one message is published after the other, so what one caller sent after an answer
//! comes after it. A question is published once at most, and answered by its deadline: by its
//! receiver, by the directory, or as [`DeliveryError::Unavailable`].

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    core::Bus,
    link::Link,
    wire::{self, Answer, Batch, Body, Question},
};
use crate::{DeliveryError, NodeId, Unavailable};

/// Items that wait to be published.
const CAPACITY: usize = 65_536;

/// Bytes of them.
const CAPACITY_BYTES: usize = 64 << 20;

/// Items that are taken out at once, of all nodes.
const TAKEN: usize = 1024;

/// A bus message is not filled beyond this; one item may be longer.
const BATCH_BYTES: usize = 256 << 10;

pub(super) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    queued_bytes: AtomicUsize,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

pub(super) struct Outgoing {
    to: NodeId,
    /// Of a question.
    number: Option<u64>,
    item: Vec<u8>,
}

#[derive(Default)]
struct Waiting {
    asked: HashMap<u64, (NodeId, oneshot::Sender<Answer>)>,
    /// In the order of their deadlines. Those that were answered stand here until then.
    deadlines: VecDeque<(Instant, u64)>,
}

impl Outbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (queue, outgoing) = mpsc::channel(CAPACITY);
        let outbox = Self {
            queue,
            queued_bytes: AtomicUsize::new(0),
            // Not from 0: an answer to a process that was here before must not fit.
            next: AtomicU64::new(rand::random()),
            waiting: Mutex::default(),
        };
        (outbox, outgoing)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // It is whole between any two statements.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Questions that wait, and bytes that do.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.waiting().asked.len(), self.queued_bytes.load(Ordering::Relaxed))
    }

    /// Sends a question. The receiver gets the answer, or nothing where nobody gives any.
    pub(super) fn ask(
        &self,
        to: NodeId,
        question: Question,
        patience: Duration,
    ) -> Result<oneshot::Receiver<Answer>, Unavailable> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let item = wire::item(number, &Body::Question(question)).ok_or(Unavailable)?;
        let length = item.len();
        if self.queued_bytes.fetch_add(length, Ordering::Relaxed) > CAPACITY_BYTES {
            self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(Unavailable);
        }
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            waiting.asked.insert(number, (to, answer));
            waiting.deadlines.push_back((Instant::now() + patience, number));
        }
        if self.queue.try_send(Outgoing { to, number: Some(number), item }).is_err() {
            self.waiting().asked.remove(&number);
            self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(Unavailable);
        }
        Ok(answered)
    }

    /// Sends an answer, as soon as there is room for it.
    pub(super) async fn answer(&self, to: NodeId, number: u64, answer: Answer) {
        let failed = Answer::Failed(DeliveryError::Unavailable);
        let item = wire::item(number, &Body::Answer(answer))
            .or_else(|| wire::item(number, &Body::Answer(failed)));
        if let Some(item) = item {
            self.queued_bytes.fetch_add(item.len(), Ordering::Relaxed);
            let _closed = self.queue.send(Outgoing { to, number: None, item }).await;
        }
    }

    /// An answer has come. Whether anybody waited for it.
    pub(super) fn arrived(&self, number: u64, answer: Answer) -> bool {
        let asked = self.waiting().asked.remove(&number);
        // Whoever asked may have gone since.
        asked.map(|(_, asked)| asked.send(answer).ok()).is_some()
    }

    /// Answers every question that waits for one node.
    pub(super) fn answer_for(&self, node: NodeId, answer: &Answer) {
        let waiting = &mut self.waiting().asked;
        for (_, (_, asked)) in waiting.extract_if(|_, (to, _)| *to == node) {
            // Whoever asked may have gone since.
            let _ = asked.send(answer.clone());
        }
    }

    /// Gives up the questions whose deadline has passed. How many.
    pub(super) fn expire(&self, now: Instant) -> u64 {
        let mut expired = 0;
        let mut waiting = self.waiting();
        while let Some((deadline, number)) = waiting.deadlines.front().copied()
            && deadline <= now
        {
            waiting.deadlines.pop_front();
            // Dropped, the sender tells its receiver.
            expired += u64::from(waiting.asked.remove(&number).is_some());
        }
        if waiting.asked.capacity() > CAPACITY && waiting.asked.len() < CAPACITY / 8 {
            waiting.asked.shrink_to(CAPACITY / 4);
            waiting.deadlines.shrink_to(CAPACITY / 4);
        }
        expired
    }

    /// Gives up every question: nobody can answer now.
    pub(super) fn give_up(&self) {
        let mut waiting = self.waiting();
        waiting.asked.clear();
        waiting.deadlines.clear();
    }

    fn is_asked(&self, number: u64) -> bool {
        self.waiting().asked.contains_key(&number)
    }
}

/// A bus message for one node.
struct Parcel {
    to: NodeId,
    batch: Batch,
    questions: Vec<u64>,
}

/// Publishes what waits, for as long as the link works. What goes wrong is told to `suspicion`.
pub(super) async fn publish(
    bus: &Arc<Bus>,
    link: &Link,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    suspicion: &Notify,
) {
    let mut taken = Vec::new();
    while outgoing.recv_many(&mut taken, TAKEN).await > 0 {
        let parcels = pack(bus, taken.drain(..));
        let publishes = parcels.into_iter().map(async |Parcel { to, batch, questions }| {
            bus.counters.published.add(1);
            bus.counters.published_bytes.add(batch.len() as u64);
            let heard = link.publish(&bus.keys.inbox(to), &batch.into_bytes()).await;
            (to, questions, heard)
        });
        for (to, questions, heard) in join_all(publishes).await {
            match heard {
                Ok(0) if !questions.is_empty() => {
                    let (bus, link) = (Arc::clone(bus), link.clone());
                    tokio::spawn(async move {
                        let error = absence(&bus, &link, to).await;
                        for number in questions {
                            bus.outbox.arrived(number, Answer::Failed(error));
                        }
                    });
                }
                Ok(_) => {}
                Err(_) => {
                    // It may have been heard or not; nobody will know in time.
                    for number in questions {
                        let failed = Answer::Failed(DeliveryError::Unavailable);
                        bus.outbox.arrived(number, failed);
                    }
                    suspicion.notify_one();
                }
            }
        }
    }
}

/// Puts items together, each node's in their order.
fn pack(bus: &Bus, taken: impl Iterator<Item = Outgoing>) -> Vec<Parcel> {
    let sender = bus.standing.caller().node;
    let mut parcels: Vec<Parcel> = Vec::new();
    let mut filling: HashMap<NodeId, usize> = HashMap::new();
    for Outgoing { to, number, item } in taken {
        bus.outbox.queued_bytes.fetch_sub(item.len(), Ordering::Relaxed);
        if number.is_some_and(|number| !bus.outbox.is_asked(number)) {
            continue;
        }
        let place = match filling.entry(to) {
            Entry::Occupied(place)
                if parcels[*place.get()].batch.len() + item.len() <= BATCH_BYTES =>
            {
                *place.get()
            }
            entry => {
                parcels.push(Parcel { to, batch: Batch::new(sender), questions: Vec::new() });
                entry.insert_entry(parcels.len() - 1);
                parcels.len() - 1
            }
        };
        parcels[place].batch.push(&item);
        parcels[place].questions.extend(number);
    }
    parcels
}

/// Why nobody listens at a node's inbox: it is dead, or not there for a moment.
async fn absence(bus: &Bus, link: &Link, node: NodeId) -> DeliveryError {
    let mut entry = redis::cmd("HEXISTS");
    entry.arg(bus.keys.of("nodes")).arg(node.to_string());
    // In this order, and one behind the other: who leaves between the two has its tombstone.
    let lacking = [node];
    let (entry, has_fallen) = tokio::join!(link.query(&entry), bus.have_fallen(link, &lacking));
    match entry {
        _ if has_fallen.is_ok_and(|has_fallen| has_fallen) => DeliveryError::Gone,
        // A directory that was just written may lack nodes that live.
        Ok(Value::Int(0)) if bus.standing.is_settled(Instant::now()) => DeliveryError::Gone,
        Ok(Value::Boolean(false)) if bus.standing.is_settled(Instant::now()) => DeliveryError::Gone,
        _ => DeliveryError::Unavailable,
    }
}
