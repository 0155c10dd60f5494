//! What every store must pass: the guarantees of [`ConnectionStore`], each as a function.
//!
//! In:  stores of [`RecordingConnection`]s, made by the test that calls; nothing is open in them.
//! Out: nothing, or a panic whose text tells what did not hold.
//!
//! A check opens connections at an `owner` and makes calls about them at a `caller`; where groups
//! are concerned, some are the caller's own. Within one node both are the same store ([`run_all`]);
//! a store that has other nodes must hold between two as well ([`run_all_across`]).
//!
//! Holds always: replies are awaited on the task of whoever calls the suite, so it runs under any
//! runtime. Plain threads are started only to race `allocate` and `remove`, which answer at once
//! and have to work outside a runtime too.

mod audiences;
#[cfg(test)]
mod clustered;
mod connections;
mod delivery;
#[cfg(test)]
mod faults;
mod groups;
mod histories;
mod pages;
mod recording;
mod repetitions;

use std::{
    fmt::Debug,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

pub use self::{
    audiences::*,
    connections::*,
    delivery::*,
    groups::*,
    histories::*,
    pages::*,
    recording::{RecordingConnection, encodings_of},
    repetitions::*,
};
use crate::{
    CloseRequest, ConnectionId, ConnectionStore, DeliveryError, GroupName, LocalConnection,
    Message, MessageKind, Reply, Scope,
};

/// A store under test.
pub type TestedStore = dyn ConnectionStore<RecordingConnection>;

/// Runs every check within one node, with a fresh store for each.
///
/// # Panics
/// On the first guarantee that does not hold.
pub async fn run_all<S>(make: impl AsyncFn() -> S)
where
    S: ConnectionStore<RecordingConnection> + 'static,
{
    run_checks(async || {
        let store = Arc::new(make().await);
        (Arc::clone(&store), store)
    })
    .await;
}

/// Runs every check between two nodes of one cluster, with a fresh pair for each: connections are
/// opened at the first and reached from the second.
///
/// # Panics
/// On the first guarantee that does not hold.
pub async fn run_all_across<S>(make: impl AsyncFn() -> (S, S))
where
    S: ConnectionStore<RecordingConnection> + 'static,
{
    let make = async || {
        let (owner, caller) = make().await;
        (Arc::new(owner), Arc::new(caller))
    };
    run_checks(&make).await;
    let (owner, caller) = make().await;
    only_the_owner_holds_a_connection(&*owner, &*caller).await;
}

/// Runs checks, each with a fresh pair of stores.
macro_rules! check {
    ($make:ident: $($check:ident),+ $(,)?) => {
        $({
            let (owner, caller) = $make().await;
            $check(&*owner, &*caller).await;
        })+
    };
}

async fn run_checks<S>(make: impl AsyncFn() -> (Arc<S>, Arc<S>))
where
    S: ConnectionStore<RecordingConnection> + 'static,
{
    let (owner, _caller) = make().await;
    ids_are_unique_and_name_their_node(&*owner).await;
    let (owner, _caller) = make().await;
    of_racing_removes_exactly_one_gets_the_connection(&*owner).await;
    let (owner, _caller) = make().await;
    replies_about_own_connections_are_ready(&*owner).await;
    check!(make:
        a_connection_is_reachable_from_insert_until_remove,
        a_closed_connection_is_gone_for_every_call,
        of_racing_closes_exactly_one_succeeds,
        a_receipt_names_the_owner_whose_queue_took_the_message,
        full_and_closed_queues_are_told_apart,
        messages_arrive_in_the_order_of_their_answers,
        another_scope_learns_nothing,
        a_message_is_encoded_once_and_only_for_a_receiver,
        a_group_has_whoever_joined_and_has_not_left,
        a_group_ends_with_its_last_member,
        a_group_is_its_own_stages,
        of_a_join_that_races_an_end_no_member_is_left,
        a_join_counts_for_every_node_when_it_is_answered,
        a_send_reaches_each_member_once_and_counts_those_who_took_it,
        a_user_is_every_connection_of_one_principal,
        a_broadcast_reaches_its_stage_and_no_other,
        each_of_a_list_is_delivered_or_gone,
        an_audience_is_not_encoded_for_each_receiver,
        sends_keep_their_senders_order,
        who_stays_gets_a_message_once_while_others_come_and_go,
        a_close_of_an_audience_closes_each_of_it_once,
        a_post_that_comes_twice_is_made_once,
        a_send_that_comes_twice_is_made_once,
        a_call_that_failed_may_be_made_again,
        pages_show_everybody_once,
        pages_show_everybody_who_stays_once_while_others_come_and_go,
    );
    let (owner, _caller) = make().await;
    a_join_of_an_own_connection_counts_when_the_call_returns(&*owner).await;
    for seed in 0..6 {
        let (owner, caller) = make().await;
        a_history_agrees_with_a_model(&*owner, &*caller, &script(seed, 150)).await;
    }
}

/// Drives a future on this thread, for tests of stores that answer at once and need no runtime.
/// Spins while it is pending.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        thread::yield_now();
    }
}

/// The scope of every connection that [`open`] opens.
fn home() -> Scope {
    Scope::new("chat", "prod")
}

/// Another stage of the same api, where names mean others.
fn elsewhere() -> Scope {
    Scope::new("chat", "dev")
}

fn open(owner: &TestedStore, capacity: usize) -> Arc<RecordingConnection> {
    open_as(owner, None, home(), capacity)
}

fn open_as(
    owner: &TestedStore,
    principal: Option<&str>,
    scope: Scope,
    capacity: usize,
) -> Arc<RecordingConnection> {
    let connection = RecordingConnection::of(principal, owner.allocate(), scope, capacity);
    owner.insert(Arc::clone(&connection));
    connection
}

fn open_many(owner: &TestedStore, count: usize, capacity: usize) -> Vec<Arc<RecordingConnection>> {
    (0..count).map(|_| open(owner, capacity)).collect()
}

/// Waits until each of two nodes finds what was opened at the other.
async fn settle(owner: &TestedStore, caller: &TestedStore) {
    for store in [owner, caller] {
        assert_ok(store.published().await, "a wait for other nodes to know");
    }
}

fn ids(connections: &[Arc<RecordingConnection>]) -> Vec<ConnectionId> {
    connections.iter().map(|connection| connection.id()).collect()
}

fn group(name: &str) -> GroupName {
    name.parse().expect("the suite's names are good ones")
}

/// How many nodes there are: one if a store is tested by itself.
fn nodes(owner: &TestedStore, caller: &TestedStore) -> u32 {
    if owner.node() == caller.node() { 1 } else { 2 }
}

fn text(payload: String) -> Message {
    Message { kind: MessageKind::Text, payload: payload.into() }
}

/// A message like no other of this process.
fn message() -> Message {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    text(format!("message {} of the suite", SERIAL.fetch_add(1, Ordering::Relaxed)))
}

fn close_request() -> CloseRequest {
    CloseRequest { code: 1000, reason: "closed by the suite".to_owned() }
}

#[track_caller]
fn assert_ok<T, E: Debug>(answer: Result<T, E>, what: &str) {
    if let Err(error) = answer {
        panic!("{what} was answered {error:?}");
    }
}

#[track_caller]
fn assert_ready<T>(reply: &Reply<T>, what: &str) {
    let ready = matches!(reply, Reply::Ready(Some(_)));
    assert!(ready, "{what} on the connection's own node had to wait");
}

/// Every call, at the owner and at the caller, answers as if the connection had never been.
async fn assert_gone(owner: &TestedStore, caller: &TestedStore, id: ConnectionId, when: &str) {
    for store in [caller, owner] {
        let posted = store.post(&home(), id, message()).await;
        assert_eq!(posted, Err(DeliveryError::Gone), "a post to a connection {when}");
        let described = store.describe(&home(), id).await;
        assert_eq!(described, Err(DeliveryError::Gone), "a description of a connection {when}");
        let answer = store.close(&home(), id, close_request()).await;
        assert_eq!(answer, Err(DeliveryError::Gone), "a close of a connection {when}");
        let answer = store.join(&home(), &group("ghosts"), id).await;
        assert_eq!(answer, Err(DeliveryError::Gone), "a join of a connection {when}");
        let answer = store.leave(&home(), &group("ghosts"), id).await;
        assert_eq!(answer, Err(DeliveryError::Gone), "a leave of a connection {when}");
        assert!(store.remove(id).is_none(), "`remove` found a connection {when}");
        let listed = store.local().iter().any(|open| open.id() == id);
        assert!(!listed, "`local` lists a connection {when}");
    }
}

/// Runs futures together and gives what they gave, in their order.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Lets the other futures of [`all`] go on.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
