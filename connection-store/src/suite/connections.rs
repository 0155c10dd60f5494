//! Guarantees 1, 2, 5 and 6: ids, who holds a connection and for how long, and what takes no time.

use std::{
    collections::HashSet,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};

use super::{
    RecordingConnection, TestedStore, all, assert_gone, assert_ok, assert_ready, close_request,
    home, message, open, yield_now,
};
use crate::{CloseRequest, ConnectionId, DeliveryError, LocalConnection};

/// Guarantee 1.
pub async fn ids_are_unique_and_name_their_node(owner: &TestedStore) {
    const THREADS: usize = 4;
    const EACH: usize = 4_000;
    let drawn: Vec<ConnectionId> = thread::scope(|threads| {
        let draw = || (0..EACH).map(|_| owner.allocate()).collect::<Vec<_>>();
        let drawing: Vec<_> = (0..THREADS).map(|_| threads.spawn(draw)).collect();
        let drawn = drawing.into_iter().map(|thread| thread.join().expect("allocate panicked"));
        drawn.flatten().collect()
    });

    let mut seen = HashSet::new();
    let mut ones = [0usize; 64];
    for id in &drawn {
        assert!(seen.insert(*id), "the id {id} was given twice");
        assert_eq!(id.node(), owner.node(), "the id {id} names another node than the owner");
        assert_eq!(id.as_str().parse().as_ref(), Ok(id), "the id {id} does not survive its text");
        let bytes = URL_SAFE.decode(id.as_str()).unwrap_or_default();
        let random = bytes[3..].try_into().map(u64::from_be_bytes);
        let random = random.unwrap_or_else(|_| panic!("the id {id} is not 11 bytes of base64"));
        for (bit, ones) in ones.iter_mut().enumerate() {
            *ones += usize::from(random >> bit & 1 == 1);
        }
    }
    // A fair bit is one in half of 16,000 ids, give or take 63; a counter or a clock is far off.
    for (bit, ones) in ones.into_iter().enumerate() {
        let share = ones * 100 / drawn.len();
        assert!(
            (45..55).contains(&share),
            "bit {bit} of the ids is one in {share} % and not random"
        );
    }
}

/// Guarantee 2, by `remove`.
pub async fn a_connection_is_reachable_from_insert_until_remove(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let id = owner.allocate();
    assert_gone(owner, caller, id, "before its insert").await;
    assert_eq!(owner.local().len(), 0, "a new store has no connections");

    let connection = RecordingConnection::new(id, home(), 10);
    owner.insert(Arc::clone(&connection));
    let neighbour = open(owner, 10);
    assert_ok(caller.post(&home(), id, message()).await, "a post after the insert");
    let described = caller.describe(&home(), id).await;
    assert_eq!(described, Ok(connection.describe()), "a description after the insert");
    let mut local: Vec<_> = owner.local().iter().map(|open| open.id()).collect();
    local.sort_unstable();
    let mut opened = [id, neighbour.id()];
    opened.sort_unstable();
    assert_eq!(local, opened, "`local` lists each connection of the node once");
    assert_eq!(connection.take().len(), 1, "the post reached the connection");

    let removed = owner.remove(id);
    let same = removed.is_some_and(|removed| Arc::ptr_eq(&removed, &connection));
    assert!(same, "`remove` gives the connection that was inserted");
    assert_gone(owner, caller, id, "after its remove").await;
    assert_eq!(connection.take(), [], "a removed connection got a message");
    assert_eq!(connection.closes(), [], "`remove` closed the connection");

    assert_ok(caller.post(&home(), neighbour.id(), message()).await, "a post to a neighbour");
    let local: Vec<_> = owner.local().iter().map(|open| open.id()).collect();
    assert_eq!(local, [neighbour.id()], "`local` after a remove");
}

/// Guarantee 2, by `close`.
pub async fn a_closed_connection_is_gone_for_every_call(owner: &TestedStore, caller: &TestedStore) {
    let (connection, neighbour) = (open(owner, 10), open(owner, 10));
    let request = CloseRequest { code: 4001, reason: "until tomorrow – ä".to_owned() };
    let answer = caller.close(&home(), connection.id(), request.clone()).await;
    assert_eq!(answer, Ok(()), "the close of an open connection");
    assert_eq!(connection.closes(), [request], "the connection is told code and reason, once");
    assert_gone(owner, caller, connection.id(), "after its close").await;
    assert_eq!(connection.closes().len(), 1, "a second close reached the connection");
    assert_eq!(neighbour.closes(), [], "the close reached a neighbour");
    assert_ok(caller.post(&home(), neighbour.id(), message()).await, "a post to a neighbour");
}

/// Guarantee 2, under many closes at once.
pub async fn of_racing_closes_exactly_one_succeeds(owner: &TestedStore, caller: &TestedStore) {
    for _ in 0..50 {
        let connection = open(owner, 10);
        let closes = (0..8).map(|_| async {
            yield_now().await;
            caller.close(&home(), connection.id(), close_request()).await
        });
        let mut answers = all(closes.collect()).await;
        answers.sort_unstable_by_key(Result::is_err);
        assert_eq!(answers[0], Ok(()), "one of several closes succeeds");
        let others = [Err(DeliveryError::Gone); 7];
        assert_eq!(answers[1..], others, "after the first close the connection is gone");
        assert_eq!(connection.closes().len(), 1, "the connection is told once");
    }
}

/// Guarantee 5.
pub async fn of_racing_removes_exactly_one_gets_the_connection(owner: &TestedStore) {
    const THREADS: usize = 4;
    let opened: Vec<_> = (0..500).map(|_| (open(owner, 1), AtomicUsize::new(0))).collect();
    let together = Barrier::new(THREADS);
    thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                for (connection, winners) in &opened {
                    together.wait();
                    if owner.remove(connection.id()).is_some() {
                        winners.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    for (_, winners) in opened {
        let winners = winners.into_inner();
        assert_eq!(winners, 1, "{winners} of {THREADS} racing removes got the connection");
    }
    assert_eq!(owner.local().len(), 0, "a removed connection is still listed");
}

/// Guarantee 6, as far as one node can show it: there is nothing to wait for.
pub async fn replies_about_own_connections_are_ready(owner: &TestedStore) {
    let (open, full) = (open(owner, 2), open(owner, 0));
    assert_ready(&owner.post(&home(), open.id(), message()), "a post");
    assert_ready(&owner.post(&home(), full.id(), message()), "a post to a full queue");
    assert_ready(&owner.describe(&home(), open.id()), "a description");
    assert_ready(&owner.close(&home(), open.id(), close_request()), "a close");
    assert_ready(&owner.post(&home(), open.id(), message()), "a post after the close");
    assert_ready(&owner.describe(&home(), owner.allocate()), "a description of no connection");
}

/// What `local` and `remove` of a [`TestedStore`] are about, between two nodes.
pub async fn only_the_owner_holds_a_connection(owner: &TestedStore, other: &TestedStore) {
    assert_ne!(owner.node(), other.node(), "two nodes have one name");
    let connection = open(owner, 1);
    assert_eq!(other.local().len(), 0, "a node lists another's connection as its own");
    assert!(other.remove(connection.id()).is_none(), "a node removed another's connection");
    assert_ok(other.post(&home(), connection.id(), message()).await, "a post from another node");
    assert_eq!(connection.take().len(), 1, "the post reached the connection");
}
