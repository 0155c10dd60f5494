//! The server goes away, and comes back as it was or empty.

use std::pin::pin;

use super::{server::Server, *};

/// What a node that never left finds when the server is back.
async fn all_is_well(owner: &Node, caller: &Node, connection: &TestConnection, group: &GroupName) {
    // "Delivery is back within 5 s of its return."
    let within = Duration::from_secs(5);
    until_answered("a post", within, &Ok(owner.node()), async || {
        let answer = post(caller, connection.id(), "back").await;
        assert_ne!(answer, Err(DeliveryError::Gone), "nobody is gone");
        answer
    })
    .await;
    let everybody = SendReport { recipients: 1, nodes: 1, gone: vec![] };
    until_answered("a send to a group", within, &Ok(everybody), async || {
        let audience = Audience::Group(group.clone());
        caller.send(&home(), audience, text("back"), vec![]).await
    })
    .await;
    until("both say that they deliver", || owner.delivers() && caller.delivers()).await;
    assert_eq!(connection.closes(), [] as [u16; 0], "no socket is lost");
    assert_eq!([owner.counts().lost_leases, caller.counts().lost_leases], [0, 0]);
}

/// While the server is away: local calls go on, remote ones are answered at once.
async fn all_goes_on_alone(owner: &Node, caller: &Node, connection: &TestConnection) {
    until("both have noticed", || !owner.delivers() && !caller.delivers()).await;
    for _ in 0..50 {
        let begun = Instant::now();
        assert_eq!(post(caller, connection.id(), "x").await, Err(DeliveryError::Unavailable));
        assert!(begun.elapsed() < Duration::from_millis(100), "an answer took its time");
        assert_eq!(post(owner, connection.id(), "x").await, Ok(owner.node()));
    }
    let sent = caller.send(&home(), Audience::Stage, text("x"), vec![]).await;
    assert_eq!(sent, Err(Unavailable));
    until("no lease is claimed", || owner.lease() == Lease::Lost).await;
}

async fn nodes(server: &Server) -> (Node, Node, Arc<TestConnection>, GroupName) {
    let owner: Node = start(&server.url(), "t").await;
    let caller: Node = start(&server.url(), "t").await;
    let connection = TestConnection::open(&owner, Some("facts"));
    let group: GroupName = "room".parse().unwrap();
    assert_eq!(caller.join(&home(), &group, connection.id()).await, Ok(()));
    all_is_well(&owner, &caller, &connection, &group).await;
    (owner, caller, connection, group)
}

#[tokio::test]
async fn killed_and_restarted_empty_the_directory_repairs_itself() {
    let mut server = Server::start();
    let (owner, caller, connection, group) = nodes(&server).await;
    for _ in 0..2 {
        server.kill();
        all_goes_on_alone(&owner, &caller, &connection).await;
        server.restart();
        all_is_well(&owner, &caller, &connection, &group).await;
        let facts = format!("{{t}}:facts:{}", owner.node());
        until("the facts are back", || server.cli(&["hvals", &facts]) == "facts").await;
    }
}

#[tokio::test]
async fn stopped_for_longer_than_the_lease_nobody_claims_anybody() {
    let server = Server::start();
    let (owner, caller, connection, group) = nodes(&server).await;
    assert!(owner.finishes(connection.id()).await, "whoever holds its lease ends its connections");
    server.stop();
    all_goes_on_alone(&owner, &caller, &connection).await;
    let mut finishes = pin!(owner.finishes(connection.id()));
    let waited = tokio::time::timeout(2 * LEASE, &mut finishes).await;
    assert!(waited.is_err(), "somebody else may have claimed it meanwhile");
    server.go_on();
    assert!(finishes.await, "nobody has");
    all_is_well(&owner, &caller, &connection, &group).await;
    // Past the moment at which a lease that was not renewed would be claimed.
    tokio::time::sleep(2 * LEASE).await;
    all_is_well(&owner, &caller, &connection, &group).await;
    assert_eq!([owner.counts().claimed_nodes, caller.counts().claimed_nodes], [0, 0]);
}

#[tokio::test]
async fn an_emptied_database_is_written_again_although_the_link_stays() {
    let server = Server::start();
    let (owner, caller, connection, group) = nodes(&server).await;
    server.cli(&["flushall"]);
    let key = format!("{{t}}:facts:{}", owner.node());
    until("the facts are back", || server.cli(&["hvals", &key]) == "facts").await;
    all_is_well(&owner, &caller, &connection, &group).await;
}

#[tokio::test]
async fn a_node_that_starts_without_its_server_waits_for_it() {
    let mut server = Server::start();
    server.kill();
    let node: Node = RedisStore::start(options(&server.url(), "t")).unwrap();
    assert_eq!((node.lease(), node.delivers()), (Lease::Lost, false));
    let connection = TestConnection::open(&node, None);
    assert_eq!(post(&node, connection.id(), "x").await, Ok(node.node()));
    until("it has tried", || node.counts().failed_connects > 1).await;
    server.restart();
    until("it is there", || node.delivers() && node.lease() != Lease::Lost).await;
    assert_eq!(connection.closes(), [] as [u16; 0]);
    assert_eq!(post(&node, connection.id(), "x").await, Ok(node.node()));
}

/// What ended while nobody could be told must not be found in the directory afterwards.
#[tokio::test]
async fn what_ended_meanwhile_is_taken_out_afterwards() {
    let server = Server::start();
    let (owner, _caller, connection, _group) = nodes(&server).await;
    server.stop();
    until("it has noticed", || !owner.delivers()).await;
    owner.remove(connection.id()).unwrap();
    owner.ended(connection.id());
    let second = TestConnection::open(&owner, Some("second"));
    server.go_on();
    let facts = format!("{{t}}:facts:{}", owner.node());
    until("the facts are right", || server.cli(&["hvals", &facts]) == "second").await;
    until("the group is empty", || server.cli(&["keys", "{t}:in:g:*"]).is_empty()).await;
    assert!(owner.remove(second.id()).is_some());
}

/// Between their end and that of their `$disconnect` they can be reached no more, and are still this
/// node's to finish: killed then, it leaves them to another one.
#[tokio::test]
async fn who_is_closing_when_the_server_is_back_empty_is_finished_for() {
    let mut server = Server::start();
    let (owner, caller, connection, _group) = nodes(&server).await;
    let closing = ["left", "was closed", "was closed by another node", "leaves meanwhile"]
        .map(|facts| TestConnection::open(&owner, Some(facts)));
    let refused = TestConnection::open(&owner, None);
    let [left, closed, closed_by_other, leaves] = closing.each_ref().map(|one| one.id());
    let request = CloseRequest { code: 1000, reason: String::new() };
    assert!(owner.remove(left).is_some());
    assert_eq!(owner.close(&home(), closed, request.clone()).await, Ok(()));
    assert_eq!(caller.close(&home(), closed_by_other, request).await, Ok(()));
    server.kill();
    until("it has noticed", || !owner.delivers()).await;
    assert!(owner.remove(leaves).is_some());
    assert!(owner.remove(refused.id()).is_some());
    // Who closes a connection is not who ends it.
    assert!(owner.remove(closed).is_none());
    let mut finishes = pin!(owner.finishes(leaves));
    let known = tokio::time::timeout(2 * LEASE, &mut finishes).await;
    assert!(known.is_err(), "somebody else may have claimed it meanwhile");
    server.restart();
    assert!(tokio::time::timeout(DEADLINE, finishes).await.expect("it is told"), "nobody has");
    // What is under way stands in the directory before it is begun.
    let facts = format!("{{t}}:facts:{}", owner.node());
    let all = ["facts", "leaves meanwhile", "left", "was closed", "was closed by another node"];
    let in_the_directory = || {
        let text = server.cli(&["hvals", &facts]);
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(in_the_directory(), all);
    for (one, is_over) in closing.iter().zip([true, false, false, true]) {
        if is_over {
            one.set_facts(None);
            owner.ended(one.id());
        }
    }
    let left_over = ["facts", "was closed", "was closed by another node"];
    until("what is over is forgotten", || in_the_directory() == left_over).await;
    let mut orphans = caller.orphans().expect("nobody has taken them");
    drop(owner);
    let mut finished = Vec::new();
    while finished.len() < left_over.len() {
        let orphan = tokio::time::timeout(DEADLINE, orphans.next()).await;
        let orphan = orphan.expect("an orphan comes").expect("the store is there");
        finished.push(orphan.id());
        orphan.done();
    }
    finished.sort_unstable();
    let mut unfinished = [connection.id(), closed, closed_by_other];
    unfinished.sort_unstable();
    assert_eq!(finished, unfinished);
}

/// Readiness must not be left to a thread that is no more.
#[tokio::test]
async fn a_connection_that_panics_does_not_leave_the_node_ready() {
    let server = Server::start();
    let (owner, caller, connection, _group) = nodes(&server).await;
    let answer = caller.post(&home(), connection.id(), connection::panics()).await;
    // As soon as its number has been claimed, what was its own is gone.
    assert!(matches!(answer, Err(DeliveryError::Unavailable | DeliveryError::Gone)));
    until("it is not ready", || !owner.delivers() && owner.lease() == Lease::Lost).await;
    assert_eq!(post(&owner, connection.id(), "x").await, Ok(owner.node()));
}

/// The process has a provider of TLS, and a wrong scheme is a failed attempt and nothing worse.
#[tokio::test]
async fn a_tls_url_to_a_server_without_tls_is_tried_again() {
    let server = Server::start();
    let url = server.url().replace("redis://", "rediss://");
    let node: Node = RedisStore::start(options(&url, "t")).unwrap();
    until("it has tried again", || node.counts().failed_connects > 2).await;
    assert!(!node.delivers());
}

/// A server before Redis 7 has no sharded channels.
#[tokio::test]
async fn without_sharded_channels_plain_ones_serve() {
    let without = ["--rename-command", "SSUBSCRIBE", "", "--rename-command", "SPUBLISH", ""];
    let server = Server::with(&without);
    let (owner, caller, connection, group) = nodes(&server).await;
    all_is_well(&owner, &caller, &connection, &group).await;
    assert_eq!(server.cli(&["pubsub", "channels"]).lines().count(), 2);
}

/// No directory knows of a number that was never held, so nobody else can finish for it.
#[tokio::test]
async fn a_node_that_never_reached_the_server_finishes_its_connections_itself() {
    let mut server = Server::start();
    server.kill();
    let alone = RedisStore::<TestConnection>::start(options(&server.url(), "t")).unwrap();
    let connection = TestConnection::open(&alone, Some("facts"));
    assert_eq!(alone.lease(), Lease::Lost);
    let finishes = tokio::time::timeout(DEADLINE, alone.finishes(connection.id())).await;
    assert_eq!(finishes, Ok(true));
}
