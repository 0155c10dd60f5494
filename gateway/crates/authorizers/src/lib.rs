//! Who may connect: decides about an upgrade request before `$connect` runs.
//!
//! In:  an authorizer of the configuration, compiled once for its stage, and one upgrade request.
//! Out: who it is, or a [`Denial`] that says what the client is told and whose fault it was.
//!
//! ```text
//! upgrade request ──► iam      signature ──► access key ──► its policy
//!                 ──► request  function ──► policy
//!                 ──► jwt       token ──► issuer's keys (cached, fetched over BackendPools) ──► claims
//! ```
//!
//! Holds always: whoever is not surely let in is refused; an authorizer that cannot be asked, or
//! whose answer makes no sense, refuses. No token, key or claim is in a log text.

mod compiled;
mod error;
mod iam;
pub mod jwt;
mod request;

pub use compiled::{Attempt, CompiledAuthorizer, Granted};
pub use error::{Denial, DenialStatus};
pub use iam::IamAuthorizer;
pub use request::RequestAuthorizer;
