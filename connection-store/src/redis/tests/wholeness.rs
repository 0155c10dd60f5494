//! The directory lacks what living nodes have, and no answer passes over them: a call to an audience
//! is refused until all of them have written what they have again.

use super::{connection::stall, server::Server, *};

/// Longer than any wait below, so that none of them ends by a lease's end.
const LONG: Duration = Duration::from_secs(6);

/// "Delivery is back within 5 s of its return."
const BACK_WITHIN: Duration = Duration::from_secs(5);

async fn start_long(server: &Server) -> Node {
    start_with(options(&server.url(), "t").lease(LONG)).await
}

fn room() -> GroupName {
    "room".parse().unwrap()
}

/// Two nodes; the first one has the only member of the room.
async fn nodes(server: &Server) -> (Node, Node, Arc<TestConnection>) {
    let (owner, caller) = (start_long(server).await, start_long(server).await);
    let member = TestConnection::open(&owner, None);
    assert_eq!(caller.join(&home(), &room(), member.id()).await, Ok(()));
    assert_eq!(send(&caller).await, Ok(1));
    (owner, caller, member)
}

/// How many a send to the room reaches.
async fn send(from: &Node) -> Result<u64, Unavailable> {
    let sent = from.send(&home(), Audience::Group(room()), text("x"), vec![]).await;
    sent.map(|report| report.recipients)
}

/// How many a list of the room names.
async fn list(from: &Node) -> Result<u64, Unavailable> {
    let (mut listed, mut cursor) = (0, None);
    loop {
        let page = from.members(&home(), &room(), PageLimit::new(10).unwrap(), cursor).await?;
        listed += page.connections.len() as u64;
        cursor = page.next;
        if cursor.is_none() {
            return Ok(listed);
        }
    }
}

/// Calls of every kind to the room, again and again, until they find its member, or till `within`.
/// None finds nobody.
async fn nobody_is_passed_over(caller: &Node, within: Duration) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < within {
        let counted = caller.count(&home(), &room()).await;
        let found = [send(caller).await, counted, list(caller).await];
        let known = |found: &Result<u64, Unavailable>| *found == Ok(1);
        for one in found {
            assert!(known(&one) || one.is_err(), "{found:?} after {:?}", begun.elapsed());
        }
        if found.iter().all(known) {
            return Some(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    None
}

/// The owner's thread stands still from now on for that time, as a process that was frozen.
async fn stand_still(owner: &Node, caller: &Node, member: &TestConnection, time: Duration) {
    let received = owner.counts().received;
    drop(caller.post(&home(), member.id(), stall(time.as_millis().try_into().unwrap())));
    until("it stands still", || owner.counts().received > received).await;
}

#[tokio::test]
async fn a_server_that_is_back_empty_is_not_believed_before_every_node_is_back() {
    let mut server = Server::start();
    let (owner, caller, member) = nodes(&server).await;
    let late = Duration::from_secs(4);
    stand_still(&owner, &caller, &member, late).await;
    let begun = Instant::now();
    server.kill();
    until("the caller has noticed", || !caller.delivers()).await;
    server.restart();
    until("the caller is back", || caller.delivers()).await;
    // Past the age at which nobody can be missing of whom nobody there knows.
    assert_eq!(nobody_is_passed_over(&caller, Duration::from_millis(2500)).await, None);
    assert!(begun.elapsed() < late, "it stood still all the time");
    assert!(nobody_is_passed_over(&caller, late + BACK_WITHIN).await.is_some());
}

#[tokio::test]
async fn a_database_that_is_emptied_under_the_link_is_not_believed() {
    let server = Server::start();
    let (_owner, caller, member) = nodes(&server).await;
    for _ in 0..3 {
        server.cli(&["flushall"]);
        assert!(nobody_is_passed_over(&caller, BACK_WITHIN).await.is_some(), "it heals");
    }
    assert_eq!(member.closes(), [] as [u16; 0]);
}

/// A replica that was promoted may lack the newest of what a node wrote, and nothing shows which.
#[tokio::test]
async fn a_server_that_lost_writes_is_not_believed_before_every_node_has_looked() {
    let server = Server::start();
    let (owner, caller, member) = nodes(&server).await;
    // A directory that is young is not believed anyway.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    stand_still(&owner, &caller, &member, Duration::from_millis(1500)).await;
    let made = caller.counts().connects;
    server.cli(&["eval", "redis.call('del', unpack(redis.call('keys', '*:in:*')))", "0"]);
    server.cli(&["client", "kill", "type", "normal"]);
    server.cli(&["client", "kill", "type", "pubsub"]);
    until("the caller is back", || caller.counts().connects > made && caller.delivers()).await;
    assert_eq!(nobody_is_passed_over(&caller, Duration::from_millis(800)).await, None);
    assert!(nobody_is_passed_over(&caller, BACK_WITHIN).await.is_some(), "it heals");
}

/// Who died with the server comes back no more, and is waited for as long as its lease might run.
#[tokio::test]
async fn who_died_with_the_server_is_not_waited_for_for_ever() {
    let mut server = Server::start();
    let (owner, caller, member) = nodes(&server).await;
    let died = Instant::now();
    server.kill();
    drop((owner, member));
    server.restart();
    until_answered("a send", 2 * LONG, &Ok(0), async || send(&caller).await).await;
    assert!(died.elapsed() >= LONG, "it was gone already after {:?}", died.elapsed());
}

#[tokio::test]
async fn a_node_that_begins_or_leaves_delays_nobody() {
    let server = Server::start();
    let (_owner, caller, _member) = nodes(&server).await;
    for _ in 0..3 {
        let url = server.url();
        let coming = tokio::spawn(async move { start_with(options(&url, "t").lease(LONG)).await });
        while !coming.is_finished() {
            assert_eq!(send(&caller).await, Ok(1), "while a node begins");
        }
        let newcomer: Node = coming.await.unwrap();
        assert_eq!(send(&newcomer).await, Ok(1), "as its first call");
        newcomer.leave_cluster().await;
        assert_eq!(send(&caller).await, Ok(1), "when it has left");
    }
}

/// Its tombstone says so, whatever the directory may lack.
#[tokio::test]
async fn who_has_left_is_gone_after_each_blip_and_also_by_an_empty_server() {
    let mut server = Server::start();
    let (_owner, caller, _member) = nodes(&server).await;
    let leaving = start_long(&server).await;
    let left = TestConnection::open(&leaving, None).id();
    leaving.leave_cluster().await;
    let gone = Err(DeliveryError::Gone);
    until_answered("a post to it", DEADLINE, &gone, async || post(&caller, left, "x").await).await;
    let newcomer = start_long(&server).await;
    for is_emptied in [false, true] {
        let made = [caller.counts().connects, newcomer.counts().connects];
        if is_emptied {
            server.kill();
            until("it is missed", || !caller.delivers() && !newcomer.delivers()).await;
            server.restart();
        } else {
            server.cli(&["client", "kill", "type", "normal"]);
            server.cli(&["client", "kill", "type", "pubsub"]);
        }
        until("both are back", || {
            let back =
                |(node, made): (&Node, u64)| node.delivers() && node.counts().connects > made;
            [&caller, &newcomer].into_iter().zip(made).all(back)
        })
        .await;
        for node in [&caller, &newcomer] {
            assert_eq!(post(node, left, "x").await, gone);
        }
    }
    // Who knew it has written it again.
    assert_eq!(post(&start_long(&server).await, left, "x").await, gone);
}

/// It has missed whatever was there before, and so may whoever is there now.
#[tokio::test]
async fn who_begins_without_its_server_believes_no_directory_that_is_young() {
    let mut server = Server::start();
    let begins = start_long(&server).await;
    assert_eq!(send(&begins).await, Ok(0), "there was nobody before it");
    server.kill();
    let late: Node = RedisStore::start(options(&server.url(), "t").lease(LONG)).unwrap();
    until("it has tried", || late.counts().failed_connects > 0).await;
    drop(begins);
    let begun = Instant::now();
    server.restart();
    until("it is there", || late.delivers()).await;
    assert_eq!(send(&late).await, Err(Unavailable));
    until_answered("a send", BACK_WITHIN, &Ok(0), async || send(&late).await).await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "after {:?}", begun.elapsed());
}
