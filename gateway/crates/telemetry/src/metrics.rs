//! Every metric, its name and its labels (tidegate, section 8).
//!
//! Handles are resolved when a stage is loaded; what happens per message is an atomic increment.

use std::{collections::HashMap, sync::Arc, time::Duration};

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Opts, Registry, TextEncoder,
};

use crate::{BusFigures, FunctionWorkers, bus, function_workers, process};

macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }
        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The label's text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

label_values! {
    /// How an upgrade ended.
    ConnectOutcome {
        /// 101.
        Accepted = "accepted",
        /// The `$connect` integration said no.
        Refused = "refused",
        /// No usable answer of the `$connect` integration.
        IntegrationError = "integration_error",
        /// 400, 414, 426: not a WebSocket request that this gateway takes.
        BadRequest = "bad_request",
        /// 401: nothing, or nothing valid, says who it is.
        Unauthorized = "unauthorized",
        /// 403: a foreign origin, a policy, a signature, a token, an API key.
        Forbidden = "forbidden",
        /// 500: the authorizer gave no usable answer.
        AuthorizerError = "authorizer_error",
        /// 429: a limit or a throttle.
        Throttled = "throttled",
    }
}

label_values! {
    /// Why a connection ended.
    DisconnectCause {
        /// The client closed.
        Client = "client",
        /// The TCP connection ended without a close frame.
        Lost = "lost",
        /// No message for `idle_timeout_s`.
        Idle = "idle",
        /// Older than `max_connection_s`.
        MaxAge = "max_age",
        /// The management API closed it.
        Deleted = "deleted",
        /// A message or frame over the limit.
        TooLarge = "too_large",
        /// A binary message where the api takes none.
        Binary = "binary",
        /// A protocol violation or text that is not UTF-8.
        Protocol = "protocol",
        /// Its send queue was full.
        SlowClient = "slow_client",
        /// The node drains.
        Drain = "drain",
        /// A reload removed its stage.
        StageRemoved = "stage_removed",
        /// The token that it was opened with has expired.
        TokenExpired = "token_expired",
        /// The node had lost its lease, and another has its connections.
        LeaseLost = "lease_lost",
        /// It was another node's, and that one has died.
        NodeLost = "node_lost",
    }
}

label_values! {
    /// What a client did that the gateway answered itself.
    ClientErrorKind {
        /// A message that no route takes.
        NoRoute = "no_route",
        /// Over a throttle.
        Throttled = "throttled",
        /// A message or frame over the limit.
        TooLarge = "too_large",
        /// A binary message where the api takes none.
        Binary = "binary",
        /// A protocol violation.
        Protocol = "protocol",
        /// Text that is not UTF-8.
        InvalidUtf8 = "invalid_utf8",
        /// A message that the route's model does not take.
        InvalidBody = "invalid_body",
        /// An upgrade that was refused with 4xx by the gateway.
        Upgrade = "upgrade",
    }
}

label_values! {
    /// Why a message did not stay in a send queue.
    DroppedCause {
        /// The client was closed with 1008.
        Close = "close",
        /// It gave way to a newer one.
        DropOldest = "drop_oldest",
        /// The queue was full.
        DropNewest = "drop_newest",
        /// It still waited when the connection ended.
        Closed = "closed",
    }
}

label_values! {
    /// A call of the management API.
    ManagementOperation {
        /// `POST /{stage}/@connections/{id}`.
        Post = "post",
        /// `GET /{stage}/@connections/{id}`.
        Get = "get",
        /// `DELETE /{stage}/@connections/{id}`.
        Delete = "delete",
        /// `POST /{stage}/@connections`.
        Batch = "batch",
        /// `GET /{stage}/@connections`.
        List = "list",
        /// `POST /{stage}/@groups/{group}`.
        GroupSend = "group_send",
        /// `GET /{stage}/@groups/{group}`.
        GroupCount = "group_count",
        /// `DELETE /{stage}/@groups/{group}`.
        GroupClose = "group_close",
        /// `GET /{stage}/@groups/{group}/connections`.
        GroupList = "group_list",
        /// `PUT /{stage}/@groups/{group}/connections/{id}`.
        GroupJoin = "group_join",
        /// `DELETE /{stage}/@groups/{group}/connections/{id}`.
        GroupLeave = "group_leave",
        /// `POST /{stage}/@users/{principalId}`.
        UserSend = "user_send",
        /// `DELETE /{stage}/@users/{principalId}`.
        UserClose = "user_close",
        /// `POST /{stage}/@broadcast`.
        Broadcast = "broadcast",
        /// A method that the path does not take.
        Other = "other",
        /// A path that there is not.
        Unknown = "unknown",
    }
}

label_values! {
    /// What became of a span.
    SpanOutcome {
        /// The collector has it.
        Exported = "exported",
        /// The collector does not want it.
        Rejected = "rejected",
        /// The collector was away, or had no room, for longer than it was tried.
        Failed = "failed",
        /// It found no room among those that wait, or was not sent when the node ended.
        Dropped = "dropped",
    }
}

/// Integration times: from a mock's microseconds to Amazon's 29 seconds.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The statuses that the management API answers; the last is for any other.
const MANAGEMENT_STATUSES: &[(u16, &str)] = &[
    (200, "200"),
    (204, "204"),
    (400, "400"),
    (403, "403"),
    (405, "405"),
    (410, "410"),
    (413, "413"),
    (429, "429"),
    (503, "503"),
    (0, "other"),
];

/// All metrics of a node.
pub struct Metrics {
    registry: Registry,
    connections: IntGauge,
    connect: IntCounterVec,
    disconnect: IntCounterVec,
    messages: IntCounterVec,
    message_bytes: IntCounterVec,
    integration_seconds: HistogramVec,
    integration_errors: IntCounterVec,
    client_errors: IntCounterVec,
    /// By operation and status; resolved once, for a post is on the hot path.
    management: Box<[Box<[IntCounter]>]>,
    send_queue_dropped: IntCounterVec,
    access_log_dropped: IntCounter,
    /// `reload_total` by outcome.
    reloads: IntCounterVec,
    draining: IntGauge,
    trace_spans: IntCounterVec,
}

impl Metrics {
    /// Registers everything once.
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(format!("tidegate_{name}"), help), labels)
                .expect("names and labels in this file are valid");
            registry.register(Box::new(vec.clone())).expect("each name is registered once");
            vec
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("tidegate_{name}"), help)
                .expect("names in this file are valid");
            registry.register(Box::new(gauge.clone())).expect("each name is registered once");
            gauge
        };
        let stage = ["api", "stage"];
        let with = |label: &'static str| [stage[0], stage[1], label];
        let directed = ["api", "stage", "route", "direction"];
        let integration_seconds = HistogramVec::new(
            HistogramOpts::new(
                "tidegate_integration_seconds",
                "Time from calling an integration to its whole answer.",
            )
            .buckets(SECONDS.to_vec()),
            &with("route"),
        )
        .expect("names and labels in this file are valid");
        registry
            .register(Box::new(integration_seconds.clone()))
            .expect("each name is registered once");
        let access_log_dropped = IntCounter::new(
            "tidegate_access_log_dropped_total",
            "Access log lines that were not written.",
        )
        .expect("names in this file are valid");
        registry
            .register(Box::new(access_log_dropped.clone()))
            .expect("each name is registered once");
        let reloads = counter("reloads_total", "Configuration reloads.", &["outcome"]);
        for outcome in ["accepted", "refused"] {
            // Both are there from the start: a first one that comes out of nothing is no increase.
            reloads.with_label_values(&[outcome]);
        }
        Arc::new(Self {
            connections: gauge("connections", "Open WebSocket connections."),
            draining: gauge("draining", "1 while the node drains."),
            connect: counter("connect_total", "Upgrades, by how they ended.", &with("outcome")),
            disconnect: counter("disconnect_total", "Ended connections, by cause.", &with("cause")),
            messages: counter("messages_total", "Messages from and to clients.", &directed),
            message_bytes: counter("message_bytes_total", "Their payload in bytes.", &directed),
            integration_errors: counter(
                "integration_errors_total",
                "Integration calls without a usable answer.",
                &["api", "stage", "route", "kind"],
            ),
            client_errors: counter(
                "client_errors_total",
                "What clients sent that the gateway refused itself.",
                &with("kind"),
            ),
            management: per_operation(&counter(
                "management_requests_total",
                "Calls of the management API.",
                &["operation", "status"],
            )),
            send_queue_dropped: counter(
                "send_queue_dropped_total",
                "Messages that a client's send queue did not keep.",
                &with("cause"),
            ),
            reloads,
            trace_spans: counter(
                "trace_spans_total",
                "Spans of traces, by what became of them.",
                &["outcome"],
            ),
            integration_seconds,
            access_log_dropped,
            registry,
        })
    }

    /// The text of `/metrics` (Prometheus text format 0.0.4).
    /// `bus` where this node is one of several.
    pub fn render(&self, functions: &[FunctionWorkers], bus: Option<&BusFigures>) -> String {
        let mut text = Vec::with_capacity(16 * 1024);
        // Writing to memory fails only for a metric family without metrics, which gather omits.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        let mut text = String::from_utf8(text).unwrap_or_default();
        function_workers::append(functions, &mut text);
        if let Some(figures) = bus {
            bus::append(figures, &mut text);
        }
        process::append(&mut text);
        text
    }

    /// Counts one call of the management API.
    pub fn management_request(&self, operation: ManagementOperation, status: u16) {
        let known = MANAGEMENT_STATUSES.iter().position(|(known, _)| *known == status);
        let index = known.unwrap_or(MANAGEMENT_STATUSES.len() - 1);
        self.management[operation as usize][index].inc();
    }

    /// Counts a reload.
    pub fn reloaded(&self, accepted: bool) {
        self.reloads.with_label_values(&[if accepted { "accepted" } else { "refused" }]).inc();
    }

    /// Resolves the counters of spans, by [`SpanOutcome`]; they are shown from then on.
    pub fn trace_spans(&self) -> SpanCounters {
        let count = |outcome: SpanOutcome| self.trace_spans.with_label_values(&[outcome.as_str()]);
        SpanCounters(per_value(SpanOutcome::ALL, count))
    }

    /// Says that the node drains.
    pub fn drain_started(&self) {
        self.draining.set(1);
    }

    /// Counts access log lines that were lost.
    pub fn access_log_dropped(&self) -> IntCounter {
        self.access_log_dropped.clone()
    }

    /// Counts one connection as open until the guard drops, on every path out.
    pub fn open_connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// Resolves the handles of one stage and its routes. `routes` are route keys.
    pub fn stage<'a>(
        self: &Arc<Self>,
        api: &str,
        stage: &str,
        routes: impl Iterator<Item = &'a str>,
    ) -> StageMetrics {
        let routes = routes
            .chain(["@connections"])
            .map(|key| (key.to_owned(), self.route(api, stage, key)))
            .collect();
        let by = |vec: &IntCounterVec, value: &str| vec.with_label_values(&[api, stage, value]);
        StageMetrics {
            connect: per_value(ConnectOutcome::ALL, |v| by(&self.connect, v.as_str())),
            disconnect: per_value(DisconnectCause::ALL, |v| by(&self.disconnect, v.as_str())),
            client_errors: per_value(ClientErrorKind::ALL, |v| by(&self.client_errors, v.as_str())),
            dropped: per_value(DroppedCause::ALL, |v| by(&self.send_queue_dropped, v.as_str())),
            routes,
        }
    }

    fn route(self: &Arc<Self>, api: &str, stage: &str, key: &str) -> Arc<RouteMetrics> {
        let directed = |vec: &IntCounterVec, direction: &str| {
            vec.with_label_values(&[api, stage, key, direction])
        };
        Arc::new(RouteMetrics {
            messages_in: directed(&self.messages, "in"),
            messages_out: directed(&self.messages, "out"),
            bytes_in: directed(&self.message_bytes, "in"),
            bytes_out: directed(&self.message_bytes, "out"),
            seconds: self.integration_seconds.with_label_values(&[api, stage, key]),
            errors: self.integration_errors.clone(),
            labels: [api.to_owned(), stage.to_owned(), key.to_owned()],
        })
    }
}

fn per_operation(vec: &IntCounterVec) -> Box<[Box<[IntCounter]>]> {
    let statuses = |operation: &ManagementOperation| {
        let counter =
            |(_, label): &(u16, &str)| vec.with_label_values(&[operation.as_str(), label]);
        MANAGEMENT_STATUSES.iter().map(counter).collect()
    };
    ManagementOperation::ALL.iter().map(statuses).collect()
}

fn per_value<T: Copy>(all: &[T], make: impl Fn(T) -> IntCounter) -> Box<[IntCounter]> {
    all.iter().map(|value| make(*value)).collect()
}

/// Counts spans.
#[derive(Debug, Clone)]
pub struct SpanCounters(Box<[IntCounter]>);

impl SpanCounters {
    /// Counts so many spans.
    pub fn count(&self, outcome: SpanOutcome, spans: u64) {
        self.0[outcome as usize].inc_by(spans);
    }
}

/// One open connection in `tidegate_connections`, until it drops.
#[must_use]
pub struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The handles of one stage.
pub struct StageMetrics {
    connect: Box<[IntCounter]>,
    disconnect: Box<[IntCounter]>,
    client_errors: Box<[IntCounter]>,
    dropped: Box<[IntCounter]>,
    routes: HashMap<String, Arc<RouteMetrics>>,
}

impl StageMetrics {
    /// Counts an upgrade.
    pub fn connect(&self, outcome: ConnectOutcome) {
        self.connect[outcome as usize].inc();
    }

    /// Counts the end of a connection.
    pub fn disconnect(&self, cause: DisconnectCause) {
        self.disconnect[cause as usize].inc();
    }

    /// Counts what a client did wrong.
    pub fn client_error(&self, kind: ClientErrorKind) {
        self.client_errors[kind as usize].inc();
    }

    /// Counts messages that a send queue did not keep.
    pub fn dropped(&self, cause: DroppedCause, count: u64) {
        self.dropped[cause as usize].inc_by(count);
    }

    /// The handles of a route, or of `@connections` for what the management API sends.
    pub fn route(&self, key: &str) -> Option<&Arc<RouteMetrics>> {
        self.routes.get(key)
    }
}

/// The handles of one route.
pub struct RouteMetrics {
    messages_in: IntCounter,
    messages_out: IntCounter,
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    seconds: Histogram,
    errors: IntCounterVec,
    labels: [String; 3],
}

impl RouteMetrics {
    /// Counts a message from a client.
    pub fn message_in(&self, bytes: usize) {
        self.messages_in.inc();
        self.bytes_in.inc_by(bytes as u64);
    }

    /// Counts a message to a client.
    pub fn message_out(&self, bytes: usize) {
        self.messages_out.inc();
        self.bytes_out.inc_by(bytes as u64);
    }

    /// Takes the time of one integration call.
    pub fn integration_took(&self, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
    }

    /// Shows calls without a usable answer of these kinds as 0 until there are some: a first one that
    /// comes out of nothing is no increase to whoever watches.
    pub fn expect_failures(&self, kinds: impl IntoIterator<Item = &'static str>) {
        let [api, stage, route] = &self.labels;
        for kind in kinds {
            self.errors.with_label_values(&[api, stage, route, kind]);
        }
    }

    /// Counts a call without a usable answer. `kind` comes from a fixed list of the caller's.
    pub fn integration_failed(&self, kind: &'static str) {
        let [api, stage, route] = &self.labels;
        self.errors.with_label_values(&[api, stage, route, kind]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of<'t>(text: &'t str, start: &str) -> &'t str {
        text.lines().find(|line| line.starts_with(start)).unwrap_or("absent")
    }

    #[test]
    fn every_metric_moves_when_its_method_is_called() {
        let metrics = Metrics::new();
        let stage = metrics.stage("chat", "prod", ["join"].into_iter());
        let open = metrics.open_connection();
        stage.connect(ConnectOutcome::Accepted);
        stage.disconnect(DisconnectCause::Idle);
        stage.client_error(ClientErrorKind::NoRoute);
        stage.dropped(DroppedCause::DropOldest, 3);
        let route = stage.route("join").expect("the route was named");
        route.message_in(10);
        route.message_out(20);
        route.integration_took(Duration::from_millis(2));
        route.integration_failed("timeout");
        metrics.management_request(ManagementOperation::Post, 200);
        metrics.reloaded(false);
        metrics.access_log_dropped().inc();
        metrics.trace_spans().count(SpanOutcome::Dropped, 2);
        let text = metrics.render(&[], None);
        for (start, value) in [
            ("tidegate_connections ", "1"),
            ("tidegate_connect_total{api=\"chat\",outcome=\"accepted\"", "1"),
            ("tidegate_disconnect_total{api=\"chat\",cause=\"idle\"", "1"),
            ("tidegate_client_errors_total{api=\"chat\",kind=\"no_route\"", "1"),
            ("tidegate_send_queue_dropped_total{api=\"chat\",cause=\"drop_oldest\"", "3"),
            ("tidegate_messages_total{api=\"chat\",direction=\"in\",route=\"join\"", "1"),
            ("tidegate_message_bytes_total{api=\"chat\",direction=\"out\",route=\"join\"", "20"),
            ("tidegate_integration_seconds_count{api=\"chat\",route=\"join\"", "1"),
            ("tidegate_integration_errors_total{api=\"chat\",kind=\"timeout\",route=\"join\"", "1"),
            ("tidegate_management_requests_total{operation=\"post\",status=\"200\"", "1"),
            ("tidegate_reloads_total{outcome=\"refused\"", "1"),
            ("tidegate_access_log_dropped_total", "1"),
            ("tidegate_trace_spans_total{outcome=\"dropped\"", "2"),
            ("tidegate_draining", "0"),
        ] {
            let line = line_of(&text, start);
            assert!(line.ends_with(&format!(" {value}")), "{start}: {line}");
        }
        drop(open);
        assert_eq!(
            line_of(&metrics.render(&[], None), "tidegate_connections "),
            "tidegate_connections 0"
        );
    }

    #[test]
    fn failures_that_are_expected_are_shown_before_the_first_and_never_set_back() {
        let metrics = Metrics::new();
        let load = || {
            let stage = metrics.stage("chat", "prod", ["join"].into_iter());
            let route = Arc::clone(stage.route("join").expect("the route was named"));
            route.expect_failures(["timed_out", "lost"]);
            route
        };
        let shown = || {
            let text = metrics.render(&[], None);
            let lines = text.lines().filter_map(|line| {
                let rest = line.strip_prefix("tidegate_integration_errors_total{api=\"chat\",")?;
                Some(rest.replace("\"", ""))
            });
            lines.collect::<Vec<_>>()
        };
        let route = load();
        let at = |lost| {
            let lost = format!("kind=lost,route=join,stage=prod}} {lost}");
            vec![lost, "kind=timed_out,route=join,stage=prod} 0".to_owned()]
        };
        assert_eq!(shown(), at(0));
        route.integration_failed("lost");
        assert_eq!(shown(), at(1));
        // As a reload does.
        load();
        assert_eq!(shown(), at(1));
    }
}
