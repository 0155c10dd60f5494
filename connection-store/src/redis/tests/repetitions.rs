//! Calls that come twice: what stands in the server for them, and what needs none.

use super::{server::Server, *};
use crate::ConnectionList;

fn list(ids: Vec<ConnectionId>) -> Audience {
    Audience::Connections(ConnectionList::new(ids).unwrap())
}

async fn twice(node: &Node, to: &Audience, call: &str) -> Result<SendReport, Unavailable> {
    let call = CallName::new(call.as_bytes()).unwrap();
    node.send_once(&home(), to.clone(), text("once"), vec![], &call).await
}

/// Of the largest batch, all of which are gone, too; and the answer says as before who they are.
#[tokio::test]
async fn a_batch_that_stands_in_the_server_takes_1300_bytes_at_most() {
    let server = Server::start();
    let owner: Node = start(&server.url(), "t").await;
    let caller: Node = start(&server.url(), "t").await;
    let connection = TestConnection::open(&owner, None);
    let ids = (1..10_000u64).map(|number| {
        let node = if number % 3 == 0 { caller.node() } else { owner.node() };
        ConnectionId::new(node, number.to_be_bytes())
    });
    let mut gone: Vec<_> = ids.collect();
    let to = list([gone.as_slice(), &[connection.id()]].concat());
    let report = SendReport { recipients: 1, nodes: 1, gone: gone.clone() };
    assert_eq!(twice(&caller, &to, "first").await, Ok(report.clone()), "in the list's order");
    let key = server.cli(&["keys", "{t}:call:*"]);
    let bytes: u32 = server.cli(&["strlen", key.trim()]).trim().parse().expect("one key");
    assert!((1250..=1300).contains(&bytes), "{bytes} bytes in {key}");
    let left: u64 = server.cli(&["pttl", key.trim()]).trim().parse().expect("it ends");
    assert!(left <= 60_000, "{left} ms");
    for node in [&owner, &caller] {
        assert_eq!(twice(node, &to, "first").await, Ok(report.clone()));
    }
    assert_eq!(connection.got(), [text("once")]);
    // Another list under that name is another call.
    gone.swap(0, 1);
    let other = list([gone.as_slice(), &[connection.id()]].concat());
    assert_eq!(twice(&caller, &other, "first").await, Ok(SendReport { gone, ..report }));
    assert_eq!(connection.got().len(), 2);
}

/// Its own node keeps it, whichever one is asked, and nothing of it stands in the server.
#[tokio::test]
async fn a_batch_to_a_nodes_own_connections_needs_no_server() {
    let mut server = Server::start();
    let owner: Node = start(&server.url(), "t").await;
    let caller: Node = start(&server.url(), "t").await;
    let connection = TestConnection::open(&owner, None);
    let absent = ConnectionId::new(owner.node(), [7; 8]);
    let to = list(vec![connection.id(), absent]);
    let report = Ok(SendReport { recipients: 1, nodes: 1, gone: vec![absent] });
    assert_eq!(twice(&owner, &to, "first").await, report);
    assert_eq!(server.cli(&["keys", "{t}:call:*"]).trim(), "");
    assert_eq!(twice(&caller, &to, "first").await, report);
    server.kill();
    until("it is noticed", || !owner.delivers() && !caller.delivers()).await;
    assert_eq!(twice(&owner, &to, "first").await, report);
    assert_eq!(connection.got(), [text("once")]);
    assert_eq!(twice(&owner, &to, "second").await, report, "while the server is away");
    assert_eq!(twice(&caller, &to, "third").await, Err(Unavailable));
    assert_eq!(connection.got().len(), 2);
}
