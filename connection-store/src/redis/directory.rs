//! What this node has to tell the directory, and what the directory tells of others.
//!
//! In:  which audiences have members here, and connections' facts, as they change, from any thread;
//! the store as it is, after each reconnect.
//! Out: batches of changes, written by one task; and to whoever waits, that all was written.
//!
//! ```text
//! changed, keep, forget ──► pending (one entry for each key: only the last change counts) ──► WRITE
//! reconnect ──► everything in memory, beneath what is pending ──┘
//! ```
//!
//! Holds always: while the link is down nothing is kept here, since the store itself is. So this
//! never holds more than there are connections, audiences, and changes of one batch.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::{
    core::Core,
    keys::Keys,
    link::Link,
    scripts::{Caller, Changes, number, texts},
    supervisor::End,
};
use crate::{
    Audience, ConnectionId, ConnectionStore as _, InterestWatcher, LocalConnection, Reply, Scope,
    Unavailable,
};

/// Changes of one script: what the server does at a stretch.
const BATCH: usize = 400;

pub(super) struct Directory {
    keys: Arc<Keys>,
    pending: Mutex<Pending>,
    changed: Notify,
    progress: watch::Sender<Progress>,
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
    /// How often a link was made or lost.
    links: u64,
}

impl Directory {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        let progress = watch::Sender::new(Progress::default());
        Self { keys, pending: Mutex::default(), changed: Notify::new(), progress }
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
        let mut progress = self.progress.subscribe();
        Reply::Later(Box::pin(async move {
            let done = |now: &Progress| now.written >= wanted || now.links != begun.links;
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
        self.progress.send_modify(|progress| progress.links += 1);
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

    /// Writes what changes, for as long as the link works.
    pub(super) async fn write<C: LocalConnection>(
        &self,
        core: &Core<C>,
        link: &Link,
        caller: Caller,
    ) -> Result<(), End> {
        self.opened().await;
        self.take_stock(core, link, caller).await?;
        loop {
            self.flush(link, caller).await?;
            core.bus.standing.set_delivers(true);
            self.changed.notified().await;
        }
    }

    /// Writes what is pending.
    pub(super) async fn flush(&self, link: &Link, caller: Caller) -> Result<(), End> {
        let (batches, serial) = self.take();
        for changes in batches {
            let written = link.query(&caller.write(&self.keys, &changes)).await?;
            if number(&written) != 1 {
                // The directory knows us no more; what that means is found out anew.
                return Err(End::Broken);
            }
        }
        self.was_written(serial);
        Ok(())
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
        let local = core.inner.local();
        let kept = local.iter().filter_map(|one| Some((one.id(), one.disconnect_facts()?)));
        let kept: HashMap<ConnectionId, Bytes> = kept.collect();

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
