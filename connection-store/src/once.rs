//! Calls that are made once, however often they come.
//!
//! In:  a call by its name and target, and how to make it.
//! Out: its answer, or that of the first of its name.
//!
//! Holds always: of calls under way at once with one name and target, one is made at a time; after
//! one that succeeded none is, for as long as the answer is remembered.

use std::{hash::Hash, time::Instant};

use crate::{Begun, CallName, Invocation, Invocations, Reply, Scope, Weighed};

/// Makes a call, or gives the answer of one that was made.
pub(crate) fn once<T, E, H>(
    calls: &Invocations<T>,
    scope: &Scope,
    target: H,
    name: &CallName,
    make: impl Fn() -> Reply<Result<T, E>> + Send + 'static,
) -> Reply<Result<T, E>>
where
    T: Clone + Weighed + Send + Sync + Unpin + 'static,
    E: Send + Unpin + 'static,
    H: Hash + Send + 'static,
{
    let mut duplicate = match calls.begin(Instant::now(), scope, &target, name.as_bytes()) {
        Begun::New(invocation) => return made(invocation, make()),
        Begun::Replayed(answer) => return Reply::ready(Ok(answer)),
        Begun::InFlight(duplicate) => duplicate,
    };
    let (calls, scope, name) = (calls.clone(), scope.clone(), name.clone());
    Reply::Later(Box::pin(async move {
        loop {
            if let Some(answer) = duplicate.await {
                return Ok(answer);
            }
            // Nobody has made it after all.
            duplicate = match calls.begin(Instant::now(), &scope, &target, name.as_bytes()) {
                Begun::New(invocation) => return made(invocation, make()).await,
                Begun::Replayed(answer) => return Ok(answer),
                Begun::InFlight(duplicate) => duplicate,
            };
        }
    }))
}

/// Remembers what a call gives, if it succeeds.
fn made<T, E>(invocation: Invocation<T>, reply: Reply<Result<T, E>>) -> Reply<Result<T, E>>
where
    T: Clone + Weighed + Send + Sync + Unpin + 'static,
    E: Send + Unpin + 'static,
{
    let remember = |invocation: Invocation<T>, made: &Result<T, E>| {
        if let Ok(answer) = made {
            invocation.answer(Instant::now(), answer.clone());
        }
    };
    match reply {
        Reply::Ready(made) => {
            if let Some(made) = &made {
                remember(invocation, made);
            }
            Reply::Ready(made)
        }
        Reply::Later(later) => Reply::Later(Box::pin(async move {
            let made = later.await;
            remember(invocation, &made);
            made
        })),
    }
}
