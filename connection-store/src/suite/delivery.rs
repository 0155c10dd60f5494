//! Guarantees 3 and 4: what a receipt means, what takes its place, and for whom.

use bytes::Bytes;

use super::{
    TestedStore, all, assert_ok, close_request, encodings_of, home, message, open, text, yield_now,
};
use crate::{DeliveryError, LocalConnection, Message, MessageKind, Scope};

/// Guarantee 3: what a receipt means.
pub async fn a_receipt_names_the_owner_whose_queue_took_the_message(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let (connection, neighbour) = (open(owner, 10), open(owner, 10));
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    for (kind, payload) in [
        (MessageKind::Text, Bytes::from_static(b"hello")),
        (MessageKind::Text, Bytes::from_static("ä – \u{1f600}\0\r\n".as_bytes())),
        (MessageKind::Text, Bytes::new()),
        (MessageKind::Binary, Bytes::from(every_byte)),
        (MessageKind::Binary, Bytes::new()),
        // API Gateway's quota for one message.
        (MessageKind::Text, Bytes::from(vec![b'x'; 131_072])),
    ] {
        let sent = Message { kind, payload };
        let what = format!("a {kind:?} message of {} bytes", sent.payload.len());
        let receipt = caller.post(&home(), connection.id(), sent.clone()).await;
        let node = receipt.map(|receipt| receipt.node);
        assert_eq!(node, Ok(owner.node()), "the receipt for {what} names the owner");
        assert!(connection.take() == [sent], "{what} stands in the queue when it is answered");
    }
    assert_eq!(neighbour.take(), [], "a neighbour got a message");
}

/// Guarantee 3: what takes the place of a receipt.
pub async fn full_and_closed_queues_are_told_apart(owner: &TestedStore, caller: &TestedStore) {
    let connection = open(owner, 2);
    let messages = [message(), message(), message(), message()];
    let mut answers = Vec::new();
    for message in &messages[..3] {
        let answer = caller.post(&home(), connection.id(), message.clone()).await;
        answers.push(answer.map(|receipt| receipt.node));
    }
    let expected = [Ok(owner.node()), Ok(owner.node()), Err(DeliveryError::Full)];
    assert_eq!(answers, expected, "three posts to a queue that has room for two");
    assert_eq!(connection.take(), messages[..2], "a full queue keeps what it took");
    let described = caller.describe(&home(), connection.id()).await;
    assert_eq!(described, Ok(connection.describe()), "a full connection is not gone");
    let answer = caller.post(&home(), connection.id(), messages[3].clone()).await;
    assert_ok(answer, "a post after the client has read");
    assert_eq!(connection.take(), messages[3..], "a refused message arrived late");

    // The socket has ended and its task has not yet come to `remove`.
    connection.close(&close_request());
    let answer = caller.post(&home(), connection.id(), message()).await;
    assert_eq!(answer, Err(DeliveryError::Gone), "a post to a connection that has closed itself");
    let removed = owner.remove(connection.id());
    assert!(removed.is_some(), "a failed post leaves the connection to `remove`");
}

/// Guarantee 3: order, for several callers whose posts are under way at once.
pub async fn messages_arrive_in_the_order_of_their_answers(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    const CALLERS: usize = 5;
    const EACH: usize = 40;
    let connection = open(owner, CALLERS * EACH);
    let callers = (0..CALLERS).map(|name| {
        let id = connection.id();
        async move {
            for number in 0..EACH {
                let sent = text(format!("{name} {number}"));
                assert_ok(caller.post(&home(), id, sent).await, "a post to a queue with room");
                // Uneven, so that the callers do not keep step.
                for _ in 0..(name + number) % 3 {
                    yield_now().await;
                }
            }
        }
    });
    all(callers.collect()).await;
    let arrived = connection.take();
    assert_eq!(arrived.len(), CALLERS * EACH, "each message arrives once");
    for name in 0..CALLERS {
        let prefix = format!("{name} ");
        let of_one = arrived.iter().filter(|m| m.payload.starts_with(prefix.as_bytes()));
        for (number, arrived) in of_one.enumerate() {
            let expected = text(format!("{name} {number}"));
            assert_eq!(*arrived, expected, "the order of one caller's messages");
        }
    }
}

/// Guarantee 3, and what [`LocalConnection::encode`] asks of a store.
pub async fn a_message_is_encoded_once_and_only_for_a_receiver(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let connection = open(owner, 1);
    for (scope, id, expected, what) in [
        (home(), owner.allocate(), 0, "to nobody"),
        (Scope::new("game", "prod"), connection.id(), 0, "under another scope"),
        (home(), connection.id(), 1, "to an open connection"),
    ] {
        let sent = message();
        let _ = caller.post(&scope, id, sent.clone()).await;
        assert_eq!(encodings_of(&sent), expected, "encodings of a message {what}");
    }
}

/// Guarantee 4.
pub async fn another_scope_learns_nothing(owner: &TestedStore, caller: &TestedStore) {
    let never_opened = owner.allocate();
    let open = open(owner, 2);
    let full = self::open(owner, 0);
    let closed = self::open(owner, 2);
    closed.close(&close_request());
    let foreign = [
        Scope::new("chat", "dev"),
        Scope::new("game", "prod"),
        Scope::new("game", "dev"),
        Scope::new("prod", "chat"),
        Scope::new("Chat", "prod"),
        Scope::new("chatp", "rod"),
        Scope::new("chat", ""),
        Scope::new("", ""),
    ];
    for scope in &foreign {
        for id in [never_opened, open.id(), full.id(), closed.id()] {
            let posted = caller.post(scope, id, message()).await;
            assert_eq!(posted, Err(DeliveryError::Gone), "a post under {scope:?}");
            let described = caller.describe(scope, id).await;
            assert_eq!(described, Err(DeliveryError::Gone), "a description under {scope:?}");
            let answer = caller.close(scope, id, close_request()).await;
            assert_eq!(answer, Err(DeliveryError::Gone), "a close under {scope:?}");
        }
    }
    assert_eq!(open.take(), [], "a message crossed scopes");
    assert_eq!(open.closes(), [], "a close crossed scopes");
    assert_ok(caller.post(&home(), open.id(), message()).await, "a post under the own scope");
    assert_eq!(owner.local().len(), 3, "a call under another scope removed a connection");
}
