//! Who finishes what: a node that was cut off, the one that took it for dead, and the next.

use std::{collections::BTreeMap, pin::pin};

use super::{server::Server, *};

async fn next(orphans: &mut Orphans) -> Orphan {
    let orphan = tokio::time::timeout(DEADLINE, orphans.next()).await;
    orphan.expect("an orphan comes").expect("the store is there")
}

/// Takes whatever comes until nothing has come for that long, and says that it is done.
async fn take_all(orphans: &mut Orphans, quiet: Duration, times: &mut BTreeMap<ConnectionId, u32>) {
    while let Ok(Some(orphan)) = tokio::time::timeout(quiet, orphans.next()).await {
        *times.entry(orphan.id()).or_default() += 1;
        orphan.done();
    }
}

/// A node with that many connections, whose facts are kept.
async fn crowd(server: &Server, count: usize) -> (Node, Vec<ConnectionId>) {
    let node: Node = start(&server.url(), "t").await;
    let open = |_| TestConnection::open(&node, Some("facts")).id();
    let mut ids: Vec<_> = (0..count).map(open).collect();
    assert_eq!(node.published().await, Ok(()));
    ids.sort_unstable();
    (node, ids)
}

/// Whoever claims a node finds only the facts that were sent before.
#[tokio::test]
async fn who_is_let_in_by_a_node_that_is_cut_off_is_that_nodes_to_finish() {
    let server = Server::start();
    let owner: Node = start(&server.url_of("owner"), "t").await;
    let other: Node = start(&server.url(), "t").await;
    let mut orphans = other.orphans().unwrap();
    let known = TestConnection::open(&owner, Some("known"));
    // Its `$connect` is under way for as long as all this takes.
    let upgrading = TestConnection::open(&owner, None);
    assert_eq!(owner.published().await, Ok(()));
    server.shut_out("owner");
    until("it has noticed", || !owner.delivers()).await;
    let let_in = TestConnection::open(&owner, Some("let in"));
    let has_left = TestConnection::open(&owner, Some("has left"));
    assert!(owner.remove(has_left.id()).is_some());
    let claimed = next(&mut orphans).await;
    assert_eq!(claimed.id(), known.id());
    let mut waits = pin!(owner.finishes(has_left.id()));
    let told = tokio::time::timeout(LEASE / 2, &mut waits).await;
    assert!(told.is_err(), "the other one may have found it");
    server.let_in("owner");
    assert_eq!(tokio::time::timeout(DEADLINE, waits).await, Ok(true));
    until("it has another number", || owner.node() != known.id().node()).await;
    until("it is back", || owner.delivers()).await;
    upgrading.set_facts(Some("upgraded"));
    owner.accepted(&upgrading);
    for (connection, is_its_own) in
        [(&known, false), (&let_in, true), (&has_left, true), (&upgrading, true)]
    {
        let finishes = tokio::time::timeout(DEADLINE, owner.finishes(connection.id())).await;
        assert_eq!(finishes, Ok(is_its_own), "{:?}", connection.disconnect_facts());
    }
    assert_eq!([let_in.closes(), upgrading.closes()], [[1012], [1012]]);
    owner.ended(let_in.id());
    assert!(!owner.finishes(let_in.id()).await, "it is over");
    claimed.done();
    let others = tokio::time::timeout(LEASE, orphans.next()).await;
    assert!(others.is_err(), "the other one knows of nobody else");
}

/// The claimer has taken what was there; what the server refuses comes to nobody.
#[tokio::test]
async fn facts_that_are_refused_since_the_node_is_claimed_are_its_own_to_finish() {
    let server = Server::start();
    let node: Node = start(&server.url(), "t").await;
    let old = node.node();
    let connection = TestConnection::of(node.allocate());
    connection.set_facts(Some("facts"));
    let claimed = "redis.call('SET', KEYS[1]..ARGV[1], 'x')
        redis.call('HDEL', KEYS[2], ARGV[1])";
    server.cli(&["eval", claimed, "2", "{t}:fallen:", "{t}:nodes", &old.to_string()]);
    node.insert(Arc::clone(&connection));
    until("it has another number", || node.node() != old).await;
    let finishes = tokio::time::timeout(DEADLINE, node.finishes(connection.id())).await;
    assert_eq!(finishes, Ok(true));
}

/// What is run then cannot be noted, and whoever is next would run it again.
#[tokio::test]
async fn without_a_link_nobodys_orphan_is_ours() {
    let server = Server::start();
    let (dying, ids) = crowd(&server, 5).await;
    let claimer: Node = start(&server.url_of("claimer"), "t").await;
    let mut orphans = claimer.orphans().unwrap();
    drop(dying);
    let first = next(&mut orphans).await;
    assert!(first.is_ours());
    until("the others wait", || claimer.counts().orphans == 5).await;
    server.shut_out("claimer");
    until("it has noticed", || !claimer.delivers()).await;
    assert!(!first.is_ours());
    let another = tokio::time::timeout(LEASE / 3, orphans.next()).await;
    assert!(another.is_err(), "one was handed out");
    drop(first);
    server.let_in("claimer");
    until("it is back", || claimer.delivers()).await;
    let mut times = BTreeMap::new();
    take_all(&mut orphans, 2 * LEASE, &mut times).await;
    assert_eq!(
        times.into_iter().collect::<Vec<_>>(),
        ids.iter().map(|id| (*id, 1)).collect::<Vec<_>>()
    );
}

/// A scan's reply is in hand while those that it found wait for their turn.
#[tokio::test]
async fn what_is_done_while_a_scan_is_in_hand_is_not_handed_out_again() {
    const ALL: usize = 68;
    let server = Server::start();
    let (dying, _ids) = crowd(&server, ALL).await;
    let key = format!("{{t}}:orphans:{}", dying.node());
    let survivor: Node = start(&server.url(), "t").await;
    let mut orphans = survivor.orphans().unwrap();
    drop(dying);
    let mut times = BTreeMap::new();
    let mut begun = Vec::new();
    for _ in 0..4 {
        begun.push(next(&mut orphans).await);
    }
    until("no more may wait", || survivor.counts().orphans == ALL as u64).await;
    // The next scan finds the same, and waits until one of those that wait is taken.
    tokio::time::sleep(LEASE).await;
    for orphan in begun {
        *times.entry(orphan.id()).or_default() += 1;
        orphan.done();
    }
    until("four are forgotten", || server.cli(&["hlen", &key]) == "64").await;
    take_all(&mut orphans, LEASE, &mut times).await;
    let doubled = times.values().filter(|times| **times > 1).count();
    assert_eq!((times.len(), doubled), (ALL, 0));
}

/// It is about to leave: whoever stays claims, and gets what has not been begun, at once.
#[tokio::test]
async fn who_leaves_off_claims_nobody_and_hands_on_what_it_has_not_begun() {
    const ALL: usize = 150;
    let server = Server::start();
    let (dying, ids) = crowd(&server, ALL).await;
    let leaving: Node = start(&server.url(), "t").await;
    let mut from_leaving = leaving.orphans().unwrap();
    drop(dying);
    let mut times = BTreeMap::new();
    let finished = next(&mut from_leaving).await;
    *times.entry(finished.id()).or_default() += 1;
    finished.done();
    let begun = next(&mut from_leaving).await;
    let not_begun = next(&mut from_leaving).await;
    assert!(begun.is_ours());
    leaving.leave_off();
    assert!(!not_begun.is_ours(), "whoever stays does it");
    drop(not_begun);
    assert!(from_leaving.next().await.is_none());

    let stays: Node = start(&server.url(), "t").await;
    let mut orphans = stays.orphans().unwrap();
    let early = tokio::time::timeout(LEASE + LEASE / 2, orphans.next()).await;
    assert!(early.is_err(), "it would be run twice");
    *times.entry(begun.id()).or_default() += 1;
    begun.done();
    let begun = Instant::now();
    let first = next(&mut orphans).await;
    assert!(begun.elapsed() < LEASE, "only after {:?}", begun.elapsed());
    *times.entry(first.id()).or_default() += 1;
    first.done();
    take_all(&mut orphans, LEASE, &mut times).await;
    assert_eq!(
        times.into_iter().collect::<Vec<_>>(),
        ids.iter().map(|id| (*id, 1)).collect::<Vec<_>>()
    );

    let (dying, ids) = crowd(&server, 1).await;
    drop(dying);
    assert_eq!(next(&mut orphans).await.id(), ids[0]);
    assert_eq!([leaving, stays].map(|node| node.counts().claimed_nodes), [1, 1]);
}

/// What is done is noted before the node leaves, or the next one would do it again.
#[tokio::test]
async fn what_is_done_just_before_a_node_leaves_is_not_handed_on() {
    let server = Server::start();
    let (dying, ids) = crowd(&server, 40).await;
    let leaving: Node = start(&server.url(), "t").await;
    let mut orphans = leaving.orphans().unwrap();
    drop(dying);
    let mut all = Vec::new();
    while all.len() < ids.len() {
        all.push(next(&mut orphans).await);
    }
    all.into_iter().for_each(Orphan::done);
    leaving.leave_cluster().await;
    assert_eq!(server.cli(&["keys", "{t}:orphans:*"]), "");
}
