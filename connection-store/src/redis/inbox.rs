//! What other nodes want of this one, and what they answered to it.
//!
//! In:  bus messages: bytes that anybody may have published.
//! Out: calls about connections of this node, and their answers into the outbox; answers of others
//! to whoever waits for them.
//!
//! Holds always: nothing is done while this node's lease is over, for another may already have said
//! that its connections are gone. One sender's questions are begun in the order in which they come.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{
    core::{Core, send_to_own},
    wire::{self, Answer, Body, Question},
};
use crate::{
    ConnectionStore as _, Cursor, DeliveryError, LocalConnection, NodeId, Page, Reply, SendReport,
    Unavailable,
};

/// Questions under way that take time: sends to many, joins that the directory has to learn of.
pub(super) const UNDER_WAY: usize = 1024;

/// Does what a bus message says.
pub(super) async fn read<C: LocalConnection>(
    core: &Arc<Core<C>>,
    message: Vec<u8>,
    under_way: &Arc<Semaphore>,
) {
    let counters = &core.bus.counters;
    let items = match wire::items(&message.into()) {
        Ok(items) => items,
        Err(why) => return counters.dropped(why),
    };
    let sender = items.sender;
    for item in items {
        match item {
            Ok((number, Body::Question(question))) => {
                answer(core, under_way, sender, number, question).await;
            }
            Ok((number, Body::Answer(answer))) => {
                let was_asked = core.bus.outbox.arrived(number, answer);
                let counter = if was_asked { &counters.receipts } else { &counters.dropped_late };
                counter.add(1);
            }
            Err(why) => counters.dropped(why),
        }
    }
}

async fn answer<C: LocalConnection>(
    core: &Arc<Core<C>>,
    under_way: &Arc<Semaphore>,
    sender: NodeId,
    number: u64,
    question: Question,
) {
    if question == Question::Probe {
        if sender == core.inner.node() {
            core.bus.probed.send_replace(number);
        }
        return;
    }
    core.bus.counters.received.add(1);
    let reply = if core.may_answer() {
        carry_out(core, question)
    } else {
        Reply::ready(Answer::Failed(DeliveryError::Unavailable))
    };
    match reply {
        Reply::Ready(answer) => {
            let answer = answer.unwrap_or(Answer::Failed(DeliveryError::Unavailable));
            core.bus.outbox.answer(sender, number, answer).await;
        }
        Reply::Later(later) => {
            let Ok(permit) = Arc::clone(under_way).acquire_owned().await else { return };
            let bus = Arc::clone(&core.bus);
            tokio::spawn(async move {
                let answer = later.await;
                bus.outbox.answer(sender, number, answer).await;
                drop(permit);
            });
        }
    }
}

/// Makes a call that another node was asked for.
fn carry_out<C: LocalConnection>(core: &Arc<Core<C>>, question: Question) -> Reply<Answer> {
    let store = &core.inner;
    match question {
        Question::Post { scope, id, message, call: None } => {
            store.post(&scope, id, message).map(|posted| done(posted.map(drop)))
        }
        Question::Post { scope, id, message, call: Some(call) } => {
            let posted = store.post_once(&scope, id, message, &call);
            posted.map(|posted| done(posted.map(drop)))
        }
        Question::Describe { scope, id } => store
            .describe(&scope, id)
            .map(|described| described.map_or_else(Answer::Failed, Answer::Description)),
        Question::Close { scope, id, request } => store.close(&scope, id, request).map(done),
        Question::Join { scope, id, group } => {
            let joined = store.join(&scope, &group, id);
            let bus = Arc::clone(&core.bus);
            match joined {
                // Only now does it count: sends from every node have to find the member.
                Reply::Ready(Some(Ok(()))) => bus
                    .directory
                    .published()
                    .map(|published| done(published.map_err(DeliveryError::from))),
                joined => joined.map(done),
            }
        }
        Question::Leave { scope, id, group } => store.leave(&scope, &group, id).map(done),
        Question::Send { scope, audience, message, except, call } => {
            let sent = send_to_own(store, &scope, audience, message, except, call.as_ref());
            sent.map(|report| match report {
                Ok(SendReport { recipients, gone, .. }) => Answer::Report { recipients, gone },
                Err(Unavailable) => Answer::Failed(DeliveryError::Unavailable),
            })
        }
        Question::CloseAudience { scope, audience, request } => {
            store.close_audience(&scope, audience, request).map(counted)
        }
        Question::Count { scope, group } => store.count(&scope, &group).map(counted),
        Question::Page { scope, group, limit, place } => {
            let cursor = Some(Cursor::new(store.node(), place));
            let page = match group {
                Some(group) => store.members(&scope, &group, limit, cursor),
                None => store.list(&scope, limit, cursor),
            };
            page.map(|page| match page {
                Ok(Page { connections, next }) => {
                    Answer::Page { connections, next: next.map(Cursor::place) }
                }
                Err(Unavailable) => Answer::Failed(DeliveryError::Unavailable),
            })
        }
        // It is answered by being heard.
        Question::Probe => Reply::ready(Answer::Done),
    }
}

fn done(answer: Result<(), DeliveryError>) -> Answer {
    answer.map_or_else(Answer::Failed, |()| Answer::Done)
}

fn counted(answer: Result<u64, Unavailable>) -> Answer {
    answer.map_or(Answer::Failed(DeliveryError::Unavailable), Answer::Number)
}
