//! What is written is read again, and anything else does no harm.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::{
    Audience, CallName, CloseRequest, ConnectionId, ConnectionList, DeliveryError, Description,
    GroupName, Message, MessageKind, PageLimit, Scope,
};

fn id() -> impl Strategy<Value = ConnectionId> {
    (0u32..1 << 24, any::<[u8; 8]>())
        .prop_map(|(node, random)| ConnectionId::new(NodeId::new(node).unwrap(), random))
}

fn ids() -> impl Strategy<Value = Vec<ConnectionId>> {
    prop::collection::vec(id(), 0..20)
}

fn scope() -> impl Strategy<Value = Scope> {
    (any::<String>(), any::<String>()).prop_map(|(api, stage)| Scope::new(api, stage))
}

fn group() -> impl Strategy<Value = GroupName> {
    "[A-Za-z0-9_.~:-]{1,128}".prop_map(|name| name.parse().unwrap())
}

fn message() -> impl Strategy<Value = Message> {
    let text = any::<String>().prop_map(|t| Message { kind: MessageKind::Text, payload: t.into() });
    let binary = any::<Vec<u8>>()
        .prop_map(|bytes| Message { kind: MessageKind::Binary, payload: bytes.into() });
    prop_oneof![text, binary]
}

fn request() -> impl Strategy<Value = CloseRequest> {
    (1000u16..5000, "[ -~]{0,123}").prop_map(|(code, reason)| CloseRequest { code, reason })
}

fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![
        group().prop_map(Audience::Group),
        any::<String>().prop_map(|user| Audience::User(user.into())),
        Just(Audience::Stage),
        ids().prop_map(|ids| Audience::Connections(ConnectionList::new(ids).unwrap())),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let call = prop::option::of(prop::collection::vec(any::<u8>(), 1..=256));
    let call = call.prop_map(|call| call.map(|call| CallName::new(&call).unwrap()));
    let limit = (1u16..=1000).prop_map(|limit| PageLimit::new(limit).unwrap());
    prop_oneof![
        (scope(), id(), message(), call.clone())
            .prop_map(|(scope, id, message, call)| Question::Post { scope, id, message, call }),
        (scope(), id()).prop_map(|(scope, id)| Question::Describe { scope, id }),
        (scope(), id(), request()).prop_map(|(scope, id, request)| Question::Close {
            scope,
            id,
            request
        }),
        (scope(), id(), group()).prop_map(|(scope, id, group)| Question::Join { scope, id, group }),
        (scope(), id(), group()).prop_map(|(scope, id, group)| Question::Leave {
            scope,
            id,
            group
        }),
        (scope(), audience(), message(), ids(), call).prop_map(
            |(scope, audience, message, except, call)| Question::Send {
                scope,
                audience,
                message,
                except,
                call
            }
        ),
        (scope(), audience(), request()).prop_map(|(scope, audience, request)| {
            Question::CloseAudience { scope, audience, request }
        }),
        (scope(), group()).prop_map(|(scope, group)| Question::Count { scope, group }),
        (scope(), prop::option::of(group()), limit, any::<u32>())
            .prop_map(|(scope, group, limit, place)| Question::Page { scope, group, limit, place }),
        Just(Question::Probe),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let error = prop_oneof![
        Just(DeliveryError::Gone),
        Just(DeliveryError::Full),
        Just(DeliveryError::Unavailable),
    ];
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| Ipv4Addr::from(ip).into()),
        any::<[u8; 16]>().prop_map(|ip| Ipv6Addr::from(ip).into()),
    ];
    let description = (any::<u64>(), any::<u64>(), ip, prop::option::of(any::<String>())).prop_map(
        |(connected_at_ms, last_active_at_ms, source_ip, user_agent)| Description {
            connected_at_ms,
            last_active_at_ms,
            source_ip,
            user_agent,
        },
    );
    prop_oneof![
        Just(Answer::Done),
        error.prop_map(Answer::Failed),
        description.prop_map(Answer::Description),
        (any::<u64>(), ids()).prop_map(|(recipients, gone)| Answer::Report { recipients, gone }),
        any::<u64>().prop_map(Answer::Number),
        (ids(), prop::option::of(any::<u32>()))
            .prop_map(|(connections, next)| Answer::Page { connections, next }),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![question().prop_map(Body::Question), answer().prop_map(Body::Answer)]
}

fn written(sender: NodeId, bodies: &[(u64, Body)]) -> Vec<u8> {
    let mut batch = Batch::new(sender);
    for (number, body) in bodies {
        batch.push(&item(*number, body).unwrap());
    }
    assert_eq!(batch.len(), batch.0.len());
    batch.into_bytes()
}

fn node(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Fixed by hand: other releases read the same bytes.
#[test]
fn a_post_is_these_bytes() {
    let id = ConnectionId::new(node(0xab_cdef), [0xff; 8]);
    let message = Message { kind: MessageKind::Text, payload: "hi".into() };
    let scope = Scope::new("chat", "prod");
    let post = Question::Post { scope, id, message, call: CallName::new(b"c") };
    let bytes = written(node(0x12_3456), &[(7, Body::Question(post))]);
    let expected = [
        b"tgb\x01\x00\x12\x34\x56".as_slice(),
        b"\x00\x00\x00\x2f\x00\x00\x00\x00\x00\x00\x00\x07\x01",
        b"\x00\x04chat\x00\x04prod",
        b"q83v__________8=",
        b"\x00\x00\x00\x00\x02hi\x00\x01c",
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn what_no_node_of_this_version_sent_is_told_apart() {
    let read = |bytes: &[u8]| items(&Bytes::copy_from_slice(bytes)).map(|items| items.sender);
    assert_eq!(read(b"tgb\x01\x00\x00\x00\x07"), Ok(node(7)));
    assert_eq!(read(b""), Err(Dropped::Foreign));
    assert_eq!(read(b"tgb\x01\x00\x00\x00"), Err(Dropped::Foreign));
    assert_eq!(read(b"GET / HTTP/1.1\r\n"), Err(Dropped::Foreign));
    assert_eq!(read(b"tgb\x02\x00\x00\x00\x07 and more"), Err(Dropped::Version));
    assert_eq!(read(b"tgb\x01\x01\x00\x00\x07"), Err(Dropped::Malformed));
    let mut long = b"tgb\x01\x00\x00\x00\x07".to_vec();
    long.resize(MAX_MESSAGE_BYTES + 1, 0);
    assert_eq!(read(&long), Err(Dropped::TooLong));
}

#[test]
fn a_broken_item_costs_itself_and_a_cut_one_what_follows() {
    let probe = |number| (number, Body::Question(Question::Probe));
    let good = written(node(7), &[probe(1), probe(2), probe(3)]);
    let mut broken = good.clone();
    // The kind of the second item.
    broken[8 + 13 + 12] = 127;
    let read: Vec<_> = items(&broken.into()).unwrap().collect();
    assert_eq!(read, [Ok(probe(1)), Err(Dropped::Malformed), Ok(probe(3))]);
    let mut cut = good;
    cut.truncate(8 + 13 + 12);
    let read: Vec<_> = items(&cut.into()).unwrap().collect();
    assert_eq!(read, [Ok(probe(1)), Err(Dropped::Malformed)]);
}

#[test]
fn what_would_harm_a_client_is_malformed() {
    let home = || Scope::new("chat", "prod");
    let id = ConnectionId::new(node(1), [1; 8]);
    let close = |code, reason: &str| Question::Close {
        scope: home(),
        id,
        request: CloseRequest { code, reason: reason.to_owned() },
    };
    let text =
        |payload: &'static [u8]| Message { kind: MessageKind::Text, payload: payload.into() };
    let post = Question::Post { scope: home(), id, message: text(b"\xff"), call: None };
    for question in [close(999, ""), close(5000, ""), close(1000, &"r".repeat(124)), post] {
        let bytes = written(node(7), &[(1, Body::Question(question.clone()))]);
        let read: Vec<_> = items(&bytes.into()).unwrap().collect();
        assert_eq!(read, [Err(Dropped::Malformed)], "{question:?}");
    }
}

#[test]
fn an_item_is_as_long_as_a_bus_message_at_most() {
    let message = |length: usize| Question::Post {
        scope: Scope::new("", ""),
        id: ConnectionId::new(node(1), [1; 8]),
        message: Message { kind: MessageKind::Binary, payload: vec![0; length].into() },
        call: None,
    };
    let overhead = item(1, &Body::Question(message(0))).unwrap().len() + HEADER_BYTES;
    let longest = MAX_MESSAGE_BYTES - overhead;
    let bytes = written(node(7), &[(1, Body::Question(message(longest)))]);
    assert_eq!(bytes.len(), MAX_MESSAGE_BYTES);
    assert!(items(&bytes.into()).unwrap().all(|item| item.is_ok()));
    assert!(item(1, &Body::Question(message(longest + 1))).is_none());
    let scope = Scope::new("a".repeat(65_536), "");
    let group = "g".parse().unwrap();
    assert!(item(1, &Body::Question(Question::Count { scope, group })).is_none());
}

proptest! {
    #[test]
    fn what_was_written_is_read_as_it_was(
        sender in 0u32..1 << 24,
        bodies in prop::collection::vec((any::<u64>(), body()), 0..6),
    ) {
        let bytes = written(node(sender), &bodies);
        let read = items(&bytes.into()).unwrap();
        prop_assert_eq!(read.sender, node(sender));
        let read: Vec<_> = read.collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read, bodies);
    }

    #[test]
    fn anything_else_does_no_harm(
        bodies in prop::collection::vec((any::<u64>(), body()), 1..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = written(node(7), &bodies);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        crate::redis::check_bus_message(&bytes);
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in any::<Vec<u8>>(), number in any::<u64>()) {
        crate::redis::check_bus_message(&bytes);
        let mut message = Batch::new(node(7)).into_bytes();
        message.extend_from_slice(&(bytes.len() as u32 + 8).to_be_bytes());
        message.extend_from_slice(&number.to_be_bytes());
        message.extend_from_slice(&bytes);
        crate::redis::check_bus_message(&message);
    }
}
