//! Pure rules of a message's way.
//!
//! In:  values of `model`, bytes of a client's or a backend's, and `now`.
//! Out: values: the route that was selected, the event to post, the frame to send, the verdict.
//!
//! Nothing here opens a socket, reads a clock, starts a task or takes a lock.

pub mod access_log;
pub mod authorizer_event;
pub mod authorizer_response;
pub mod context;
pub mod error_frame;
pub mod event;
pub mod iam_access;
pub mod json;
pub mod jwt;
pub mod models;
pub mod opaque_id;
pub mod policy;
pub mod proxy_response;
pub mod request_parameters;
pub mod route_selection;
pub mod session;
pub mod sigv4;
pub mod timing_wheel;
pub mod token_bucket;
pub mod trace_context;
pub mod transformation;
pub mod usage_plan;
