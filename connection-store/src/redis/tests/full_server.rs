//! The server's memory is full: nobody is lost, what is over makes room, and what is new waits.

use super::{
    server::{Program, Server},
    *,
};

/// Nothing fits into it any more; or everything does.
fn set_full(server: &Server, is_full: bool) {
    let bytes = if is_full { "1" } else { "0" };
    assert_eq!(server.cli(&["config", "set", "maxmemory", bytes]), "OK");
    let refused = server.cli(&["set", "key", "value"]).starts_with("OOM");
    assert_eq!(refused, is_full);
}

fn server(program: Program) -> Server {
    Server::of(program, &["--maxmemory-policy", "noeviction"])
}

/// What stands in the directory of the connections of a node.
fn facts_of(server: &Server, node: NodeId) -> String {
    server.cli(&["hvals", &format!("{{t}}:facts:{node}")])
}

async fn a_full_server_costs_no_socket_and_what_is_over_makes_room(program: Program) {
    let server = server(program);
    let owner: Node = start(&server.url(), "t").await;
    let caller: Node = start(&server.url(), "t").await;
    let stays = TestConnection::open(&owner, None);
    let leaves = TestConnection::open(&owner, Some("leaves"));
    let old: GroupName = "old".parse().unwrap();
    assert_eq!(caller.join(&home(), &old, stays.id()).await, Ok(()));
    assert_eq!(owner.published().await, Ok(()));
    let send = async |group: &GroupName| {
        caller.send(&home(), Audience::Group(group.clone()), text("x"), vec![]).await
    };
    set_full(&server, true);

    // Who is there stays, for longer than a lease, and can be reached.
    tokio::time::sleep(2 * LEASE).await;
    assert_eq!(post(&caller, stays.id(), "x").await, Ok(owner.node()));
    assert_eq!(send(&old).await.map(|report| report.recipients), Ok(1));

    // Who comes is let in; that others do not know of it is said, in time.
    let late = TestConnection::open(&owner, Some("late"));
    let told = tokio::time::timeout(Duration::from_secs(1), owner.published()).await;
    assert_eq!(told, Ok(Err(Unavailable)));
    assert_eq!(owner.published().await, Err(Unavailable), "it is known by now");
    assert!(owner.troubles().borrow().contains("maxmemory"), "the log says why");
    assert_eq!(post(&caller, late.id(), "x").await, Ok(owner.node()));
    assert!(owner.finishes(late.id()).await);
    assert_eq!(send(&old).await.map(|report| report.recipients), Ok(1), "nothing of it is new");
    let new: GroupName = "new".parse().unwrap();
    assert_eq!(caller.join(&home(), &new, late.id()).await, Err(DeliveryError::Unavailable));
    assert_eq!(send(&new).await, Err(Unavailable), "it has a member that is not known of");

    // Who leaves makes room.
    assert!(owner.remove(leaves.id()).is_some());
    owner.ended(leaves.id());
    until("it is forgotten", || facts_of(&server, owner.node()).is_empty()).await;
    assert!(owner.delivers() && caller.delivers());

    set_full(&server, false);
    until("the new one's facts are there", || facts_of(&server, owner.node()) == "late").await;
    until_answered("a send to the new group", DEADLINE, &Ok(1), async || {
        send(&new).await.map(|report| report.recipients)
    })
    .await;
    until("the log is told", || owner.troubles().borrow().is_empty()).await;
    assert_eq!(owner.published().await, Ok(()));
    assert_eq!([stays.closes(), late.closes()], [[] as [u16; 0]; 2]);
    assert_eq!([owner.counts().lost_leases, owner.counts().disconnects], [0, 0]);
}

#[tokio::test]
async fn a_full_redis_costs_no_socket_and_what_is_over_makes_room() {
    a_full_server_costs_no_socket_and_what_is_over_makes_room(Program::Redis).await;
}

#[tokio::test]
async fn a_full_valkey_costs_no_socket_and_what_is_over_makes_room() {
    a_full_server_costs_no_socket_and_what_is_over_makes_room(Program::Valkey).await;
}

/// A survivor claims it, runs what it left, and takes all of it out.
#[tokio::test]
async fn a_node_that_dies_while_the_server_is_full_is_finished() {
    let server = server(Program::Redis);
    let dying: Node = start(&server.url(), "t").await;
    let survivor: Node = start(&server.url(), "t").await;
    let connection = TestConnection::open(&dying, Some("facts"));
    let group: GroupName = "room".parse().unwrap();
    assert_eq!(survivor.join(&home(), &group, connection.id()).await, Ok(()));
    assert_eq!(dying.published().await, Ok(()));
    set_full(&server, true);
    drop(dying);
    let mut orphans = survivor.orphans().expect("nobody has taken them");
    let orphan = tokio::time::timeout(DEADLINE, orphans.next()).await;
    let orphan = orphan.expect("an orphan comes").expect("the store is there");
    assert_eq!(orphan.id(), connection.id());
    orphan.done();
    until("nothing of it is left", || {
        let claims = server.cli(&["exists", "{t}:claims"]);
        let parts = server.cli(&["keys", "{t}:[oc]*:*"]);
        (claims.as_str(), parts.as_str()) == ("0", "")
    })
    .await;
    let gone = post(&survivor, connection.id(), "x").await;
    assert_eq!(gone, Err(DeliveryError::Gone));
}

/// Nodes come and go in order, also one that knows of a death.
#[tokio::test]
async fn a_node_starts_and_leaves_while_the_server_is_full() {
    let mut server = server(Program::Redis);
    let survivor: Node = start(&server.url(), "t").await;
    let dead: Node = start(&server.url(), "t").await;
    drop(dead);
    until("it is claimed", || survivor.counts().claimed_nodes == 1).await;
    let connection = TestConnection::open(&survivor, Some("facts"));
    server.kill();
    until("it is missed", || !survivor.delivers()).await;
    server.restart();
    set_full(&server, true);
    until("it is there again", || survivor.delivers()).await;
    assert_eq!(server.cli(&["keys", "{t}:fallen:*"]).lines().count(), 1);
    let another: Node = start(&server.url(), "t").await;
    assert_eq!(post(&another, connection.id(), "x").await, Ok(survivor.node()));
    let left = another.node();
    another.leave_cluster().await;
    assert_eq!(server.cli(&["hexists", "{t}:nodes", &left.to_string()]), "0");
    assert_eq!(connection.closes(), [] as [u16; 0]);
    assert_eq!(survivor.counts().lost_leases, 0);
}
