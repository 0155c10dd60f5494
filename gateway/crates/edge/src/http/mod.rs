//! HTTP/1.1 as far as the gateway itself speaks it: upgrades, the management API, the admin port.

pub(crate) mod chunked;
pub(crate) mod exchange;
pub(crate) mod head;
pub(crate) mod query;
pub(crate) mod response;
