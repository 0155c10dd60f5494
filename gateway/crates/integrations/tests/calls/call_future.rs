//! A call as a future: what a task that waits for one carries.
//!
//! In:  a call that is not polled.
//! Out: its size, and that it may move between threads.
//!
//! Holds always: what a call needs while it is under way is on the heap.

use tidegate_flow::context::Event;
use tidegate_integrations::{BackendPools, CompiledIntegration, PoolLimits};

use crate::{connection, event, message, pools, post};

/// A task carries this future also while it does not call. Recorded: 152 bytes here, and 1.3 KB on
/// the heap while a call is under way.
#[tokio::test]
async fn a_waiting_call_is_small() {
    let (pools, integration) = (pools(PoolLimits::default()), post("http://backend/"));
    let occurrence = message("x");
    let connection = connection();
    let event = event(&connection, &occurrence);
    let future = integration.call(&pools, &event);
    let size = size_of_val(&future);
    assert!(size <= 192, "a call's future is {size} bytes");
}

/// A call's future can be spawned.
#[test]
fn a_call_is_send() {
    fn is_send<T: Send>(_: T) {}
    fn check(integration: &CompiledIntegration, pools: &BackendPools, event: &Event<'_>) {
        is_send(integration.call(pools, event));
    }
    let _ = check;
}
