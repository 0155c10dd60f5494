//! Guarantees 8 and 9: what a send to an audience reaches, how often, and in which order.

use super::{
    TestedStore, all, assert_gone, assert_ok, close_request, elsewhere, encodings_of, group,
    groups::{join_all, to},
    home, ids, message, nodes, open, open_as, open_many, settle, text, yield_now,
};
use crate::{
    Audience, CloseRequest, ConnectionId, ConnectionList, LocalConnection, Message, SendReport,
};

/// More than a store sends without a pause.
const MANY: usize = 140;

/// Guarantee 8, for groups: members on both nodes, in both with more than a pause between them.
pub async fn a_send_reaches_each_member_once_and_counts_those_who_took_it(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let room = group("room");
    let far = open_many(owner, MANY, 10);
    let near = open_many(caller, MANY, 10);
    let (full, ended, outsider) = (open(owner, 0), open(caller, 10), open(owner, 10));
    for members in [&far, &near, &vec![full.clone(), ended.clone()]] {
        join_all(caller, &room, members).await;
    }
    // The socket has ended and its task has not yet come to `remove`.
    ended.close(&close_request());
    let spared = [far[0].id(), near[MANY - 1].id()];
    let strangers = [outsider.id(), owner.allocate()];
    for (except, recipients) in [
        (vec![], 2 * MANY),
        (spared.to_vec(), 2 * MANY - 2),
        ([spared, spared, strangers].concat(), 2 * MANY - 2),
        ([ids(&far), ids(&near)].concat(), 0),
    ] {
        let sent = message();
        let report = caller.send(&home(), to(&room), sent.clone(), except.clone()).await;
        let expected = SendReport {
            recipients: recipients as u64,
            nodes: if recipients == 0 { 0 } else { nodes(owner, caller) },
            gone: vec![],
        };
        assert_eq!(report, Ok(expected), "the report of a send to a group");
        for member in far.iter().chain(&near) {
            let due = usize::from(!except.contains(&member.id()));
            assert_eq!(member.take(), vec![sent.clone(); due], "what one member got");
        }
    }
    for other in [full, ended, outsider] {
        assert_eq!(other.take(), [], "a message reached whom it could not or should not");
    }
}

/// Guarantee 8, for users.
pub async fn a_user_is_every_connection_of_one_principal(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let of = |store: &TestedStore, user| open_as(store, user, home(), 10);
    let alice = [of(owner, Some("alice")), of(owner, Some("alice")), of(caller, Some("alice"))];
    let others = [
        of(owner, Some("bob")),
        of(owner, Some("Alice")),
        of(owner, Some("")),
        of(caller, None),
        open_as(owner, Some("alice"), elsewhere(), 10),
    ];
    let (room, user) = (group("alice"), Audience::User("alice".into()));
    join_all(caller, &room, &others[..1]).await;
    settle(owner, caller).await;
    let report = caller.send(&home(), user.clone(), message(), vec![alice[0].id()]).await;
    let expected = SendReport { recipients: 2, nodes: nodes(owner, caller), gone: vec![] };
    assert_eq!(report, Ok(expected), "the report of a send to a user");
    assert_eq!(alice.each_ref().map(|own| own.take().len()), [0, 1, 1], "what a user got");
    assert_eq!(others.each_ref().map(|own| own.take().len()), [0; 5], "what others got");

    drop(owner.remove(alice[1].id()));
    assert_ok(caller.close(&home(), alice[2].id(), close_request()).await, "a close");
    let report = caller.send(&home(), user.clone(), message(), vec![]).await;
    let expected = SendReport { recipients: 1, nodes: 1, gone: vec![] };
    assert_eq!(report, Ok(expected), "a user whose other connections have ended");
    drop(owner.remove(alice[0].id()));
    let report = caller.send(&home(), user, message(), vec![]).await;
    assert_eq!(report, Ok(SendReport::default()), "a user without connections");
}

/// Guarantees 4 and 8, for stages.
pub async fn a_broadcast_reaches_its_stage_and_no_other(owner: &TestedStore, caller: &TestedStore) {
    let report = caller.send(&home(), Audience::Stage, message(), vec![]).await;
    assert_eq!(report, Ok(SendReport::default()), "a broadcast to a stage without connections");
    let everybody = [open_many(owner, MANY, 10), open_many(caller, 3, 10)].concat();
    let other = open_as(owner, None, elsewhere(), 10);
    settle(owner, caller).await;
    let spared = everybody[7].id();
    let sent = message();
    let report = caller.send(&home(), Audience::Stage, sent.clone(), vec![spared]).await;
    let recipients = everybody.len() as u64 - 1;
    let expected = SendReport { recipients, nodes: nodes(owner, caller), gone: vec![] };
    assert_eq!(report, Ok(expected), "the report of a broadcast");
    for connection in &everybody {
        let due = usize::from(connection.id() != spared);
        assert_eq!(connection.take(), vec![sent.clone(); due], "what a broadcast brought");
    }
    assert_eq!(other.take(), [], "a broadcast crossed stages");
}

/// Guarantee 8, for lists.
pub async fn each_of_a_list_is_delivered_or_gone(owner: &TestedStore, caller: &TestedStore) {
    let open_ones = [open_many(owner, MANY, 10), open_many(caller, MANY, 10)].concat();
    let (full, ended, unlisted) = (open(owner, 0), open(owner, 10), open(owner, 10));
    let (removed, closed) = (open(owner, 10), open(owner, 10));
    let foreign = open_as(owner, None, elsewhere(), 10);
    ended.close(&close_request());
    drop(owner.remove(removed.id()));
    assert_ok(caller.close(&home(), closed.id(), close_request()).await, "a close");
    let mut gone = vec![ended.id(), removed.id(), closed.id(), foreign.id(), owner.allocate()];
    let named = [ids(&open_ones), vec![full.id()], gone.clone(), ids(&open_ones[..2])].concat();
    let spared = open_ones[9].id();
    let sent = message();
    let report = caller.send(&home(), list(named), sent.clone(), vec![spared]).await;
    let mut report = report.unwrap_or_else(|error| panic!("a send to a list: {error:?}"));
    report.gone.sort_unstable();
    gone.sort_unstable();
    let recipients = open_ones.len() as u64 - 1;
    let expected = SendReport { recipients, nodes: nodes(owner, caller), gone };
    assert_eq!(report, expected, "the report of a send to a list");
    for connection in &open_ones {
        let due = usize::from(connection.id() != spared);
        assert_eq!(connection.take(), vec![sent.clone(); due], "what one of a list got");
    }
    for other in [full, ended, unlisted, removed, foreign] {
        assert_eq!(other.take(), [], "a message reached whom it could not or should not");
    }
    let report = caller.send(&home(), list(vec![]), message(), vec![]).await;
    assert_eq!(report, Ok(SendReport::default()), "a send to an empty list");
}

/// Guarantee 8: the work of encoding does not grow with the audience.
pub async fn an_audience_is_not_encoded_for_each_receiver(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let (room, empty) = (group("room"), group("empty"));
    let members = [open_many(owner, 5, 10), open_many(caller, 5, 10)].concat();
    join_all(caller, &room, &members).await;
    let nodes = nodes(owner, caller) as usize;
    for (audience, except, expected, what) in [
        (to(&room), vec![], nodes, "a group"),
        (Audience::Stage, vec![], nodes, "a stage"),
        (list(ids(&members)), vec![], nodes, "a list"),
        (to(&empty), vec![], 0, "nobody"),
        (Audience::User("nobody".into()), vec![], 0, "nobody"),
        (to(&room), ids(&members), 0, "a group of which everybody is excepted"),
        (list(vec![owner.allocate()]), vec![], 0, "who is gone"),
    ] {
        let sent = message();
        let _ = caller.send(&home(), audience, sent.clone(), except).await;
        assert_eq!(encodings_of(&sent), expected, "encodings of a message to {what}");
    }
}

/// Guarantee 9: several senders, whose sends are under way at once and pause.
pub async fn sends_keep_their_senders_order(owner: &TestedStore, caller: &TestedStore) {
    const SENDERS: usize = 4;
    const EACH: usize = 8;
    let room = group("room");
    let mut members = Vec::new();
    for store in [owner, caller] {
        members.extend((0..MANY).map(|_| open_as(store, Some("alice"), home(), 100)));
    }
    join_all(caller, &room, &members).await;
    settle(owner, caller).await;
    let senders = (0..SENDERS).map(|name| {
        let (room, members) = (&room, &members);
        async move {
            let store = if name % 2 == 0 { caller } else { owner };
            for number in 0..EACH {
                let audience = match (name + number) % 4 {
                    0 => to(room),
                    1 => Audience::User("alice".into()),
                    2 => Audience::Stage,
                    _ => list(ids(members)),
                };
                let sent = text(format!("{name} {number}"));
                let report = store.send(&home(), audience, sent, vec![]).await;
                let recipients = report.map(|report| report.recipients);
                assert_eq!(recipients, Ok(members.len() as u64), "recipients of an ordered send");
                for _ in 0..(name + number) % 3 {
                    yield_now().await;
                }
            }
        }
    });
    all(senders.collect()).await;
    for member in &members {
        let arrived = member.take();
        assert_eq!(arrived.len(), SENDERS * EACH, "each message arrives once");
        for name in 0..SENDERS {
            let prefix = format!("{name} ");
            let of_one = arrived.iter().filter(|m| m.payload.starts_with(prefix.as_bytes()));
            for (number, arrived) in of_one.enumerate() {
                let expected = text(format!("{name} {number}"));
                assert_eq!(*arrived, expected, "the order of one sender's messages to a group");
            }
        }
    }
}

/// Guarantee 8, while the group changes under the send.
pub async fn who_stays_gets_a_message_once_while_others_come_and_go(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let room = group("room");
    let stayers = [open_many(owner, MANY, 100), open_many(caller, MANY, 100)].concat();
    let restless = [open_many(owner, 20, 100), open_many(caller, 20, 100)].concat();
    let (room, stayers, restless) = (&room, &stayers, &restless);
    let (dancers, wallflowers): (Vec<_>, Vec<_>) =
        restless.iter().cloned().enumerate().partition(|(number, _)| number % 2 == 0);
    for (_, dancer) in &dancers {
        assert_ok(caller.join(&home(), room, dancer.id()).await, "a join");
    }
    join_all(caller, room, stayers).await;
    let sent: Vec<Message> = (0..6).map(|_| message()).collect();
    let mut recipients = 0;
    let send = async {
        for message in &sent {
            let report = caller.send(&home(), to(room), message.clone(), vec![]).await;
            recipients += report.map_or(0, |report| report.recipients);
        }
    };
    let churn = async {
        // The first leave the foremost places to others, and come back behind those who stay.
        for (_, dancer) in &dancers {
            let _ = owner.leave(&home(), room, dancer.id()).await;
        }
        for (_, joining) in wallflowers.iter().chain(&dancers) {
            let _ = owner.join(&home(), room, joining.id()).await;
        }
        for round in 0..12 {
            for (number, connection) in restless.iter().enumerate().skip(round % 3).step_by(3) {
                let id = connection.id();
                match (number + round) % 4 {
                    0 | 2 => _ = caller.join(&home(), room, id).await,
                    1 => {
                        let _ = owner.leave(&home(), room, id).await;
                        let _ = owner.join(&home(), room, id).await;
                    }
                    _ if round == 11 => {
                        drop(owner.remove(id));
                        drop(caller.remove(id));
                    }
                    _ => _ = owner.leave(&home(), room, id).await,
                }
                yield_now().await;
            }
        }
    };
    let calls: [std::pin::Pin<Box<dyn Future<Output = ()> + '_>>; 2] =
        [Box::pin(send), Box::pin(churn)];
    all(calls.into()).await;
    for stayer in stayers {
        assert_eq!(stayer.take(), sent, "a member that stays gets each message once, in order");
    }
    let mut deliveries = (stayers.len() * sent.len()) as u64;
    for connection in restless {
        let arrived = connection.take();
        deliveries += arrived.len() as u64;
        for message in &sent {
            let times = arrived.iter().filter(|arrived| *arrived == message).count();
            assert!(times <= 1, "a member that left and joined got a message {times} times");
        }
    }
    assert_eq!(recipients, deliveries, "the reports count what was delivered");
}

/// Guarantees 2 and 7, by [`close_audience`](crate::ConnectionStore::close_audience).
pub async fn a_close_of_an_audience_closes_each_of_it_once(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let (room, other) = (group("room"), group("other"));
    let bystanders =
        [open_as(owner, Some("bob"), elsewhere(), 10), open_as(caller, None, elsewhere(), 10)];
    for bystander in &bystanders {
        assert_ok(caller.join(&elsewhere(), &room, bystander.id()).await, "a join elsewhere");
    }
    for (count, what) in [(5, "group"), (MANY, "group"), (4, "user"), (4, "list"), (MANY, "stage")]
    {
        let user = Some("bob");
        let mut closed: Vec<_> = (0..count).map(|_| open_as(owner, user, home(), 10)).collect();
        closed.push(open_as(caller, user, home(), 10));
        join_all(caller, &room, &closed).await;
        join_all(caller, &other, &closed).await;
        settle(owner, caller).await;
        let (spared, audience) = match what {
            "group" => (open(owner, 10), to(&room)),
            "user" => (open(owner, 10), Audience::User("bob".into())),
            "list" => (open_as(owner, user, home(), 10), list(ids(&closed))),
            _ => (open_as(owner, user, elsewhere(), 10), Audience::Stage),
        };
        let request = CloseRequest { code: 4001, reason: "room closed – ä".to_owned() };
        let first = caller.close_audience(&home(), audience.clone(), request.clone()).await;
        assert_eq!(first, Ok(closed.len() as u64), "connections of a {what} that were closed");
        for connection in &closed {
            let told = connection.closes();
            assert_eq!(told, vec![request.clone()], "what one of a {what} is told");
        }
        assert_gone(owner, caller, closed[0].id(), "after the close of its audience").await;
        for group in [&room, &other] {
            assert_eq!(caller.count(&home(), group).await, Ok(0), "members after a close");
        }
        let again = caller.close_audience(&home(), audience, request).await;
        assert_eq!(again, Ok(0), "connections of a {what} that were closed again");
        assert_eq!(spared.closes(), [], "the close of a {what} reached another connection");
        drop(owner.remove(spared.id()));
    }
    for bystander in bystanders {
        assert_eq!(bystander.closes(), [], "a close crossed stages");
    }
}

fn list(ids: Vec<ConnectionId>) -> Audience {
    Audience::Connections(ConnectionList::new(ids).expect("fewer than 10,000"))
}
