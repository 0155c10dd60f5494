//! Target for the bus between nodes in `connection-store`.

/// A bus message: no panic, and what is read of it is written and read as the same.
pub fn bus(input: &[u8]) {
    connection_store::check_bus_message(input);
}
