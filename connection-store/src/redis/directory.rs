//! What this node has to tell the directory, and what the directory tells of others.
//!
//! In:  which audiences have members here, and connections' facts, as they change, from any thread;
//! the store as it is and who is closing, after each reconnect.
//! Out: batches of changes, written by one task; and to whoever waits, here and on other nodes, that
//! all was written.
//!
//! ```text
//! changed, keep, forget ──► pending (one entry for each key: only the last change counts) ──► WRITE
//! reconnect ──► everything in memory, beneath what is pending ──┘
//! ```
//!
//! A server whose memory is full takes out what it is told to, and what it has no room for stays
//! pending: whoever waits for that is told so, other nodes are where audiences are concerned, and it is
//! tried again until there is room.
//!
//! Holds always: while the link is down nothing is kept here, since the store itself is. So this
//! never holds more than there are connections, audiences, and changes of one batch.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time,
};

use super::{
    core::Core,
    keys::Keys,
    link::{self, Link},
    scripts::{Caller, Changes, Hold, number, texts},
    supervisor::{End, hold},
};
use crate::{Audience, ConnectionId, InterestWatcher, LocalConnection, Reply, Scope, Unavailable};

/// Changes of one script: what the server does at a stretch.
const BATCH: usize = 400;

/// Between two attempts to write what a full server had no room for. A client that connects waits for
/// one of them.
const FULL_PAUSE: Duration = Duration::from_millis(250);

/// What the log says then.
const FULL: &str = "its memory is full (maxmemory): new groups, users and what `$disconnect`s need are \
                    written when there is room; until then other nodes' sends may be answered 503";

pub(super) struct Directory {
    keys: Arc<Keys>,
    pending: Mutex<Pending>,
    changed: Notify,
    progress: watch::Sender<Progress>,
    /// On the present link, all that this node has has been written.
    is_whole: AtomicBool,
    doubted: Notify,
}

#[derive(Default)]
struct Pending {
    is_open: bool,
    fresh: News,
    /// On its way, older than what is fresh.
    writing: News,
    /// Changes so far.
    serial: u64,
}

#[derive(Default)]
struct News {
    /// The name of each audience, and whether it has members.
    interest: HashMap<Vec<u8>, bool>,
    /// Facts that are new, or to be forgotten.
    facts: HashMap<ConnectionId, Option<Bytes>>,
    /// In the directory, and nowhere else.
    strays: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// The last change that was written.
    written: u64,
    /// The last change up to which there was no room for all.
    refused: u64,
    /// How often a link was made or lost.
    links: u64,
}

impl Directory {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        let progress = watch::Sender::new(Progress::default());
        Self {
            keys,
            pending: Mutex::default(),
            changed: Notify::new(),
            progress,
            is_whole: AtomicBool::new(false),
            doubted: Notify::new(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // It is whole between any two statements.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending();
        pending.serial += 1;
        if pending.is_open {
            change(&mut pending);
            drop(pending);
            self.changed.notify_one();
        }
    }

    /// A connection's facts are to be kept.
    pub(super) fn keep(&self, id: ConnectionId, facts: Bytes) {
        self.change(|pending| _ = pending.fresh.facts.insert(id, Some(facts)));
    }

    /// A connection's facts are needed no more.
    pub(super) fn forget(&self, id: ConnectionId) {
        self.change(|pending| _ = pending.fresh.facts.insert(id, None));
    }

    /// Is ready when all changes up to now stand in the directory.
    pub(super) fn published(&self) -> Reply<Result<(), Unavailable>> {
        let (wanted, is_open, begun) = {
            let pending = self.pending();
            (pending.serial, pending.is_open, *self.progress.borrow())
        };
        if !is_open {
            return Reply::ready(Err(Unavailable));
        }
        if begun.written >= wanted {
            return Reply::ready(Ok(()));
        }
        if begun.refused >= wanted {
            return Reply::ready(Err(Unavailable));
        }
        let mut progress = self.progress.subscribe();
        Reply::Later(Box::pin(async move {
            let done = |now: &Progress| {
                now.written >= wanted || now.refused >= wanted || now.links != begun.links
            };
            match progress.wait_for(done).await {
                Ok(now) if now.written >= wanted => Ok(()),
                _ => Err(Unavailable),
            }
        }))
    }

    /// The link works: changes are kept from now on until they are written.
    pub(super) fn open(&self) {
        let mut pending = self.pending();
        pending.is_open = true;
        // Under the lock: who sees the one sees the other.
        self.progress.send_modify(|progress| progress.links += 1);
        drop(pending);
        self.changed.notify_one();
    }

    /// The link is lost: what was not written is read from the store when it is back.
    pub(super) fn close(&self) {
        let mut pending = self.pending();
        *pending = Pending { serial: pending.serial, ..Pending::default() };
        self.is_whole.store(false, Ordering::Relaxed);
        self.progress.send_modify(|progress| progress.links += 1);
    }

    /// What this node says of itself when it renews its lease.
    pub(super) fn hold(&self) -> Hold {
        if self.is_whole.load(Ordering::Relaxed) { Hold::Whole } else { Hold::On }
    }

    /// The directory does not know this node: whoever keeps the link finds out what that means.
    pub(super) fn doubt(&self) {
        self.doubted.notify_waiters();
    }

    pub(super) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    async fn opened(&self) {
        while !self.pending().is_open {
            self.changed.notified().await;
        }
    }

    /// Everything that is pending, in batches, and the change up to which they go. It counts as not
    /// written until [`Self::was_written`]: the write may be cut off anywhere.
    fn take(&self) -> (Vec<Changes>, u64) {
        let mut pending = self.pending();
        let Pending { fresh, writing, .. } = &mut *pending;
        writing.interest.extend(fresh.interest.drain());
        writing.facts.extend(fresh.facts.drain());
        writing.strays.append(&mut fresh.strays);
        (writing.batches(), pending.serial)
    }

    fn was_written(&self, serial: u64) {
        self.pending().writing = News::default();
        self.progress.send_modify(|progress| progress.written = serial);
    }

    /// All but these was written.
    fn was_written_but_for(&self, additions: Vec<Changes>) -> bool {
        let writing = &mut self.pending().writing;
        *writing = News::default();
        for changes in additions {
            writing.interest.extend(changes.joined.into_iter().map(|name| (name, true)));
            let facts = changes.facts.into_iter().map(|(id, facts)| (id, Some(facts)));
            writing.facts.extend(facts);
        }
        !writing.interest.is_empty()
    }

    fn was_refused(&self, serial: u64) {
        self.progress.send_modify(|progress| progress.refused = serial);
    }

    /// Writes what changes, for as long as the link works.
    pub(super) async fn write<C: LocalConnection>(
        &self,
        core: &Core<C>,
        link: &Link,
        caller: Caller,
    ) -> Result<(), End> {
        self.opened().await;
        self.take_stock(core, link, caller).await?;
        let (mut lacked, mut was_full) = (None, false);
        loop {
            let written = self.flush(core, link, caller).await?;
            let lacks = matches!(written, Written::Without { lacks_audiences: true, .. });
            if lacked.replace(lacks) != Some(lacks) {
                self.tell_others(core, link, caller, lacks).await?;
            }
            let is_full = written != Written::All;
            match (mem::replace(&mut was_full, is_full), is_full) {
                (false, true) => core.bus.standing.failed(&FULL),
                (true, false) => core.bus.standing.recovered(),
                _ => {}
            }
            // Also when the server is full: messages are delivered, and who is here is not lost.
            core.bus.standing.set_delivers(true);
            match written {
                Written::All => self.changed.notified().await,
                Written::Without { serial, .. } => {
                    // After other nodes have been told: who does not wait any more is no member that
                    // they could miss unknowingly.
                    self.was_refused(serial);
                    time::sleep(FULL_PAUSE).await;
                }
            }
        }
    }

    /// Has the directory say whether other nodes find all audiences of this one there.
    async fn tell_others<C: LocalConnection>(
        &self,
        core: &Core<C>,
        link: &Link,
        caller: Caller,
        lacks: bool,
    ) -> Result<(), End> {
        // Before it is told: a renewal must not say otherwise afterwards.
        self.is_whole.store(false, Ordering::Relaxed);
        let hold_as = if lacks { Hold::Lacking } else { Hold::Whole };
        if !hold(&core.bus, link, caller, hold_as).await?.was_known {
            return Err(End::Broken);
        }
        // Only now: in a directory that is not the one just written, nothing may say so.
        self.is_whole.store(!lacks, Ordering::Relaxed);
        Ok(())
    }

    /// Writes what is pending, as far as there is room for it.
    pub(super) async fn flush<C: LocalConnection>(
        &self,
        core: &Core<C>,
        link: &Link,
        caller: Caller,
    ) -> Result<Written, End> {
        let (batches, serial) = self.take();
        let mut refused = Vec::new();
        for changes in batches {
            // After the first that finds no room the rest is not tried.
            if refused.is_empty() && self.write_batch(core, link, caller, &changes).await? {
                continue;
            }
            let (additions, removals) = changes.split();
            if !removals.is_empty() {
                self.write_batch(core, link, caller, &removals).await?;
            }
            refused.push(additions);
        }
        if refused.is_empty() {
            self.was_written(serial);
            return Ok(Written::All);
        }
        let lacks_audiences = self.was_written_but_for(refused);
        Ok(Written::Without { serial, lacks_audiences })
    }

    /// Writes some changes, all or none. Whether there was room for them.
    async fn write_batch<C: LocalConnection>(
        &self,
        core: &Core<C>,
        link: &Link,
        caller: Caller,
        changes: &Changes,
    ) -> Result<bool, End> {
        // Before the write, which may be cut off anywhere.
        let fresh = core.unfinished.sending(changes.facts.iter().map(|(id, _)| *id));
        let written = link.query(&caller.write(&self.keys, changes)).await;
        let is_full = written.as_ref().is_err_and(link::is_full);
        if is_full || written.as_ref().is_ok_and(|written| number(written) != 1) {
            core.unfinished.were_refused(&fresh);
        }
        match written {
            Ok(written) if number(&written) == 1 => Ok(true),
            Err(_) if is_full => Ok(false),
            // The directory knows us no more, or the link is bad; which it is is found out anew.
            _ => Err(End::Broken),
        }
    }

    /// Compares the store with the directory, which may have lost or kept anything: what the store
    /// has is written again, and what it has not is taken out.
    async fn take_stock<C: LocalConnection>(
        &self,
        core: &Core<C>,
        link: &Link,
        caller: Caller,
    ) -> Result<(), End> {
        let known = |what, command: &str| {
            let mut command = redis::cmd(command);
            command.arg(self.keys.of_node(what, caller.node));
            async move { link.query(&command).await.map(texts).map_err(End::from) }
        };
        let interest = known("interest", "SMEMBERS").await?;
        let facts = known("facts", "HKEYS").await?;
        let mut audiences = HashSet::new();
        for (scope, audience) in core.inner.audiences() {
            audiences.extend(self.keys.audience(&scope, &audience));
        }
        // Also of who is closing and can be reached no more.
        let kept = core.unfinished.facts(caller.node);

        let mut pending = self.pending();
        let pending = &mut pending.fresh;
        // What came meanwhile is newer.
        for audience in interest.into_iter().filter(|known| !audiences.contains(known)) {
            pending.interest.entry(audience).or_insert(false);
        }
        for audience in audiences {
            pending.interest.entry(audience).or_insert(true);
        }
        for text in facts {
            match std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()) {
                Some(id) if kept.contains_key(&id) => {}
                Some(id) => _ = pending.facts.entry(id).or_insert(None),
                None => pending.strays.push(text),
            }
        }
        for (id, facts) in kept {
            pending.facts.entry(id).or_insert(Some(facts));
        }
        Ok(())
    }
}

/// What became of what was pending.
#[derive(PartialEq, Eq)]
pub(super) enum Written {
    All,
    /// Up to the change `serial` the server had no room for all that is new.
    Without {
        serial: u64,
        /// Audiences among it: whoever looks them up does not find this node.
        lacks_audiences: bool,
    },
}

impl News {
    /// All of it, at most [`BATCH`] in each batch.
    fn batches(&self) -> Vec<Changes> {
        let (mut batches, mut batch) = (Vec::new(), Changes::default());
        let full = |batch: &mut Changes, batches: &mut Vec<Changes>| {
            if batch.len() >= BATCH {
                batches.push(mem::take(batch));
            }
        };
        for (audience, has_members) in &self.interest {
            let list = if *has_members { &mut batch.joined } else { &mut batch.left };
            list.push(audience.clone());
            full(&mut batch, &mut batches);
        }
        for (id, facts) in &self.facts {
            match facts {
                Some(facts) => batch.facts.push((*id, facts.clone())),
                None => batch.forgotten.push(id.as_bytes().to_vec()),
            }
            full(&mut batch, &mut batches);
        }
        for stray in &self.strays {
            batch.forgotten.push(stray.clone());
            full(&mut batch, &mut batches);
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        batches
    }
}

impl InterestWatcher for Directory {
    fn changed(&self, scope: &Scope, audience: Audience, has_members: bool) {
        if let Some(name) = self.keys.audience(scope, &audience) {
            self.change(|pending| _ = pending.fresh.interest.insert(name, has_members));
        }
    }
}
