//! What `tidegate check` prints of `[store]`.
//!
//! In:  the store's settings, urls with passwords among them.
//! Out: one line that tells which servers they lead to.
//!
//! Holds always: nothing of a url is shown but hosts and ports.

use tidegate_model::{RedisStoreSettings, Secret, Store};

use super::summary::plain;

/// The cell after `store`.
pub(super) fn about_store(store: &Store) -> String {
    match store {
        Store::Memory => "memory, one node by itself".to_owned(),
        Store::Redis(RedisStoreSettings { urls, is_cluster, node_lease, prefix }) => {
            let hosts: Vec<_> = urls.iter().map(hosts).collect();
            let what = if *is_cluster { "redis cluster" } else { "redis" };
            let (hosts, lease) = (hosts.join(", "), node_lease.as_secs());
            format!("{what} at {hosts}, prefix {prefix}, lease {lease} s")
        }
    }
}

/// `host:port`, several for sentinels. An `@` ends what comes before the hosts, whatever that has
/// in it, and a socket's query may hold a password.
fn hosts(url: &Secret) -> String {
    let Some((scheme, rest)) = url.reveal().split_once("://") else {
        return "a unix socket".to_owned();
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let hosts = authority.rsplit('@').next().unwrap_or(authority);
    let hosts = hosts.split(['?', '#']).next().unwrap_or(hosts);
    match hosts {
        "" => "a unix socket".to_owned(),
        hosts if scheme.ends_with("+sentinel") => plain(format!("sentinels {hosts}")),
        hosts => plain(hosts),
    }
}

#[cfg(test)]
mod tests {
    use connection_store::RedisOptions;

    use super::*;

    #[test]
    fn a_url_is_shown_as_its_hosts_and_never_as_its_password() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "127.0.0.1:6379"),
            (
                "rediss://user:secret@redis.example.com:6380/3?protocol=resp3",
                "redis.example.com:6380",
            ),
            ("redis://:sec%40ret@[::1]:6379", "[::1]:6379"),
            ("redis+sentinel://user:se%3Fcret@a:1,b/main/2", "sentinels a:1,b"),
            ("redis+unix:///run/redis.sock?pass=secret", "a unix socket"),
            ("unix:/run/redis.sock?pass=secret", "a unix socket"),
        ] {
            assert!(RedisOptions::new(url).is_ok(), "{url}");
            assert_eq!(hosts(&Secret::new(url.to_owned())), shown);
        }
    }
}
