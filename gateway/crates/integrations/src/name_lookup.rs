//! Host names to addresses, one look-up at a time for each endpoint.
//!
//! In:  a host and a port.
//! Out: the addresses, at most a second old.
//!
//! Holds always: one endpoint occupies at most one of the runtime's blocking threads. A name server
//! that hangs would otherwise take a thread for each call that times out, and with the last
//! thread every other endpoint's look-ups.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// Long enough to serve a burst of new connections with one look-up, short enough that a backend
/// that moved is found within a second.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// What all who waited get.
type Found = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// The look-ups of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct NameLookup(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unknown,
    Known(Instant, Arc<[SocketAddr]>),
    UnderWay(watch::Receiver<Option<Found>>),
}

impl NameLookup {
    /// The addresses of `host`, a name or an address without brackets.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok([SocketAddr::new(address, port)].into());
        }
        let mut under_way = match self.look(host, port) {
            Ok(known) => return Ok(known),
            Err(under_way) => under_way,
        };
        let found = under_way.wait_for(Option::is_some).await;
        match found.as_deref() {
            Ok(Some(Ok(addresses))) => Ok(Arc::clone(addresses)),
            Ok(Some(Err(error))) => Err(io::Error::new(error.kind(), error.to_string())),
            // The task that looked was dropped with its runtime, or it panicked.
            Ok(None) | Err(_) => Err(io::Error::other("the name look-up was cut off")),
        }
    }

    /// Forgets what it knows: nothing answered at those addresses.
    pub(crate) fn forget(&self) {
        let mut state = self.0.lock();
        if let State::Known(..) = *state {
            *state = State::Unknown;
        }
    }

    /// What is known, or the look-up under way, which is started when there is none.
    fn look(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Arc<[SocketAddr]>, watch::Receiver<Option<Found>>> {
        let mut state = self.0.lock();
        match &*state {
            State::Known(at, addresses) if at.elapsed() < FRESH_FOR => {
                return Ok(Arc::clone(addresses));
            }
            State::UnderWay(receiver) if receiver.has_changed().is_ok() => {
                return Err(receiver.clone());
            }
            // Stale, never begun, or its task is gone.
            State::Known(..) | State::UnderWay(_) | State::Unknown => {}
        }
        let (sender, receiver) = watch::channel(None);
        *state = State::UnderWay(receiver.clone());
        let shared = Arc::clone(&self.0);
        let host = host.to_owned();
        // A task of its own: the caller that happened to come first may be cut off.
        tokio::spawn(async move {
            let found = match tokio::net::lookup_host((host, port)).await {
                Ok(addresses) => Ok(addresses.collect()),
                Err(error) => Err(Arc::new(error)),
            };
            *shared.lock() = match &found {
                Ok(addresses) => State::Known(Instant::now(), Arc::clone(addresses)),
                Err(_) => State::Unknown,
            };
            // Nobody may be waiting any more.
            let _ = sender.send(Some(found));
        });
        Err(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_its_own_answer() {
        let lookup = NameLookup::default();
        let found = lookup.addresses("::1", 80).await.unwrap();
        assert_eq!(*found, ["[::1]:80".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all_who_wait_and_again_after_a_second() {
        let lookup = NameLookup::default();
        let (one, two) =
            tokio::join!(lookup.addresses("localhost", 80), lookup.addresses("localhost", 80));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one.iter().any(|address| address.ip().is_loopback()));
        assert!(Arc::ptr_eq(&one, &two), "one look-up serves both");

        tokio::time::pause();
        tokio::time::advance(FRESH_FOR).await;
        let later = lookup.addresses("localhost", 80).await.unwrap();
        assert!(!Arc::ptr_eq(&one, &later), "a second later the name is looked up again");
    }

    #[tokio::test]
    async fn a_failed_look_up_is_not_remembered() {
        let lookup = NameLookup::default();
        assert!(lookup.addresses("no such host", 80).await.is_err());
        assert!(matches!(*lookup.0.lock(), State::Unknown));
    }
}
