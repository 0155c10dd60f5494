//! The admin port: `/metrics`, `/health/live`, `/health/ready`.

use tidegate_telemetry::FunctionWorkers;

use crate::{
    cluster::Cluster,
    http::{head::Head, response::Response},
    node::Node,
};

/// The text of `/metrics`.
fn metrics(node: &Node) -> String {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let functions: Vec<_> = node
        .functions()
        .counts()
        .into_iter()
        .map(|one| FunctionWorkers {
            function: one.function,
            workers: count(one.workers),
            starts: one.starts,
            crashes: one.crashes,
        })
        .collect();
    let bus = node.cluster().map(Cluster::figures);
    node.metrics.render(&functions, bus.as_ref())
}

/// Answers one request.
pub(crate) fn answer(node: &Node, head: &Head<'_, '_>) -> Response {
    match (head.method, head.raw_path()) {
        ("GET" | "HEAD", "/metrics") => Response::text(200, metrics(node)),
        // The process answers, so it lives; nothing else is asked.
        ("GET" | "HEAD", "/health/live") => Response::text(200, "live\n"),
        ("GET" | "HEAD", "/health/ready") => match node.readiness() {
            Ok(()) => Response::text(200, "ready\n"),
            Err(reason) => Response::text(503, format!("not ready: {reason}\n")),
        },
        (_, "/metrics" | "/health/live" | "/health/ready") => {
            Response { extra: "Allow: GET, HEAD\r\n", ..Response::text(405, "only GET and HEAD\n") }
        }
        _ => Response::text(404, "here are /metrics, /health/live and /health/ready\n"),
    }
}
