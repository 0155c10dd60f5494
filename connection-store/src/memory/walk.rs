//! How a call walks an audience without holding its core.
//!
//! In:  the members of a moment, or a list of ids.
//! Out: a visit of each, at most [`CHUNK`] between two pauses.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    vec,
};

use super::{
    hub::Hub,
    members::{CHUNK, Chunk},
};
use crate::{Audience, ConnectionId, LocalConnection, Reply, Scope};

/// Lets other tasks of the thread go on; made once for each pause.
///
/// A runtime's own way is to be preferred: the default, a future that wakes itself once, is polled
/// again by some runtimes before they look at their sockets.
pub type Pause = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Is ready when it is polled for the second time.
pub(super) fn wake_once() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let mut waited = false;
    Box::pin(poll_fn(move |context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }))
}

/// Who is still to be visited.
pub(super) enum Receivers<C> {
    /// Members of the moment of the call. One that leaves meanwhile is visited still, and one that
    /// joins is not; going by the slots as they are would visit twice whoever leaves and joins.
    Members(vec::IntoIter<Arc<Chunk<C>>>),
    Listed(Scope, vec::IntoIter<ConnectionId>),
}

impl<C: LocalConnection> Receivers<C> {
    pub(super) fn new(hub: &Hub<C>, scope: &Scope, audience: Audience) -> Self {
        let members = match audience {
            Audience::Connections(list) => {
                return Self::Listed(scope.clone(), list.into_vec().into_iter());
            }
            Audience::Group(group) => hub.stage(scope).map(|stage| stage.of_group(&group)),
            Audience::User(principal) => hub.stage(scope).map(|stage| stage.of_user(&principal)),
            Audience::Stage => hub.stage(scope).map(|stage| stage.everybody()),
        };
        Self::Members(members.unwrap_or_default().into_iter())
    }

    /// Visits the next [`CHUNK`] at most. `None` stands for a listed connection that is not there.
    /// Whether any are left.
    pub(super) fn walk(
        &mut self,
        hub: &Hub<C>,
        mut visit: impl FnMut(ConnectionId, Option<&Arc<C>>),
    ) -> bool {
        match self {
            Self::Members(chunks) => {
                for connection in chunks.next().iter().flat_map(|chunk| chunk.iter().flatten()) {
                    visit(connection.id(), Some(connection));
                }
                !chunks.as_slice().is_empty()
            }
            Self::Listed(scope, ids) => {
                for id in ids.take(CHUNK) {
                    visit(id, hub.find(scope, id).ok().as_ref());
                }
                !ids.as_slice().is_empty()
            }
        }
    }
}

/// Takes the first step now and, unless it was the only one, the others when the reply is polled.
pub(super) fn in_steps<T: Send + 'static>(
    pause: Pause,
    mut step: impl FnMut() -> Option<T> + Send + 'static,
) -> Reply<T> {
    if let Some(done) = step() {
        return Reply::ready(done);
    }
    Reply::Later(Box::pin(async move {
        loop {
            pause().await;
            if let Some(done) = step() {
                return done;
            }
        }
    }))
}
