//! The `$disconnect` of connections: of this node's own, and of those whose node has died.
//!
//! In:  connections that have ended, and how.
//! Out: one run of `$disconnect` for each that is this node's to finish.
//!
//! Holds always: what another node may have taken over is not run here.

use std::sync::Arc;

use connection_store::{Orphan, Reply};
use tidegate_flow::{
    context::{ConnectionFacts, Occurrence},
    session::End,
    trace_context::TraceContext,
};
use tidegate_model::RouteKey;
use tidegate_telemetry::DisconnectCause;
use tokio::sync::SemaphorePermit;
use tracing::Instrument as _;

use super::{
    connection::Connection,
    ending::Ending,
    run::{Run, run_span},
    session_task::disconnect_cause,
};
use crate::{
    core_state::Core,
    snapshot::{Snapshot, StageEntry},
    traces,
};

/// Whether the end of a connection is to be told to anybody, or to a log.
pub(crate) fn has_disconnect(snapshot: &Snapshot, connection: &Connection) -> bool {
    let stage = snapshot.stage(connection.stage);
    stage.is_some_and(|stage| stage.disconnect.is_some() || stage.access_log.is_some())
}

/// Runs `$disconnect`; its answer is ignored (websocket-api, section 3.8).
pub(crate) async fn run_disconnect(core: Arc<Core>, connection: Arc<Connection>, end: End) {
    let _running = core.node.begin_run();
    let stage = core.node.snapshot().stage(connection.stage).cloned();
    if let Some(stage) = stage {
        // A node that was taken for dead leaves it to whoever took its place.
        let is_ours = || core.node.store().finishes(connection.id);
        if let Some(_place) = turn(&stage, is_ours).await {
            let known = (&connection.facts, connection.connect_span());
            disconnect(&core, known, &stage, end).await;
        }
    }
    connection.forget_facts();
}

/// Runs the `$disconnect` of a connection of this stage whose node has died, if that is this node's
/// to do when it can be done.
pub(crate) async fn run_orphans_disconnect(
    core: &Arc<Core>,
    facts: &ConnectionFacts,
    stage: &StageEntry,
    orphan: Orphan,
) {
    // Dropped last: a drain that waits for what is under way finds it done.
    let _running = core.node.begin_run();
    let Some(_place) = turn(stage, || Reply::ready(orphan.is_ours())).await else { return };
    stage.metrics.disconnect(DisconnectCause::NodeLost);
    let span = run_span(facts, RouteKey::DISCONNECT);
    disconnect(core, (facts, None), stage, End::node_lost()).instrument(span).await;
    orphan.done();
}

/// Whose turn has come: the place for its call, if that has to have one.
struct Turn<'s>(#[expect(dead_code, reason = "held for its drop")] Option<SemaphorePermit<'s>>);

/// Waits until the `$disconnect` can be run and it is known whether this node has to. The place may
/// take long to come, and the node may be another's by then: it is asked last. Nobody keeps a place
/// who does not know yet.
async fn turn(stage: &StageEntry, is_ours: impl Fn() -> Reply<bool>) -> Option<Turn<'_>> {
    let gate = stage.disconnect.as_ref().and_then(|route| route.gate.as_ref());
    loop {
        let place = match gate {
            Some(gate) => Some(gate.enter().await),
            None => None,
        };
        match is_ours() {
            Reply::Ready(Some(true)) => return Some(Turn(place)),
            Reply::Ready(_) => return None,
            later @ Reply::Later(_) => {
                drop(place);
                if !later.await {
                    return None;
                }
            }
        }
    }
}

/// `known` is the connection, and the span of its upgrade where that is recorded.
async fn disconnect(
    core: &Core,
    known: (&ConnectionFacts, Option<&TraceContext>),
    stage: &StageEntry,
    end: End,
) {
    let (facts, _) = known;
    let trace = traces::disconnect(&core.node, known, &end, disconnect_cause(end.cause));
    let occurrence = Occurrence::Disconnect { code: end.code, reason: end.reason };
    let mut run = Run::new(occurrence).traced(trace);
    let invoked = match &stage.disconnect {
        Some(route) => run.invoke_at_once(core, facts, stage, route).await,
        None => None,
    };
    let ending = Ending { invoked: invoked.as_ref(), ..Ending::default() };
    run.end(facts, stage, RouteKey::DISCONNECT, &ending);
}
