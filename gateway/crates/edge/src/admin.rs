//! The admin port: `/metrics`, `/health/live`, `/health/ready`.

use crate::{
    http::{head::Head, response::Response},
    node::Node,
};

/// Answers one request.
pub(crate) fn answer(node: &Node, head: &Head<'_, '_>) -> Response {
    match (head.method, head.raw_path()) {
        ("GET" | "HEAD", "/metrics") => Response::text(200, node.metrics.render()),
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
