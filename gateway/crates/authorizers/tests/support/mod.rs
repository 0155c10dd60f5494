//! An issuer to trust: it signs tokens and publishes its keys.

pub mod issuer;
pub mod signer;
