//! Nodes die, seem dead, leave, and are finished by others.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{connection::stall, server::Server, *};

/// "Another node runs it within 2 × node_lease_s."
const FINISHED_WITHIN: Duration = LEASE.saturating_mul(2);

/// Takes orphans until there are `count`, and says that they are done.
async fn take(orphans: &mut Orphans, count: usize) -> Vec<(ConnectionId, Bytes)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let orphan = tokio::time::timeout(DEADLINE, orphans.next()).await;
        let orphan = orphan.expect("an orphan comes").expect("the store is there");
        taken.push((orphan.id(), orphan.facts().clone()));
        orphan.done();
    }
    taken
}

#[tokio::test]
async fn a_dead_nodes_connections_are_gone_and_finished_once() {
    const CONNECTIONS: usize = 500;
    let server = Server::start();
    let dying: Node = start(&server.url(), "t").await;
    let survivors: [Arc<Node>; 2] =
        [start(&server.url(), "t").await, start(&server.url(), "t").await].map(Arc::new);
    let mut ids = Vec::new();
    for _ in 0..CONNECTIONS {
        ids.push(TestConnection::open(&dying, Some("facts")).id());
    }
    // Not accepted yet; accepted later; accepted and finished.
    let early = TestConnection::open(&dying, None);
    let accepted = TestConnection::open(&dying, None);
    accepted.set_facts(Some("facts"));
    dying.accepted(&accepted);
    ids.push(accepted.id());
    let finished = TestConnection::open(&dying, Some("facts"));
    dying.remove(finished.id()).unwrap();
    dying.ended(finished.id());
    assert_eq!(dying.published().await, Ok(()));
    let group: GroupName = "room".parse().unwrap();
    assert_eq!(survivors[0].join(&home(), &group, early.id()).await, Ok(()));
    tokio::time::sleep(LEASE + LEASE / 3).await;

    let died = Instant::now();
    drop(dying);
    let collecting = survivors.clone().map(|survivor| {
        let mut orphans = survivor.orphans().expect("nobody has taken them");
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Ok(Some(orphan)) =
                tokio::time::timeout(2 * FINISHED_WITHIN, orphans.next()).await
            {
                seen.push((orphan.id(), orphan.facts().clone(), Instant::now()));
                orphan.done();
            }
            seen
        })
    });
    for survivor in &survivors {
        let gone = Err(DeliveryError::Gone);
        until_answered("a post to the dead", FINISHED_WITHIN, &gone, async || {
            post(survivor, ids[0], "x").await
        })
        .await;
        let sent = survivor.send(&home(), Audience::Group(group.clone()), text("x"), vec![]).await;
        assert_eq!(sent, Ok(SendReport::default()), "a send to a group of the dead");
    }
    let mut times: BTreeMap<ConnectionId, u32> = BTreeMap::new();
    for seen in collecting {
        for (id, facts, at) in seen.await.unwrap() {
            assert_eq!(facts, "facts");
            assert!(at - died < FINISHED_WITHIN, "finished after {:?}", at - died);
            *times.entry(id).or_default() += 1;
        }
    }
    ids.sort_unstable();
    assert_eq!(times.keys().copied().collect::<Vec<_>>(), ids, "who was finished");
    assert!(times.values().all(|times| *times == 1), "each once");
    assert_eq!(survivors.each_ref().map(|node| node.counts().claimed_nodes).iter().sum::<u64>(), 1);
    let all_clean = || {
        let keys = server.cli(&["keys", "{t}:*"]);
        !["orphans", "claims", "cleaning", "in:g"].iter().any(|left| keys.contains(left))
    };
    until("nothing is left of it", all_clean).await;
}

#[tokio::test]
async fn who_claims_and_dies_is_claimed_from() {
    let server = Server::start();
    let dying: Node = start(&server.url(), "t").await;
    let ids: Vec<_> = (0..5).map(|_| TestConnection::open(&dying, Some("facts")).id()).collect();
    assert_eq!(dying.published().await, Ok(()));
    let second: Node = start(&server.url(), "t").await;
    let mut orphans = second.orphans().unwrap();
    drop(dying);
    // It finishes two, begins a third and dies.
    let finished = take(&mut orphans, 2).await;
    let begun = tokio::time::timeout(DEADLINE, orphans.next()).await.unwrap().unwrap();
    until("two are forgotten", || {
        server.cli(&["keys", "{t}:orphans:*"]).lines().any(|key| server.cli(&["hlen", key]) == "3")
    })
    .await;
    drop((second, orphans));
    drop(begun);
    let third: Node = start(&server.url(), "t").await;
    let rest = take(&mut third.orphans().unwrap(), 3).await;
    let mut all: Vec<_> = finished.into_iter().chain(rest).map(|(id, _)| id).collect();
    let mut ids = ids;
    all.sort_unstable();
    ids.sort_unstable();
    assert_eq!(all, ids, "none is lost, and who is finished is not begun again");
    assert!(third.orphans().is_none(), "they are there once");
}

#[tokio::test]
async fn an_orphan_that_is_not_done_is_handed_out_again() {
    let server = Server::start();
    let dying: Node = start(&server.url(), "t").await;
    let id = TestConnection::open(&dying, Some("facts")).id();
    assert_eq!(dying.published().await, Ok(()));
    let survivor: Node = start(&server.url(), "t").await;
    let mut orphans = survivor.orphans().unwrap();
    drop(dying);
    for _ in 0..3 {
        let orphan = tokio::time::timeout(DEADLINE, orphans.next()).await.unwrap().unwrap();
        assert_eq!(orphan.id(), id);
    }
    assert_eq!(take(&mut orphans, 1).await[0].0, id);
    until("the claim ends", || server.cli(&["keys", "{t}:claims"]).is_empty()).await;
}

/// What SIGSTOP and SIGCONT do to a node: its thread stands still for longer than its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_taken_for_dead_closes_its_clients_and_comes_back_under_a_new_number() {
    let server = Server::start();
    let frozen: Node = start(&server.url(), "t").await;
    let survivor: Node = start(&server.url(), "t").await;
    let connection = TestConnection::open(&frozen, Some("facts"));
    let (old, id) = (frozen.node(), connection.id());
    assert_eq!(frozen.published().await, Ok(()));
    let mut state = frozen.state();
    tokio::time::sleep(LEASE + LEASE / 3).await;

    let long = LEASE.as_millis() as u64 * 5 / 2;
    drop(survivor.post(&home(), id, stall(long)));
    // It waits in the ghost's inbox until the ghost wakes up.
    let held = survivor.post(&home(), id, text("to a ghost"));
    let orphans = take(&mut survivor.orphans().unwrap(), 1).await;
    assert_eq!(orphans, [(id, Bytes::from_static(b"facts"))]);
    assert_eq!(frozen.lease(), Lease::Lost, "its own clock says so");
    let refused = held.await;
    assert!(matches!(refused, Err(DeliveryError::Gone | DeliveryError::Unavailable)));
    // The ghost still listens; who knows that it is one does not wait for it.
    let begun = Instant::now();
    assert_eq!(post(&survivor, id, "to a ghost").await, Err(DeliveryError::Gone));
    assert!(begun.elapsed() < Duration::from_millis(500), "after {:?}", begun.elapsed());

    let changed = tokio::time::timeout(DEADLINE, state.wait_for(|state| state.lost_leases == 1));
    let now = *changed.await.expect("it notices").unwrap();
    assert_ne!(now.node, old);
    until("its client is told", || connection.closes() == [1012]).await;
    assert_eq!((frozen.local().len(), frozen.remove(id).is_none()), (0, true));
    until("it is back", || frozen.delivers()).await;
    let next = TestConnection::open(&frozen, None);
    assert_eq!((frozen.node(), next.id().node()), (now.node, now.node));
    assert_eq!(post(&survivor, next.id(), "x").await, Ok(now.node));
    until_answered("a post to the ghost", DEADLINE, &Err(DeliveryError::Gone), async || {
        post(&survivor, id, "x").await
    })
    .await;
    assert_eq!(post(&frozen, id, "x").await, Err(DeliveryError::Gone), "its own post to the ghost");
    assert_eq!(frozen.counts().lost_leases, 1);
    assert!(!frozen.finishes(id).await, "the survivor does");
    assert!(frozen.finishes(next.id()).await);
    assert!(!connection.got().contains(&text("to a ghost")), "a ghost was served");
}

#[tokio::test]
async fn who_is_inserted_under_a_lost_number_is_closed() {
    let server = Server::start();
    let node: Node = start(&server.url(), "t").await;
    let id = node.allocate();
    let old = node.node();
    server.cli(&["set", &format!("{{t}}:fallen:{old}"), "x"]);
    until("it has another number", || node.node() != old && node.delivers()).await;
    let connection = TestConnection::of(id);
    node.insert(Arc::clone(&connection));
    assert_eq!(connection.closes(), [1012]);
    assert!(node.local().is_empty());
}

/// Only the key is gone: nobody has claimed anything, so nothing is lost.
#[tokio::test]
async fn a_lease_that_was_only_deleted_is_taken_again() {
    let server = Server::start();
    let node: Node = start(&server.url(), "t").await;
    let connection = TestConnection::open(&node, None);
    let key = format!("{{t}}:lease:{}", node.node());
    server.cli(&["del", &key]);
    until("it holds a lease", || server.cli(&["exists", &key]) == "1").await;
    assert_eq!(connection.closes(), [] as [u16; 0]);
    assert_eq!(node.counts().lost_leases, 0);
}

#[tokio::test]
async fn two_nodes_never_have_one_number() {
    let server = Server::start();
    let first: Node = start(&server.url(), "t").await;
    let keys = Keys::new("t");
    let link = link::Link::connect(&options(&server.url(), "t"), |_| {}).await.unwrap();
    let thief = Caller { node: first.node(), incarnation: 1 };
    let hold = link.query(&thief.hold(&keys, 1000, scripts::Hold::On)).await.unwrap();
    assert_eq!(scripts::number(&scripts::listed(hold)[0]), -1);
    let written = link.query(&thief.write(&keys, &scripts::Changes::default())).await.unwrap();
    assert_eq!(scripts::number(&written), 0);
    assert_eq!(scripts::number(&link.query(&thief.leave(&keys)).await.unwrap()), 0);
}

#[tokio::test]
async fn who_leaves_in_order_leaves_nothing_but_what_it_could_not_finish() {
    let server = Server::start();
    let survivor: Node = start(&server.url(), "t").await;
    let mut orphans = survivor.orphans().unwrap();
    for left_over in [false, true] {
        let leaving: Node = start(&server.url(), "t").await;
        let connection = TestConnection::open(&leaving, Some("facts"));
        leaving.remove(connection.id()).unwrap();
        if !left_over {
            leaving.ended(connection.id());
        }
        // What was not written yet is, by leaving.
        leaving.leave_cluster().await;
        assert_eq!((leaving.delivers(), leaving.lease()), (false, Lease::Lost));
        if left_over {
            let finished = take(&mut orphans, 1).await;
            assert_eq!(finished[0].0, connection.id());
        }
        let gone = Err(DeliveryError::Gone);
        until_answered("a post to who has left", FINISHED_WITHIN, &gone, async || {
            post(&survivor, connection.id(), "x").await
        })
        .await;
        let of_it = || server.cli(&["keys", &format!("{{t}}:*:{}", leaving.node())]);
        until("no key is left but a tombstone", || {
            of_it().lines().all(|key| key.contains("fallen"))
        })
        .await;
        leaving.leave_cluster().await;
    }
}

/// Every condition of the scripts that claim, one after the other.
#[tokio::test]
async fn a_claim_is_fenced_by_both_leases() {
    let server = Server::start();
    let keys = Keys::new("t");
    let link = link::Link::connect(&options(&server.url(), "t"), |_| {}).await.unwrap();
    let node = |number| NodeId::new(number).unwrap();
    let caller = |number| Caller { node: node(number), incarnation: u64::from(number) };
    let [dead, first, second, stranger] = [1, 2, 3, 4].map(caller);
    let run = async |command| link.query(&command).await.map(|v| scripts::number(&v)).unwrap();
    for caller in [dead, first, second] {
        link.query(&caller.hold(&keys, 60_000, scripts::Hold::New)).await.unwrap();
    }
    let facts = scripts::Changes {
        joined: vec![b"{t}:in:x".to_vec()],
        facts: vec![(ConnectionId::new(dead.node, [1; 8]), Bytes::from_static(b"facts"))],
        ..scripts::Changes::default()
    };
    assert_eq!(run(dead.write(&keys, &facts)).await, 1);
    let (name, incarnation) = (b"000001", b"0000000000000001");
    assert_eq!(run(first.claim(&keys, name, incarnation)).await, 0, "of one with a lease");
    server.cli(&["del", "{t}:lease:000001"]);
    assert_eq!(run(stranger.claim(&keys, name, incarnation)).await, 0, "by one without");
    assert_eq!(run(first.claim(&keys, name, b"0000000000000009")).await, 0, "of another");
    assert_eq!(run(first.claim(&keys, name, incarnation)).await, 1);
    assert_eq!(run(second.claim(&keys, name, incarnation)).await, 0, "a second time");
    assert_eq!(run(first.claim(&keys, name, incarnation)).await, 0, "again");
    assert_eq!(run(dead.write(&keys, &facts)).await, 0, "a dead node writes nothing");
    let held = link.query(&dead.hold(&keys, 60_000, scripts::Hold::New)).await.unwrap();
    assert_eq!(scripts::number(&scripts::listed(held)[0]), -1, "a dead node holds nothing");

    let claimer = b"000002:0000000000000002";
    assert_eq!(run(second.inherit(&keys, name, claimer)).await, 0, "from one with a lease");
    server.cli(&["del", "{t}:lease:000002"]);
    assert_eq!(run(stranger.inherit(&keys, name, claimer)).await, 0, "by one without");
    assert_eq!(run(second.inherit(&keys, name, claimer)).await, 1);
    let orphan = [ConnectionId::new(dead.node, [1; 8]).as_bytes().to_vec()];
    assert_eq!(run(first.forget(&keys, dead.node, &orphan)).await, 0, "no claim any more");
    assert_eq!(run(first.clean(&keys, dead.node)).await, 0);
    assert_eq!(run(second.clean(&keys, dead.node)).await, 0, "an orphan is left");
    assert_eq!(server.cli(&["exists", "{t}:in:x"]), "0", "its interest is taken out");
    assert_eq!(run(second.forget(&keys, dead.node, &orphan)).await, 1);
    assert_eq!(run(second.clean(&keys, dead.node)).await, 2, "the claim has ended");
    assert_eq!(server.cli(&["keys", "{t}:[oc]*"]), "");
}

/// Those whose leases ended while the server was away must have time to renew them.
#[tokio::test]
async fn nobody_is_claimed_before_the_own_lease_has_been_whole_for_one_lease() {
    let server = Server::start();
    let node: Node = start(&server.url(), "t").await;
    server.cli(&["hset", "{t}:nodes", "000007", "7"]);
    tokio::time::sleep(LEASE / 2).await;
    assert_eq!(server.cli(&["hexists", "{t}:nodes", "000007"]), "1");
    until("it is claimed", || node.counts().claimed_nodes == 1).await;
}

/// A directory that was lost lacks nodes that live.
#[tokio::test]
async fn nobody_is_gone_before_the_others_had_time_to_come_back() {
    let mut server = Server::start();
    let node: Node = start(&server.url(), "t").await;
    let absent = ConnectionId::new(NodeId::new(7).unwrap(), [1; 8]);
    until_answered("a post to nobody's node", DEADLINE, &Err(DeliveryError::Gone), async || {
        post(&node, absent, "x").await
    })
    .await;
    server.kill();
    until("it has noticed", || !node.delivers()).await;
    server.restart();
    until("it is back", || node.delivers()).await;
    assert_eq!(post(&node, absent, "x").await, Err(DeliveryError::Unavailable));
    until_answered("a post later", 3 * LEASE, &Err(DeliveryError::Gone), async || {
        post(&node, absent, "x").await
    })
    .await;
    // Who comes to a directory that has been whole for long knows at once.
    tokio::time::sleep(2 * LEASE).await;
    let newcomer: Node = start(&server.url(), "t").await;
    assert_eq!(post(&newcomer, absent, "x").await, Err(DeliveryError::Gone));
}
