//! All guarantees together: any sequence of calls, against a model of a few lines.
//!
//! In:  a script, which is numbers, so that a property test can shrink it.
//! Out: nothing, or a panic that names the step and what the store answered otherwise.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    RecordingConnection, TestedStore, assert_ok, close_request, elsewhere, group, home,
    pages::whole, text,
};
use crate::{
    Audience, ConnectionId, ConnectionList, DeliveryError, LocalConnection, Message, Scope,
    SendReport,
};

const USERS: [Option<&str>; 3] = [None, Some("alice"), Some("bob")];
const GROUPS: [&str; 3] = ["a", "b", "alice"];

/// What a connection ought to be.
struct Expected {
    connection: Arc<RecordingConnection>,
    at_owner: bool,
    scope: Scope,
    principal: Option<&'static str>,
    groups: BTreeSet<&'static str>,
    queue: Vec<Message>,
    open: bool,
}

/// `length` numbers that look random and are the same for the same seed.
pub fn script(seed: u32, length: usize) -> Vec<u32> {
    // SplitMix64.
    let mut state = u64::from(seed);
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 33) as u32
    };
    (0..length).map(|_| draw()).collect()
}

/// Makes the calls that a script stands for, one after the other, and compares every answer, and in
/// the end what each connection got, with a model.
pub async fn a_history_agrees_with_a_model(
    owner: &TestedStore,
    caller: &TestedStore,
    script: &[u32],
) {
    let mut model: Vec<Expected> = Vec::new();
    for (step, &word) in script.iter().enumerate() {
        // Each choice takes a digit of its own.
        let mut rest = word as usize;
        let mut choose = |among: usize| {
            let chosen = rest % among;
            rest /= among;
            chosen
        };
        let operation = choose(16);
        let store = [owner, caller][choose(2)];
        let scope = if choose(4) == 0 { elsewhere() } else { home() };
        let (name, user) = (GROUPS[choose(3)], USERS[choose(3)]);
        let room = group(name);
        let which = choose(model.len().max(1));
        match operation {
            0..=3 => {
                let at_owner = std::ptr::addr_eq(store, owner);
                let capacity = if choose(8) == 0 { 2 } else { usize::MAX };
                let connection =
                    RecordingConnection::of(user, store.allocate(), scope.clone(), capacity);
                store.insert(Arc::clone(&connection));
                assert_ok(store.published().await, "a wait for other nodes to know");
                model.push(Expected {
                    connection,
                    at_owner,
                    scope,
                    principal: user,
                    groups: BTreeSet::new(),
                    queue: Vec::new(),
                    open: true,
                });
            }
            _ if model.is_empty() => {}
            4 | 5 => {
                let one = &mut model[which];
                let holder = if one.at_owner { owner } else { caller };
                let closes = operation == 4;
                let ended = if closes {
                    store.close(&one.scope, one.connection.id(), close_request()).await.is_ok()
                } else {
                    holder.remove(one.connection.id()).is_some()
                };
                assert_eq!(ended, one.open, "step {step}: who is there can be ended, once");
                one.open = false;
                one.groups.clear();
            }
            6..=9 => {
                let one = &mut model[which];
                let there = one.open && one.scope == scope;
                let id = one.connection.id();
                let (answer, what) = if operation == 9 {
                    (store.leave(&scope, &room, id).await, "leave")
                } else {
                    (store.join(&scope, &room, id).await, "join")
                };
                let expected = if there { Ok(()) } else { Err(DeliveryError::Gone) };
                assert_eq!(answer, expected, "step {step}: a {what} of {name}");
                match what {
                    "join" if there => drop(one.groups.insert(name)),
                    "leave" if there => drop(one.groups.remove(name)),
                    _ => {}
                }
            }
            10..=13 => {
                let sent = text(format!("step {step}"));
                let except = vec![model[which].connection.id()];
                let except = if choose(2) == 0 { except } else { vec![] };
                let ids: Vec<_> = model.iter().step_by(2).map(|one| one.connection.id()).collect();
                let audience = audience_of(operation, name, user, &ids);
                let mut expected = SendReport::default();
                let mut nodes = BTreeSet::new();
                for one in &mut model {
                    let id = one.connection.id();
                    if except.contains(&id) {
                        continue;
                    }
                    if one.is_in(&scope, &audience) {
                        if one.queue.len() < one.connection.capacity {
                            one.queue.push(sent.clone());
                            expected.recipients += 1;
                            nodes.insert(id.node());
                        }
                    } else if operation == 13 && ids.contains(&id) {
                        expected.gone.push(id);
                    }
                }
                expected.nodes = nodes.len() as u32;
                expected.gone.sort_unstable();
                let report = store.send(&scope, audience.clone(), sent, except).await;
                let report = report.map(|mut report| {
                    report.gone.sort_unstable();
                    report
                });
                assert_eq!(report, Ok(expected), "step {step}: a send to {audience:?}");
            }
            14 if choose(4) == 0 => {
                let audience = audience_of(10 + choose(2), name, user, &[]);
                let mut expected = 0;
                for one in model.iter_mut().filter(|one| one.is_in(&scope, &audience)) {
                    one.open = false;
                    expected += 1;
                }
                model.iter_mut().filter(|one| !one.open).for_each(|one| one.groups.clear());
                let closed = store.close_audience(&scope, audience.clone(), close_request()).await;
                assert_eq!(closed, Ok(expected), "step {step}: a close of {audience:?}");
            }
            _ => {
                let members: BTreeSet<_> = model
                    .iter()
                    .filter(|one| one.is_in(&scope, &Audience::Group(room.clone())))
                    .map(|one| one.connection.id())
                    .collect();
                let count = store.count(&scope, &room).await;
                assert_eq!(count, Ok(members.len() as u64), "step {step}: members of {name}");
                if scope == home() {
                    let listed = whole(store, Some(&room), 3).await;
                    assert_eq!(listed.len(), members.len(), "step {step}: pages of {name}");
                    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), members);
                    let open = model.iter().filter(|one| one.is_in(&scope, &Audience::Stage));
                    let open: BTreeSet<_> = open.map(|one| one.connection.id()).collect();
                    let listed = whole(store, None, 4).await;
                    assert_eq!(listed.len(), open.len(), "step {step}: pages of the stage");
                    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), open);
                }
            }
        }
    }
    for one in model {
        assert_eq!(one.connection.take(), one.queue, "what {} got", one.connection.id());
    }
}

impl Expected {
    fn is_in(&self, scope: &Scope, audience: &Audience) -> bool {
        self.open
            && self.scope == *scope
            && match audience {
                Audience::Group(group) => self.groups.contains(group.as_str()),
                Audience::User(principal) => self.principal == Some(principal),
                Audience::Stage => true,
                Audience::Connections(list) => list.as_slice().contains(&self.connection.id()),
            }
    }
}

fn audience_of(operation: usize, name: &str, user: Option<&str>, ids: &[ConnectionId]) -> Audience {
    match operation {
        10 => Audience::Group(group(name)),
        11 => Audience::User(user.unwrap_or("nobody").into()),
        12 => Audience::Stage,
        _ => {
            let list = ConnectionList::new(ids.to_vec());
            Audience::Connections(list.expect("a script is not that long"))
        }
    }
}
