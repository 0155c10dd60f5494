//! The backend of all nodes: it knows every connection from its `$connect` to its `$disconnect`.
//!
//! In:  proxy events of every node. A client's query says what becomes of its `$connect`: `refuse`
//!      refuses it, `join` names its groups, `user` is who it is, where an authorizer asks.
//! Out: which connections were opened and ended, how often, with what facts; how many calls were
//!      under way at once.
//!
//! Holds always: a call counts from its arrival on, whether or not its caller lives to be answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_testkit::{DEADLINE, FunctionAnswer, FunctionBackend, GatewayToml, wait_until};

/// The backend, and what it knows.
pub(crate) struct Backend {
    function: FunctionBackend,
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    ledger: Mutex<Ledger>,
    connects_take_ms: AtomicU64,
    disconnects_take_ms: AtomicU64,
}

#[derive(Default)]
struct Ledger {
    connects: BTreeMap<String, Value>,
    disconnects: BTreeMap<String, Vec<(Instant, Value)>>,
    connecting: UnderWay,
    disconnecting: UnderWay,
}

#[derive(Default, Clone, Copy)]
struct UnderWay {
    now: usize,
    most: usize,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let known = Arc::<Known>::default();
        let of_handler = Arc::clone(&known);
        let function = FunctionBackend::start_async(move |event| {
            let known = Arc::clone(&of_handler);
            async move { known.answer(event).await }
        })
        .await;
        Self { function, known }
    }

    /// A file whose `$connect` and `$disconnect` go here, with an `echo` route.
    pub(crate) fn toml(&self) -> GatewayToml {
        GatewayToml::new()
            .function("backend", &self.function.url())
            .echo("echo")
            .route("$connect", "backend")
            .route("$disconnect", "backend")
            .two_way("$default", "echo")
    }

    /// The same, with an authorizer that says who a client is.
    pub(crate) fn guard(toml: GatewayToml) -> GatewayToml {
        toml.set("apis.test.authorizers.guard", "type", r#""request""#)
            .set("apis.test.authorizers.guard", "integration", r#""backend""#)
            .route_key("$connect", "authorizer", r#""guard""#)
    }

    /// How long each `$connect` takes from now on.
    pub(crate) fn connects_take(&self, time: Duration) {
        store(&self.known.connects_take_ms, time);
    }

    /// How long each `$disconnect` takes from now on.
    pub(crate) fn disconnects_take(&self, time: Duration) {
        store(&self.known.disconnects_take_ms, time);
    }

    /// The `$connect` event of a connection.
    pub(crate) fn connect_of(&self, id: &str) -> Value {
        self.known.ledger().connects.get(id).cloned().expect("its $connect was run")
    }

    /// How many `$connect`s were run.
    pub(crate) fn connects(&self) -> usize {
        self.known.ledger().connects.len()
    }

    /// How often the `$disconnect` of a connection was run.
    pub(crate) fn disconnects_of(&self, id: &str) -> usize {
        self.known.ledger().disconnects.get(id).map_or(0, Vec::len)
    }

    /// The `$disconnect` events of a connection.
    pub(crate) fn disconnect_events_of(&self, id: &str) -> Vec<Value> {
        let ledger = self.known.ledger();
        let events = ledger.disconnects.get(id).into_iter().flatten();
        events.map(|(_, event)| event.clone()).collect()
    }

    /// How often each connection's `$disconnect` was run, of those for which it was at all.
    pub(crate) fn disconnects(&self) -> BTreeMap<String, usize> {
        let ledger = self.known.ledger();
        ledger.disconnects.iter().map(|(id, events)| (id.clone(), events.len())).collect()
    }

    /// When the first `$disconnect` of a connection was begun.
    pub(crate) fn first_disconnect_at(&self, id: &str) -> Instant {
        self.known.ledger().disconnects[id][0].0
    }

    /// When the last `$disconnect` was begun.
    pub(crate) fn last_disconnect_at(&self) -> Option<Instant> {
        let ledger = self.known.ledger();
        ledger.disconnects.values().flatten().map(|(at, _)| *at).max()
    }

    /// Waits until the `$disconnect` of each of these was run; fails where one is run twice.
    pub(crate) async fn each_is_disconnected_once<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
        what: &str,
    ) {
        let ids: Vec<&str> = ids.into_iter().collect();
        wait_until(DEADLINE, what, async || ids.iter().all(|id| self.disconnects_of(id) > 0)).await;
        self.nobody_is_disconnected_twice(what);
    }

    pub(crate) fn nobody_is_disconnected_twice(&self, what: &str) {
        let twice: Vec<_> =
            self.disconnects().into_iter().filter(|(_, times)| *times > 1).collect();
        assert!(twice.is_empty(), "{what}: run more than once: {twice:?}");
    }

    /// The most `$connect` calls, and the most `$disconnect` calls, that were under way at once.
    pub(crate) fn most_at_once(&self) -> (usize, usize) {
        let ledger = self.known.ledger();
        (ledger.connecting.most, ledger.disconnecting.most)
    }

    /// `$disconnect` calls under way.
    pub(crate) fn disconnecting(&self) -> usize {
        self.known.ledger().disconnecting.now
    }
}

fn store(milliseconds: &AtomicU64, time: Duration) {
    let time = u64::try_from(time.as_millis()).expect("not as long as that");
    milliseconds.store(time, Ordering::Relaxed);
}

impl Known {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self: Arc<Self>, event: Value) -> FunctionAnswer {
        let query = event["queryStringParameters"].clone();
        if event["type"] == "REQUEST" {
            return json!({
                "principalId": query["user"],
                "policyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        { "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "*" }
                    ]
                },
                "context": { "team": "blue", "level": 7 }
            })
            .into();
        }
        let id = event["requestContext"]["connectionId"].as_str().expect("an id").to_owned();
        let is_connect = event["requestContext"]["eventType"] == "CONNECT";
        let (takes, of) = if is_connect {
            (&self.connects_take_ms, (|ledger| &mut ledger.connecting) as Of)
        } else {
            (&self.disconnects_take_ms, (|ledger| &mut ledger.disconnecting) as Of)
        };
        let _under_way = {
            let mut ledger = self.ledger();
            if is_connect {
                ledger.connects.insert(id.clone(), event);
            } else {
                ledger.disconnects.entry(id.clone()).or_default().push((Instant::now(), event));
            }
            let under_way = of(&mut ledger);
            under_way.now += 1;
            under_way.most = under_way.most.max(under_way.now);
            Guard { known: Arc::clone(&self), of }
        };
        let takes = Duration::from_millis(takes.load(Ordering::Relaxed));
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        if query["refuse"].is_string() {
            return json!({ "statusCode": 403 }).into();
        }
        let mut headers = json!({ "Tidegate-Reply": id });
        if let Some(groups) = query["join"].as_str() {
            headers["Tidegate-Join"] = groups.into();
        }
        json!({ "statusCode": 200, "headers": headers }).into()
    }
}

type Of = fn(&mut Ledger) -> &mut UnderWay;

/// A call, until it is answered or its caller is gone.
struct Guard {
    known: Arc<Known>,
    of: Of,
}

impl Drop for Guard {
    fn drop(&mut self) {
        (self.of)(&mut self.known.ledger()).now -= 1;
    }
}
