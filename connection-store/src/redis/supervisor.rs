//! The thread of a Redis store: makes the link, keeps the lease, and begins anew after each loss.
//!
//! In:  nothing but time, and the wish to end.
//! Out: the standing of this node, and tasks that publish, read, write and claim while a link works.
//!
//! ```text
//! connect ─► hold the number ─► subscribe ─► probe came back: online ─► directory written: delivers
//!    ▲            └─ fallen: close what is open (1012), take another number ─┐      │
//!    └── back off ◄── a renewal, a probe or a write failed; the link is lost ◄──────┘
//! ```
//!
//! Holds always: what is online has answered a probe within the last interval and its timeout; when
//! that ends, all who wait for other nodes are told at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use redis::{RedisError, Value};
use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot},
    time,
};

use super::{
    core::{Bus, Core},
    inbox,
    link::{self, Link, Pushed},
    orphans,
    outbox::{self, Outgoing},
    scripts::{Caller, Hold, listed, node, number, texts},
    standing::Online,
    wire::{self, Batch, Body, Dropped, Question},
};
use crate::{CloseRequest, ConnectionStore as _, LocalConnection, NodeId};

/// Bus messages that wait to be read.
const INBOX: usize = 4096;

/// Bytes of them.
const INBOX_BYTES: usize = 64 << 20;

/// The wait after a first failure, doubled after each one more.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest wait: delivery is back soon after its server.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A directory that is younger may lack nodes that are on their way back to it, and of which nobody
/// there knows: they try again after [`LONGEST_PAUSE`] at the latest.
const YOUNG: Duration = Duration::from_secs(2);

/// Why a link is no more used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It does not do what it should.
    Broken,
    /// This node's number is another's, or dead.
    Fallen,
    /// The store ends.
    Stopped,
}

impl From<RedisError> for End {
    fn from(_: RedisError) -> Self {
        Self::Broken
    }
}

/// What a store wants of its thread.
pub(super) enum Wish {
    /// Write what is pending, leave the directory, and end; then tell.
    Leave(oneshot::Sender<()>),
}

/// Runs until the store is dropped or leaves.
pub(super) async fn run<C: LocalConnection>(
    core: Arc<Core<C>>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    mut wishes: mpsc::Receiver<Wish>,
) {
    let ending = Ending(Arc::clone(&core.bus));
    let mut state =
        Supervisor { core: Arc::clone(&core), has_held: false, is_first: true, has_tried: false };
    let wish = tokio::select! {
        wish = state.supervise(&mut outgoing, &mut wishes) => wish,
        () = expire(&core) => None,
    };
    drop(ending);
    if let Some(Wish::Leave(left)) = wish {
        let _gone = left.send(());
    }
}

/// The thread ends, perhaps by a panic of a connection that it called: this node then speaks for
/// nobody and is not ready, and whoever waits is told.
struct Ending(Arc<Bus>);

impl Drop for Ending {
    fn drop(&mut self) {
        unlink(&self.0);
        self.0.standing.ended();
    }
}

/// Nobody is reached any more.
fn unlink(bus: &Bus) {
    bus.standing.went_offline();
    bus.directory.close();
    bus.outbox.give_up();
}

/// Gives up questions whose time is over, for ever.
async fn expire<C>(core: &Core<C>) {
    let bus = &core.bus;
    let step =
        (bus.options.patience() / 20).clamp(Duration::from_millis(5), Duration::from_millis(100));
    let mut clock = time::interval(step);
    loop {
        clock.tick().await;
        bus.counters.timeouts.add(bus.outbox.expire(Instant::now()));
    }
}

struct Supervisor<C> {
    core: Arc<Core<C>>,
    /// Whether the present number has ever been held.
    has_held: bool,
    /// Whether no link has worked yet.
    is_first: bool,
    /// Whether one was tried before.
    has_tried: bool,
}

impl<C: LocalConnection> Supervisor<C> {
    async fn supervise(
        &mut self,
        outgoing: &mut mpsc::Receiver<Outgoing>,
        wishes: &mut mpsc::Receiver<Wish>,
    ) -> Option<Wish> {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let (end, wish) = self.serve(outgoing, wishes).await;
            unlink(&self.core.bus);
            match end {
                End::Stopped => return wish,
                End::Fallen => self.take_another_number(),
                End::Broken => {
                    if begun.elapsed() > 2 * LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    // Not in step with the other nodes.
                    let wait = pause.mul_f64(rand::random_range(0.5..1.0));
                    tokio::select! {
                        () = time::sleep(wait) => {}
                        wish = wishes.recv() => return wish,
                    }
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Makes a link and uses it to its end.
    async fn serve(
        &mut self,
        outgoing: &mut mpsc::Receiver<Outgoing>,
        wishes: &mut mpsc::Receiver<Wish>,
    ) -> (End, Option<Wish>) {
        let core = Arc::clone(&self.core);
        let bus = &core.bus;
        let caller = bus.standing.caller();
        let suspicion = Arc::new(Notify::new());
        let (messages, mut inbox) = Inbox::new(bus, &suspicion);
        let connecting = self.connect(caller, messages);
        let connected = tokio::select! {
            connected = time::timeout(4 * bus.options.command_timeout(), connecting) => connected,
            wish = wishes.recv() => return (End::Stopped, wish),
        };
        let (online, claims_from) = match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(End::Fallen)) => return (End::Fallen, None),
            Ok(Err(_)) | Err(_) => {
                if connected.is_err() {
                    let patience = 4 * bus.options.command_timeout();
                    bus.standing.failed(&format_args!("no link within {patience:?}"));
                }
                bus.counters.failed_connects.add(1);
                return (End::Broken, None);
            }
        };
        bus.counters.connects.add(1);
        let link = online.link.clone();
        let online = || {
            bus.standing.came_online(online);
            bus.directory.open();
        };
        let (end, wish) = tokio::select! {
            () = outbox::publish(bus, &link, outgoing, &suspicion) => (End::Stopped, None),
            () = inbox.read(&core) => (End::Broken, None),
            end = keep_lease(bus, &link, caller) => (end, None),
            // A lookup that found another directory than the one that this node is in.
            () = bus.directory.doubted() => (End::Broken, None),
            end = probe(&core, &link, caller, online) => (end, None),
            end = bus.directory.write(&core, &link, caller) => {
                (end.err().unwrap_or(End::Broken), None)
            }
            end = orphans::survey(bus, &link, caller, claims_from) => (end, None),
            end = orphans::feed(bus, &link, caller) => (end, None),
            end = orphans::forget(bus, &link, caller) => (end, None),
            // A publish that failed, or the link's own end.
            () = suspicion.notified() => (End::Broken, None),
            wish = wishes.recv() => (End::Stopped, wish),
        };
        if let (End::Stopped, Some(Wish::Leave(_))) = (end, &wish) {
            // Another node does for this one what cannot be done here.
            let _ = orphans::forget_done(bus, &link, caller).await;
            let _ = bus.directory.flush(&core, &link, caller).await;
            let _ = link.query(&caller.leave(&bus.keys)).await;
        }
        bus.counters.disconnects.add(1);
        (end, wish)
    }

    /// A link on which the number is held and the inbox heard, and from when on others may be
    /// claimed.
    async fn connect(&mut self, caller: Caller, messages: Inbox) -> Result<(Online, Instant), End> {
        let bus = &self.core.bus;
        let is_first_attempt = !std::mem::replace(&mut self.has_tried, true);
        let told = |error: RedisError| {
            bus.standing.failed(&link::in_words(&error));
            End::from(error)
        };
        let linked = Link::connect(&bus.options, move |pushed| messages.take(pushed)).await;
        let mut link = linked.map_err(told)?;
        let has_members = !self.core.inner.audiences().is_empty();
        let is_new = is_first_attempt && !has_members;
        let hold_as = if is_new { Hold::New } else { Hold::Back };
        let held = hold(bus, &link, caller, hold_as).await?;
        self.has_held = true;
        // Who has died is dead in an empty directory too, and learns it when it wakes up.
        write_tombstones(bus, &link, caller).await.map_err(told)?;
        // Before that, messages would be somebody else's.
        link.subscribe(&bus.keys.inbox(caller.node)).await.map_err(told)?;
        let lease = bus.options.lease_time();
        let whole_at = Instant::now() + lease;
        // A new node among old ones need not wait to know who is gone.
        let is_new_among_old = self.is_first && held.age >= 2 * lease;
        self.is_first = false;
        let now = Instant::now();
        let settled_at = if is_new_among_old { now } else { whole_at };
        // Who begins in an empty directory begins, unless there has been one before.
        let known_from = if is_new { now } else { now + YOUNG.saturating_sub(held.age) };
        // The rounds begin with 1. Who has had no link before has seen nothing that could be lost.
        let round = if is_new { 1 } else { held.round };
        Ok((Online { link, settled_at, known_from, round }, whole_at))
    }

    /// This node is dead by the directory: it closes what it holds, for others have it now, and goes
    /// on under another number.
    fn take_another_number(&mut self) {
        let (bus, store) = (&self.core.bus, &self.core.inner);
        let (old, number) = (bus.standing.caller().node, NodeId::random());
        if self.has_held {
            bus.node_fell(old);
        }
        bus.counters.lost_leases.add(u64::from(self.has_held));
        bus.standing.renumber(number, self.has_held);
        self.has_held = false;
        // In this order: what is inserted under the old number from now on is closed by `insert`.
        store.rename(number);
        for connection in store.local() {
            if connection.id().node() != number {
                let _first = store.close(connection.scope(), connection.id(), restart());
            }
        }
    }
}

/// What a client is told whose node has lost its number: 1012, service restart.
pub(super) fn restart() -> CloseRequest {
    CloseRequest { code: 1012, reason: "the node has lost its lease".to_owned() }
}

/// What the directory says to who holds a number.
pub(super) struct Held {
    /// Whether the directory knew this node already.
    pub(super) was_known: bool,
    /// Of the directory.
    age: Duration,
    round: u64,
}

/// Takes or renews the lease, and notes who else is there.
pub(super) async fn hold(
    bus: &Bus,
    link: &Link,
    caller: Caller,
    hold_as: Hold,
) -> Result<Held, End> {
    let (asked, lease) = (Instant::now(), bus.options.lease_time());
    let held = link.query(&caller.hold(&bus.keys, lease.as_millis(), hold_as)).await;
    let answer = listed(held.inspect_err(|error| bus.standing.failed(&link::in_words(error)))?);
    if answer.first().is_some_and(|known| number(known) < 0) {
        return Err(End::Fallen);
    }
    let [known, age, round, nodes] = <[Value; 4]>::try_from(answer).map_err(|_| End::Broken)?;
    bus.standing.renewed(asked, lease);
    let nodes = texts(nodes);
    let missing = bus.roll.call(nodes.iter().filter_map(|text| node(text)), Instant::now(), lease);
    bus.have_fallen(link, &missing).await?;
    let [age, round] = [age, round].map(|value| number(&value).try_into().unwrap_or(0));
    Ok(Held { was_known: number(&known) > 0, age: Duration::from_millis(age), round })
}

/// Writes what tombstones this node knows of, for as long as each still stands.
async fn write_tombstones(bus: &Bus, link: &Link, caller: Caller) -> Result<(), RedisError> {
    let writes = bus.roll.tombstones(Instant::now()).into_iter().map(|(node, left)| {
        let bury = caller.bury(&bus.keys, node, left.as_millis());
        async move { link.query(&bury).await }
    });
    try_join_all(writes).await.map(drop)
}

/// Renews the lease, for as long as that works: after each probe, so that it is the probe that
/// misses a server that says nothing. So often because the others wait for it, see [`Hold::Back`].
async fn keep_lease(bus: &Bus, link: &Link, caller: Caller) -> End {
    let mut probed = bus.probed.subscribe();
    loop {
        if probed.changed().await.is_err() {
            return End::Stopped;
        }
        match hold(bus, link, caller, bus.directory.hold()).await {
            Ok(held) if held.was_known => {}
            // The directory has been lost: it is written anew, whole.
            Ok(_) => return End::Broken,
            Err(end) => return end,
        }
    }
}

/// Sends a message to the own inbox once a second, for as long as it comes back.
async fn probe<C: LocalConnection>(
    core: &Core<C>,
    link: &Link,
    caller: Caller,
    online: impl FnOnce(),
) -> End {
    let bus = &core.bus;
    let inbox = bus.keys.inbox(caller.node);
    let mut probed = bus.probed.subscribe();
    let mut online = Some(online);
    loop {
        let sent: u64 = rand::random();
        let mut batch = Batch::new(caller.node);
        if let Some(item) = wire::item(sent, &Body::Question(Question::Probe)) {
            batch.push(&item);
        }
        let comes_back = async {
            let published = link.publish(&inbox, &batch.into_bytes()).await;
            published.inspect_err(|error| bus.standing.failed(&link::in_words(error))).ok()?;
            probed.wait_for(|came| *came == sent).await.ok().map(drop)
        };
        if !matches!(time::timeout(bus.options.command_timeout(), comes_back).await, Ok(Some(()))) {
            bus.counters.failed_probes.add(1);
            return End::Broken;
        }
        if let Some(online) = online.take() {
            online();
        }
        time::sleep(bus.options.probing()).await;
    }
}

/// Where the link puts what is published to this node.
struct Inbox {
    messages: mpsc::Sender<Vec<u8>>,
    waiting_bytes: Arc<AtomicUsize>,
    suspicion: Arc<Notify>,
    bus: Arc<Bus>,
}

/// Where it is read.
struct Reading {
    messages: mpsc::Receiver<Vec<u8>>,
    waiting_bytes: Arc<AtomicUsize>,
    under_way: Arc<Semaphore>,
}

impl Inbox {
    fn new(bus: &Arc<Bus>, suspicion: &Arc<Notify>) -> (Self, Reading) {
        let (messages, received) = mpsc::channel(INBOX);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        let inbox = Self {
            messages,
            waiting_bytes: Arc::clone(&waiting_bytes),
            suspicion: Arc::clone(suspicion),
            bus: Arc::clone(bus),
        };
        let under_way = Arc::new(Semaphore::new(inbox::UNDER_WAY));
        (inbox, Reading { messages: received, waiting_bytes, under_way })
    }

    fn take(&self, pushed: Pushed) {
        let message = match pushed {
            Pushed::Message(message) => message,
            Pushed::Lost => return self.suspicion.notify_one(),
        };
        let length = message.len();
        if length > wire::MAX_MESSAGE_BYTES {
            return self.bus.counters.dropped(Dropped::TooLong);
        }
        let waiting = self.waiting_bytes.fetch_add(length, Ordering::Relaxed);
        if waiting > INBOX_BYTES || self.messages.try_send(message).is_err() {
            self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
            self.bus.counters.dropped_overflow.add(1);
        }
    }
}

impl Reading {
    async fn read<C: LocalConnection>(&mut self, core: &Arc<Core<C>>) {
        while let Some(message) = self.messages.recv().await {
            let length = message.len();
            inbox::read(core, message, &self.under_way).await;
            self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
        }
    }
}
