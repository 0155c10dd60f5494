//! Limits on how many clients a node takes, and how fast (`[limits]`).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;
use tidegate_model::Limits;

/// Counts the clients of a node.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    open: AtomicU32,
    /// Only filled while `connections_per_ip` is set.
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// Which limit refused a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `connections`.
    Connections,
    /// `connections_per_ip`.
    ConnectionsPerIp,
}

/// One admitted client, until it drops.
#[derive(Debug)]
#[must_use]
pub(crate) struct Admission {
    clients: Arc<Clients>,
    address: Option<IpAddr>,
}

impl Clients {
    /// Admits one more client from `address`, unless a limit is reached.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        limits: &Limits,
    ) -> Result<Admission, Refusal> {
        let limit = limits.connections.map_or(u32::MAX, std::num::NonZeroU32::get);
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < limit).then_some(open + 1)
            })
            .map_err(|_| Refusal::Connections)?;
        let mut admission = Admission { clients: self.clone(), address: None };
        if let Some(limit) = limits.connections_per_ip {
            let mut by_address = self.by_address.lock();
            let count = by_address.entry(address).or_insert(0);
            if *count >= limit.get() {
                return Err(Refusal::ConnectionsPerIp);
            }
            *count += 1;
            admission.address = Some(address);
        }
        Ok(admission)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.clients.open.fetch_sub(1, Ordering::AcqRel);
        if let Some(address) = self.address {
            let mut by_address = self.clients.by_address.lock();
            if let Some(count) = by_address.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    by_address.remove(&address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use tidegate_model::SlowClient;

    use super::*;

    fn limits(connections: Option<u32>, per_ip: Option<u32>) -> Limits {
        Limits {
            max_message_bytes: 1,
            max_frame_bytes: 1,
            idle_timeout: Duration::from_secs(1),
            max_connection: None,
            send_queue_bytes: 1,
            slow_client: SlowClient::Close,
            max_in_flight: NonZeroU32::MIN,
            lifecycle_calls_in_flight: NonZeroU32::MIN,
            handshake_timeout: Duration::from_secs(1),
            connections: connections.and_then(NonZeroU32::new),
            connections_per_ip: per_ip.and_then(NonZeroU32::new),
            new_connections_per_s: None,
        }
    }

    #[test]
    fn each_limit_holds_alone_and_a_client_that_leaves_makes_room() {
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let clients = Arc::new(Clients::default());
        let limits = limits(Some(3), Some(2));
        let first = clients.admit(one, &limits).expect("the first");
        let _second = clients.admit(one, &limits).expect("the second of one address");
        assert_eq!(clients.admit(one, &limits).err(), Some(Refusal::ConnectionsPerIp));
        let _third = clients.admit(two, &limits).expect("another address");
        assert_eq!(clients.admit(two, &limits).err(), Some(Refusal::Connections));
        drop(first);
        let _again = clients.admit(one, &limits).expect("room again");
    }
}
