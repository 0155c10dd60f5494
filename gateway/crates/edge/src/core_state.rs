//! What one core has for itself: pools, timers, derived keys.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tidegate_flow::{
    sigv4::SigningKeys,
    timing_wheel::{Key, TimingWheel},
};
use tidegate_integrations::{BackendPools, BackendTls, PoolLimits};
use tokio::time::{MissedTickBehavior, interval};

use crate::{node::Node, websocket::Connection};

/// The wheel's tick: how late an idle connection may be closed.
const TICK: Duration = Duration::from_millis(100);

/// Slots of the wheel; what is further away than one rotation is met and passed over.
const SLOTS: u16 = 8192;

/// One core: a thread, its single-threaded runtime and what runs there. The mutexes are for
/// `Send`; only this core's thread takes them, so they never wait.
pub(crate) struct Core {
    pub(crate) node: Arc<Node>,
    pub(crate) pools: BackendPools,
    pub(crate) signing_keys: Mutex<SigningKeys>,
    wheel: Mutex<TimingWheel<Arc<Connection>>>,
    started: Instant,
}

impl Core {
    /// `tls` is what backends are reached with, shared by all cores.
    pub(crate) fn new(node: Arc<Node>, tls: BackendTls) -> Self {
        Self {
            node,
            pools: BackendPools::new(PoolLimits::default(), tls),
            signing_keys: Mutex::new(SigningKeys::new()),
            wheel: Mutex::new(TimingWheel::new(SLOTS, 0)),
            started: Instant::now(),
        }
    }

    /// Has the connection's task polled after `delay`, or a little later, but never before.
    pub(crate) fn wake_after(&self, delay: Duration, connection: Arc<Connection>) -> Key {
        let at = self.started.elapsed() + delay;
        let tick = at.as_millis().div_ceil(TICK.as_millis());
        self.wheel.lock().insert(u64::try_from(tick).unwrap_or(u64::MAX), connection)
    }

    /// Forgets a timer.
    pub(crate) fn forget(&self, key: Key) {
        self.wheel.lock().remove(key);
    }

    /// Turns the wheel for as long as the runtime lives.
    pub(crate) async fn turn_wheel(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut due = Vec::new();
        loop {
            ticks.tick().await;
            let now = self.started.elapsed().as_millis() / TICK.as_millis();
            let now = u64::try_from(now).unwrap_or(u64::MAX);
            self.wheel.lock().advance(now, |connection| due.push(connection));
            for connection in due.drain(..) {
                connection.outbox().ring();
            }
        }
    }
}
