//! Guarantee 7: who is in a group, and for how long.

use std::sync::Arc;

use super::{
    RecordingConnection, TestedStore, all, assert_ok, close_request, elsewhere, group, home, ids,
    message, open, open_as, open_many, pages::whole, yield_now,
};
use crate::{Audience, ConnectionId, DeliveryError, GroupName, LocalConnection, Scope, SendReport};

/// Guarantee 7: membership is joining and leaving, nothing else.
pub async fn a_group_has_whoever_joined_and_has_not_left(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let (room, other) = (group("room:1"), group("room:2"));
    let far = open_many(owner, 3, 10);
    let near = open_many(caller, 2, 10);
    let everybody = [far.clone(), near.clone()].concat();
    assert_members(caller, &room, &[], "of a group that nobody joined").await;
    for member in &everybody {
        assert_ok(caller.join(&home(), &room, member.id()).await, "a join");
    }
    assert_ok(caller.join(&home(), &room, far[0].id()).await, "a second join");
    assert_ok(caller.join(&home(), &other, far[0].id()).await, "a join of another group");
    for store in [owner, caller] {
        assert_members(store, &room, &ids(&everybody), "after each joined").await;
        assert_members(store, &other, &[far[0].id()], "after one joined").await;
    }
    for leaving in [&far[0], &near[0]] {
        assert_ok(caller.leave(&home(), &room, leaving.id()).await, "a leave");
    }
    assert_ok(caller.leave(&home(), &room, far[0].id()).await, "a leave of no member");
    assert_ok(caller.leave(&home(), &group("none"), far[1].id()).await, "a leave of no group");
    let stayed = [far[1].id(), far[2].id(), near[1].id()];
    for store in [owner, caller] {
        assert_members(store, &room, &stayed, "after a leave").await;
        assert_members(store, &other, &[far[0].id()], "after a leave of the other group").await;
    }
    assert_ok(owner.join(&home(), &room, near[0].id()).await, "a join after a leave");
    let stayed = [far[1].id(), far[2].id(), near[0].id(), near[1].id()];
    assert_members(caller, &room, &stayed, "after a join that followed a leave").await;
}

/// Guarantee 7: memberships end with their connection, and groups with their members.
pub async fn a_group_ends_with_its_last_member(owner: &TestedStore, caller: &TestedStore) {
    let room = group("room");
    for round in ["its members left", "its members were removed", "its members were closed"] {
        let members = open_many(owner, 3, 10);
        for member in &members {
            assert_ok(caller.join(&home(), &room, member.id()).await, "a join");
        }
        assert_members(caller, &room, &ids(&members), "before the end").await;
        for member in &members {
            match round {
                "its members left" => {
                    assert_ok(caller.leave(&home(), &room, member.id()).await, "a leave");
                }
                "its members were removed" => drop(owner.remove(member.id())),
                _ => {
                    let closed = caller.close(&home(), member.id(), close_request()).await;
                    assert_ok(closed, "a close");
                }
            }
        }
        for store in [owner, caller] {
            assert_members(store, &room, &[], &format!("after {round}")).await;
            let sent = store.send(&home(), to(&room), message(), vec![]).await;
            assert_eq!(sent, Ok(SendReport::default()), "a send after {round}");
        }
        for member in members {
            assert_eq!(member.take(), [], "a message arrived after {round}");
        }
    }
}

/// Guarantees 4 and 7.
pub async fn a_group_is_its_own_stages(owner: &TestedStore, caller: &TestedStore) {
    let room = group("room");
    let (ours, theirs) = (open(owner, 10), open_as(owner, None, elsewhere(), 10));
    for (scope, id, what) in [
        (home(), theirs.id(), "another stage's connection"),
        (elsewhere(), ours.id(), "another stage's connection"),
        (home(), owner.allocate(), "a connection that never was"),
        (Scope::new("game", "prod"), ours.id(), "another api's connection"),
    ] {
        let joined = caller.join(&scope, &room, id).await;
        assert_eq!(joined, Err(DeliveryError::Gone), "a join of {what}");
        let left = caller.leave(&scope, &room, id).await;
        assert_eq!(left, Err(DeliveryError::Gone), "a leave of {what}");
    }
    assert_members(caller, &room, &[], "after joins that were refused").await;
    assert_ok(caller.join(&home(), &room, ours.id()).await, "a join");
    assert_ok(caller.join(&elsewhere(), &room, theirs.id()).await, "a join in another stage");
    assert_members(caller, &room, &[ours.id()], "beside another stage's of the same name").await;
    let report = caller.send(&home(), to(&room), message(), vec![]).await;
    assert_eq!(report.map(|report| report.recipients), Ok(1), "recipients in one stage");
    let nobody = caller.count(&Scope::new("game", "prod"), &room).await;
    assert_eq!(nobody, Ok(0), "members in a stage without connections");
    assert_eq!(ours.take().len(), 1, "messages to the only member in its stage");
    assert_eq!(theirs.take(), [], "a message crossed stages");
}

/// Guarantee 7, with joins under way when the connection ends.
pub async fn of_a_join_that_races_an_end_no_member_is_left(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let room = group("room");
    for round in 0..60 {
        let connection = open_as(owner, Some("alice"), home(), 10);
        let id = connection.id();
        let calls = (0..6).map(|number| {
            let room = &room;
            async move {
                for _ in 0..(number * 7 + round) % 5 {
                    yield_now().await;
                }
                match number {
                    0 if round % 2 == 0 => drop(owner.remove(id)),
                    0 => _ = caller.close(&home(), id, close_request()).await,
                    1 => _ = caller.leave(&home(), room, id).await,
                    2 => _ = owner.join(&home(), room, id).await,
                    _ => _ = caller.join(&home(), room, id).await,
                }
            }
        });
        all(calls.collect()).await;
        assert_members(caller, &room, &[], "after the only member's end").await;
        for audience in [to(&room), Audience::User("alice".into()), Audience::Stage] {
            let sent = caller.send(&home(), audience.clone(), message(), vec![]).await;
            assert_eq!(sent, Ok(SendReport::default()), "a send to the ghosts of {audience:?}");
        }
    }
}

/// Guarantee 7: who was answered that a connection has joined reaches it, through whichever node,
/// also while there is much else to be told of the owner's connections.
pub async fn a_join_counts_for_every_node_when_it_is_answered(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    for round in 0..16 {
        let (asked, busy) = (if round % 4 == 0 { owner } else { caller }, open(owner, 10));
        let mut joining = Vec::new();
        for number in 0..6 {
            // Other nodes are told of these as well.
            for other in 0..(round * 10 + 50) {
                let other = group(&format!("other:{round}:{number}:{other}"));
                drop(owner.join(&home(), &other, busy.id()));
            }
            let (room, member) = (group(&format!("room:{round}:{number}")), open(owner, 10));
            let joined = asked.join(&home(), &room, member.id());
            joining.push(async move {
                assert_ok(joined.await, "a join");
                for store in [caller, owner] {
                    let report = store.send(&home(), to(&room), message(), vec![]).await;
                    let recipients = report.map(|report| report.recipients);
                    assert_eq!(recipients, Ok(1), "recipients of a send after a join was answered");
                }
                assert_eq!(member.take().len(), 2, "messages to whoever had joined");
                drop(owner.remove(member.id()));
            });
        }
        all(joining).await;
        drop(owner.remove(busy.id()));
    }
}

/// Guarantee 7, as far as one node can show it: an integration's `Tidegate-Join` need not wait for
/// a directory before this node's own sends find the member.
pub async fn a_join_of_an_own_connection_counts_when_the_call_returns(owner: &TestedStore) {
    let (room, member) = (group("room"), open(owner, 10));
    drop(owner.join(&home(), &room, member.id()));
    let report = owner.send(&home(), to(&room), message(), vec![]).await;
    let recipients = report.map(|report| report.recipients);
    assert_eq!(recipients, Ok(1), "a join of an own connection waits to be awaited");
    drop(owner.leave(&home(), &room, member.id()));
    let report = owner.send(&home(), to(&room), message(), vec![]).await;
    let recipients = report.map(|report| report.recipients);
    assert_eq!(recipients, Ok(0), "a leave of an own connection waits to be awaited");
}

pub(super) fn to(group: &GroupName) -> Audience {
    Audience::Group(group.clone())
}

/// Has connections join a group, through `caller`.
pub(super) async fn join_all(
    caller: &TestedStore,
    group: &GroupName,
    members: &[Arc<RecordingConnection>],
) {
    for member in members {
        assert_ok(caller.join(&home(), group, member.id()).await, "a join");
    }
}

async fn assert_members(
    store: &TestedStore,
    group: &GroupName,
    expected: &[ConnectionId],
    when: &str,
) {
    let count = store.count(&home(), group).await;
    assert_eq!(count, Ok(expected.len() as u64), "the count of members {when}");
    let mut listed = whole(store, Some(group), 100).await;
    listed.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(listed, expected, "the members {when}");
}
