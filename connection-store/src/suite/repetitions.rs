//! Guarantee 11: calls that come twice.

use super::{
    TestedStore, all, elsewhere, group, groups::join_all, groups::to, home, message, nodes, open,
    open_as,
};
use crate::{CallName, DeliveryError, LocalConnection, Message, SendReport};

fn name(text: &str) -> CallName {
    CallName::new(text.as_bytes()).expect("the suite's names are good ones")
}

/// Guarantee 11, for posts: one after the other, at once, and through either node.
pub async fn a_post_that_comes_twice_is_made_once(owner: &TestedStore, caller: &TestedStore) {
    let (connection, neighbour) = (open(owner, 100), open(owner, 100));
    let (id, sent) = (connection.id(), message());
    let post = |store: &'_ TestedStore, call: &str, sent: &Message| {
        store.post_once(&home(), id, sent.clone(), &name(call))
    };
    for round in 0..3 {
        for store in [caller, owner] {
            let receipt = post(store, "first", &sent).await.map(|receipt| receipt.node);
            assert_eq!(receipt, Ok(owner.node()), "the answer of a post in round {round}");
        }
    }
    assert_eq!(connection.take(), [sent], "messages of a post that came twice");

    let sent = message();
    let calls = (0..8).map(|number| post([caller, owner][number % 2], "at once", &sent));
    for answer in all(calls.collect()).await {
        assert_eq!(answer.map(|receipt| receipt.node), Ok(owner.node()), "one of eight at once");
    }
    assert_eq!(connection.take(), [sent], "messages of a post that came eight times at once");

    // Another name, another connection, no name: other calls.
    let sent = message();
    let _ = post(caller, "second", &sent).await;
    let _ = caller.post_once(&home(), neighbour.id(), sent.clone(), &name("first")).await;
    let _ = caller.post(&home(), id, sent.clone()).await;
    assert_eq!(connection.take(), [sent.clone(), sent.clone()], "posts of other names");
    assert_eq!(neighbour.take(), [sent], "a post of that name to another connection");
}

/// Guarantee 11, for sends.
pub async fn a_send_that_comes_twice_is_made_once(owner: &TestedStore, caller: &TestedStore) {
    let (room, other) = (group("room"), group("other"));
    let members = [open(owner, 100), open(caller, 100)];
    join_all(caller, &room, &members).await;
    join_all(caller, &other, &members).await;
    let send = |store: &'_ TestedStore, sent: &Message| {
        store.send_once(&home(), to(&room), sent.clone(), vec![], &name("first"))
    };
    let report = SendReport { recipients: 2, nodes: nodes(owner, caller), gone: vec![] };
    let sent = message();
    for store in [caller, caller, owner] {
        assert_eq!(send(store, &sent).await, Ok(report.clone()), "the report of a send");
    }
    let calls = (0..6).map(|number| send([caller, owner][number % 2], &sent));
    for answer in all(calls.collect()).await {
        assert_eq!(answer, Ok(report.clone()), "the report of one of six at once");
    }
    for member in &members {
        assert_eq!(member.take(), vec![sent.clone()], "messages of a send that came twice");
    }
    // Another group, other exceptions, another stage: other calls.
    let except = vec![members[0].id()];
    let calls = [
        caller.send_once(&home(), to(&other), sent.clone(), vec![], &name("first")),
        owner.send_once(&home(), to(&room), sent.clone(), except, &name("first")),
        caller.send_once(&elsewhere(), to(&room), sent.clone(), vec![], &name("first")),
    ];
    let recipients = all(calls.into()).await.into_iter().map(|sent| sent.map(|s| s.recipients));
    assert_eq!(recipients.collect::<Vec<_>>(), [Ok(2), Ok(1), Ok(0)], "sends of other targets");
}

/// Guarantee 11: what was not done may be done.
pub async fn a_call_that_failed_may_be_made_again(owner: &TestedStore, caller: &TestedStore) {
    let full = open_as(owner, None, home(), 1);
    let post = || caller.post_once(&home(), full.id(), message(), &name("again"));
    let fill = caller.post(&home(), full.id(), message()).await;
    assert!(fill.is_ok(), "a post to a queue with room");
    assert_eq!(post().await, Err(DeliveryError::Full), "a post to a full queue");
    full.take();
    assert!(post().await.is_ok(), "the same post when there is room");
    assert!(post().await.is_ok(), "the same post when it was made");
    assert_eq!(full.take().len(), 1, "messages of a post that failed once");
}
