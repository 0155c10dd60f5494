//! Calls to backends.
//!
//! In:  an integration of the configuration, compiled once for its stage, and one event.
//! Out: an [`Answer`], or an [`IntegrationError`] that says whose fault it was.
//!
//! ```text
//! Event ──► CompiledIntegration ──► request ──► BackendPools ──► response ──► Answer
//!           (what never changes      (pure)      (the only         (bounded)
//!            is made beforehand)                  sockets here)
//! ```
//!
//! Holds always: a call ends within its integration's timeout; a message is sent at most once
//! unless it surely never left or may be repeated by its method; what a backend can make the
//! gateway hold is bounded; nothing here knows WebSocket.

mod answer;
mod aws;
mod backend_pools;
mod backend_request;
mod backend_tls;
mod error;
mod function;
mod function_failure;
mod functions;
mod http_backend;
mod integration;
mod name_lookup;
mod path_parameters;
mod transformed;

pub use answer::Answer;
pub use aws::{Aws, AwsCallSettings, AwsEnvironment, CredentialsError, LambdaCall, ServiceCall};
pub use backend_pools::{BackendPools, PoolLimits};
pub use backend_tls::BackendTls;
pub use error::{IntegrationError, Owner};
pub use function::{CompiledFunction, Surroundings};
pub use function_failure::FunctionFailure;
pub use functions::{FunctionCounts, FunctionLimits, LocalFunctions, WorkerSurroundings};
pub use integration::{CompiledIntegration, InvalidIntegration};
