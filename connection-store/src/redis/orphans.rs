//! The connections of nodes that died, for the gateway to run their `$disconnect`.
//!
//! In:  what the directory says of nodes without a lease; what the gateway says is done.
//! Out: [`Orphan`]s, each handed out again until it is done.
//!
//! ```text
//! survey ──► claim (fenced) ──► feed: HSCAN orphans ──► [64 wait] ──► Orphan ──► done ──► HDEL
//!                                                                       └─ dropped: once more
//! leave off ──► nothing more is claimed or handed out; what is under way is done ──► release
//! ```
//!
//! Holds always: a node's connections are handed out by one living node, which holds its lease and
//! has its link meanwhile; one that is done is not handed out again, unless this node dies between
//! the two; a claim is released when none of its connections is in anybody's hands.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use redis::Value;
use tokio::{
    sync::{Notify, mpsc, watch},
    time,
};

use super::{
    core::Bus,
    link::Link,
    scripts::{Caller, listed, node, number, texts},
    supervisor::End,
};
use crate::{ConnectionId, NodeId};

/// Orphans that wait for the gateway.
const WAITING: usize = 64;

/// Orphans that are read, or forgotten, by one command.
const BATCH: usize = 200;

/// Connections whose node has died, as this node claims them.
///
/// The gateway takes them at the rate at which it runs `$disconnect`: no more than 64 wait here.
pub struct Orphans {
    waiting: mpsc::Receiver<Orphan>,
    bus: Arc<Bus>,
}

impl Orphans {
    /// The next one, when there is one. `None` when the store is no more, or takes nothing over any
    /// more.
    pub async fn next(&mut self) -> Option<Orphan> {
        loop {
            let desk = &self.bus.desk;
            let orphan = tokio::select! {
                orphan = self.waiting.recv() => orphan?,
                () = desk.has_left_off() => {
                    // Nobody takes those that wait, nor one that is just being handed out.
                    self.waiting.close();
                    while self.waiting.recv().await.is_some() {}
                    return None;
                }
            };
            // It may have waited for long, and somebody else's have become meanwhile.
            if orphan.is_ours() {
                return Some(orphan);
            }
        }
    }
}

/// A connection whose node has died while it was open: it ended with 1006 (RFC 6455, 7.1.5).
///
/// Dropped without [`Self::done`], it is handed out again, here or by another node.
pub struct Orphan {
    id: ConnectionId,
    facts: Bytes,
    dead: NodeId,
    claimer: Caller,
    bus: Arc<Bus>,
    is_done: bool,
}

impl Orphan {
    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// What [`LocalConnection::disconnect_facts`](crate::LocalConnection::disconnect_facts) gave on
    /// the dead node. Perhaps of another release.
    pub fn facts(&self) -> &Bytes {
        &self.facts
    }

    /// Whether it is for this node to run its `$disconnect`, if that is begun at once. Once `false`,
    /// it is to be dropped: others may have taken it over, or may do so before they can be told what
    /// is done here.
    pub fn is_ours(&self) -> bool {
        let is_ours = self.bus.standing.acts_as(self.claimer, Instant::now());
        is_ours && !self.bus.desk.leaves_off()
    }

    /// Its `$disconnect` has been run.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        self.bus.desk.give_back(self.dead, self.id, self.is_done);
    }
}

impl Orphans {
    pub(super) fn new(waiting: mpsc::Receiver<Orphan>, bus: Arc<Bus>) -> Self {
        Self { waiting, bus }
    }
}

/// Who has been handed out, and who is done.
pub(super) struct Desk {
    queue: mpsc::Sender<Orphan>,
    ledger: Mutex<Ledger>,
    finished: Notify,
    claimed: watch::Sender<Vec<NodeId>>,
    leaves_off: watch::Sender<bool>,
    /// Something that was handed out is so no more.
    freed: Notify,
}

#[derive(Default)]
struct Ledger {
    handed_out: HashSet<(NodeId, ConnectionId)>,
    done: BTreeMap<NodeId, Vec<Vec<u8>>>,
    /// Forgotten since the last scan was sent: what it found may be older.
    forgotten: HashSet<(NodeId, ConnectionId)>,
    /// Nothing more is handed out.
    is_closed: bool,
}

impl Desk {
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Orphan>) {
        let (queue, waiting) = mpsc::channel(WAITING);
        let desk = Self {
            queue,
            ledger: Mutex::default(),
            finished: Notify::new(),
            claimed: watch::Sender::new(Vec::new()),
            leaves_off: watch::Sender::new(false),
            freed: Notify::new(),
        };
        (Arc::new(desk), waiting)
    }

    fn ledger<T>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        // It is whole between any two statements.
        with(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give_back(&self, dead: NodeId, id: ConnectionId, is_done: bool) {
        if is_done {
            // Stays handed out until the directory has forgotten it.
            let id = id.as_bytes().to_vec();
            self.ledger(|ledger| ledger.done.entry(dead).or_default().push(id));
            self.finished.notify_one();
        } else {
            self.ledger(|ledger| ledger.handed_out.remove(&(dead, id)));
            self.freed.notify_one();
        }
    }

    /// Nothing more is claimed, nothing more handed out, and claims are released.
    pub(super) fn leave_off(&self) {
        self.ledger(|ledger| ledger.is_closed = true);
        self.leaves_off.send_replace(true);
    }

    fn leaves_off(&self) -> bool {
        *self.leaves_off.borrow()
    }

    async fn has_left_off(&self) {
        // It fails only without the desk.
        let _ = self.leaves_off.subscribe().wait_for(|leaves| *leaves).await;
    }

    /// Whether none of a dead node's connections is in anybody's hands, or done and not noted yet.
    fn has_all_back(&self, dead: NodeId) -> bool {
        self.ledger(|ledger| {
            !ledger.done.contains_key(&dead)
                && !ledger.handed_out.iter().any(|(node, _)| *node == dead)
        })
    }
}

/// Claims nodes that have died, and tidies up after them, for as long as the link works.
pub(super) async fn survey(bus: &Bus, link: &Link, caller: Caller, from: Instant) -> End {
    let desk = &bus.desk;
    tokio::select! {
        () = time::sleep_until(from.into()) => {}
        () = desk.has_left_off() => {}
    }
    while !desk.leaves_off() {
        if let Err(end) = look_around(bus, link, caller).await {
            return end;
        }
        tokio::select! {
            () = time::sleep(bus.options.renewal()) => {}
            () = desk.has_left_off() => {}
        }
    }
    loop {
        if let Err(end) = release(bus, link, caller).await {
            return end;
        }
        desk.freed.notified().await;
    }
}

/// Leaves to others what this node has claimed, as far as nothing of it is under way here.
async fn release(bus: &Bus, link: &Link, caller: Caller) -> Result<(), End> {
    let (_dead, _abandoned, mine) = look(bus, link, caller).await?;
    for dead in mine.into_iter().filter(|dead| bus.desk.has_all_back(*dead)) {
        link.query(&caller.release(&bus.keys, dead)).await?;
    }
    Ok(())
}

/// Who is dead, whose claimer is, and whom this node has claimed.
async fn look(
    bus: &Bus,
    link: &Link,
    caller: Caller,
) -> Result<(Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<NodeId>), End> {
    let mut parts = listed(link.query(&caller.survey(&bus.keys)).await?).into_iter();
    let mut next = || texts(parts.next().unwrap_or(Value::Nil));
    let (dead, abandoned, mine) = (next(), next(), next());
    Ok((dead, abandoned, mine.iter().filter_map(|text| node(text)).collect()))
}

async fn look_around(bus: &Bus, link: &Link, caller: Caller) -> Result<(), End> {
    let (dead, abandoned, mut mine) = look(bus, link, caller).await?;
    for pair in dead.chunks_exact(2) {
        let claim = caller.claim(&bus.keys, &pair[0], &pair[1]);
        if number(&link.query(&claim).await?) == 1 {
            bus.counters.claimed_nodes.add(1);
            if let Some(dead) = node(&pair[0]) {
                bus.node_fell(dead);
                mine.push(dead);
            }
        }
    }
    for pair in abandoned.chunks_exact(2) {
        let inherit = caller.inherit(&bus.keys, &pair[0], &pair[1]);
        if number(&link.query(&inherit).await?) == 1 {
            mine.extend(node(&pair[0]));
        }
    }
    bus.desk.claimed.send_replace(mine.clone());
    for dead in mine {
        while number(&link.query(&caller.clean(&bus.keys, dead)).await?) == 1 {}
    }
    Ok(())
}

/// Hands orphans out, for as long as the link works.
pub(super) async fn feed(bus: &Arc<Bus>, link: &Link, caller: Caller) -> End {
    let desk = &bus.desk;
    let mut claimed = desk.claimed.subscribe();
    loop {
        if claimed.changed().await.is_err() {
            return End::Stopped;
        }
        let nodes = claimed.borrow_and_update().clone();
        for dead in nodes {
            if let Err(end) = feed_from(bus, link, caller, dead).await {
                return end;
            }
        }
    }
}

async fn feed_from(bus: &Arc<Bus>, link: &Link, claimer: Caller, dead: NodeId) -> Result<(), End> {
    let (desk, key) = (&bus.desk, bus.keys.of_node("orphans", dead));
    let mut cursor = b"0".to_vec();
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(&key).arg(cursor).arg("COUNT").arg(BATCH);
        desk.ledger(|ledger| ledger.forgotten.clear());
        let mut scanned = listed(link.query(&scan).await?).into_iter();
        cursor = match scanned.next() {
            Some(Value::BulkString(cursor)) => cursor,
            _ => return Err(End::Broken),
        };
        let mut pairs = texts(scanned.next().unwrap_or(Value::Nil)).into_iter();
        while let (Some(id), Some(facts)) = (pairs.next(), pairs.next()) {
            let parsed = std::str::from_utf8(&id).ok().and_then(|text| text.parse().ok());
            let Some(parsed) = parsed else {
                // Nobody can run it.
                desk.ledger(|ledger| ledger.done.entry(dead).or_default().push(id));
                desk.finished.notify_one();
                continue;
            };
            let Ok(place) = desk.queue.reserve().await else { return Ok(()) };
            if !bus.standing.holds(Instant::now()) {
                return Err(End::Broken);
            }
            if desk.ledger(|ledger| ledger.hand_out(dead, parsed)) {
                bus.counters.orphans.add(1);
                let (facts, bus) = (facts.into(), Arc::clone(bus));
                place.send(Orphan { id: parsed, facts, dead, claimer, bus, is_done: false });
            }
        }
        if cursor == b"0" {
            return Ok(());
        }
    }
}

/// Has the directory forget orphans that are done, for as long as the link works.
pub(super) async fn forget(bus: &Bus, link: &Link, caller: Caller) -> End {
    loop {
        if let Err(end) = forget_done(bus, link, caller).await {
            return end;
        }
        bus.desk.finished.notified().await;
    }
}

/// Has the directory forget the orphans that are done by now.
pub(super) async fn forget_done(bus: &Bus, link: &Link, caller: Caller) -> Result<(), End> {
    let desk = &bus.desk;
    // They stay in the ledger until the directory has answered: this may be cut off anywhere.
    while let Some((dead, ids)) = desk.ledger(|ledger| {
        let (dead, ids) = ledger.done.first_key_value()?;
        Some((*dead, ids[..ids.len().min(BATCH)].to_vec()))
    }) {
        link.query(&caller.forget(&bus.keys, dead, &ids)).await?;
        desk.ledger(|ledger| ledger.forget(dead, &ids));
        desk.freed.notify_one();
    }
    Ok(())
}

impl Ledger {
    /// Whether an orphan that a scan has found is to be handed out.
    fn hand_out(&mut self, dead: NodeId, id: ConnectionId) -> bool {
        !self.is_closed
            && !self.forgotten.contains(&(dead, id))
            && self.handed_out.insert((dead, id))
    }

    /// The first of a dead node's orphans that are done are in the directory no more.
    fn forget(&mut self, dead: NodeId, ids: &[Vec<u8>]) {
        if let Some(done) = self.done.get_mut(&dead) {
            done.drain(..ids.len().min(done.len()));
            if done.is_empty() {
                self.done.remove(&dead);
            }
        }
        for id in ids {
            if let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) {
                self.handed_out.remove(&(dead, id));
                self.forgotten.insert((dead, id));
            }
        }
    }
}
