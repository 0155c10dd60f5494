//! Where the Redis is and how patient a node is with it.
//!
//! In:  what an operator wrote: `[store] url` and `node_lease_s`.
//! Out: [`RedisOptions`], checked; or what is wrong with it, without its secrets.

use std::{fmt, time::Duration};

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    cluster::ClusterClient,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

/// How a node reaches the others.
#[derive(Clone)]
pub struct RedisOptions {
    servers: Servers,
    lease: Duration,
    prefix: String,
    answer_within: Duration,
}

#[derive(Clone)]
pub(super) enum Servers {
    One(Box<ConnectionInfo>),
    Sentinel { sentinels: Vec<ConnectionAddr>, master: String, database: Box<ConnectionInfo> },
    Cluster(Vec<ConnectionInfo>),
}

/// Shows no url: it may hold a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = match &self.servers {
            Servers::One(_) => "one",
            Servers::Sentinel { .. } => "sentinel",
            Servers::Cluster(_) => "cluster",
        };
        out.debug_struct("RedisOptions")
            .field("servers", &servers)
            .field("lease", &self.lease)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl RedisOptions {
    /// The shortest lease: below it the network's ordinary delays would look like death.
    pub const MIN_LEASE: Duration = Duration::from_millis(300);

    /// The server at `url`: `redis://`, `rediss://` or `redis+unix://` for a single one;
    /// `redis+sentinel://host:port,host:port/master-name[/database]` (`rediss+sentinel://` where the
    /// Redis behind it speaks TLS) for the one that sentinels name. User and password stand before an
    /// `@`, percent-encoded.
    ///
    /// A lease of 10 s, the prefix `tidegate`, and 5 s for an answer, unless said otherwise.
    ///
    /// # Errors
    /// How the url is wrong, without its text.
    pub fn new(url: &str) -> Result<Self, InvalidRedisUrl> {
        let servers = if is_sentinel(url) {
            sentinel_servers(url)
        } else {
            server(url).map(|server| Servers::One(Box::new(server)))
        };
        servers.map(Self::of).map_err(|problem| invalid(0, problem))
    }

    /// The Redis Cluster to which the nodes at `urls` belong, of which one is enough: `redis://` or
    /// `rediss://` each. The rest is as with [`Self::new`].
    ///
    /// # Errors
    /// Which url is wrong, by its place (from 1) and not by its text, and how.
    pub fn cluster<S: AsRef<str>>(urls: &[S]) -> Result<Self, InvalidRedisUrl> {
        if urls.is_empty() {
            return Err(invalid(0, "is missing"));
        }
        let read = |(place, url): (usize, &S)| {
            let url = url.as_ref();
            if is_sentinel(url) {
                let problem = "is a sentinel's: name all sentinels in one url, and no list";
                return Err(invalid(place, problem));
            }
            let info = server(url).map_err(|problem| invalid(place, problem))?;
            if matches!(info.addr(), ConnectionAddr::Unix(_)) {
                return Err(invalid(place, "is a socket's: a cluster's nodes have ports"));
            }
            if info.redis_settings().db() != 0 {
                return Err(invalid(place, "names a database: a cluster has only 0"));
            }
            Ok(info)
        };
        let nodes: Vec<_> = urls.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        ClusterClient::new(nodes.clone())
            .map_err(|_| invalid(1, "differs from the first in user, password or TLS"))?;
        Ok(Self::of(Servers::Cluster(nodes)))
    }

    fn of(servers: Servers) -> Self {
        Self {
            servers,
            lease: Duration::from_secs(10),
            prefix: "tidegate".to_owned(),
            answer_within: Duration::from_secs(5),
        }
    }

    /// A node that is silent for this long is dead: `[store] node_lease_s`. At least
    /// [`Self::MIN_LEASE`].
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease: lease.max(Self::MIN_LEASE), ..self }
    }

    /// What keys and channels begin with, so that several gateways share a server. Braces are
    /// taken out of it: they would name a hash tag.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.replace(['{', '}'], ""), ..self }
    }

    /// How long a call about another node's connection may take before it is answered
    /// [`Unavailable`](crate::DeliveryError::Unavailable).
    #[must_use]
    pub fn answer_within(self, patience: Duration) -> Self {
        Self { answer_within: patience, ..self }
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    pub(super) fn lease_time(&self) -> Duration {
        self.lease
    }

    pub(super) fn prefix_text(&self) -> &str {
        &self.prefix
    }

    pub(super) fn patience(&self) -> Duration {
        self.answer_within
    }

    /// How long the server may take for a command. Below a third of the lease, so that a server
    /// that pauses long enough for a lease to end makes every node reconnect.
    pub(super) fn command_timeout(&self) -> Duration {
        (self.lease / 3).min(Duration::from_secs(2))
    }

    /// Between two looks at the others' leases.
    pub(super) fn renewal(&self) -> Duration {
        self.lease / 3
    }

    /// Between two probes of the bus, each of which is followed by a renewal of the lease.
    pub(super) fn probing(&self) -> Duration {
        (self.lease / 3).min(Duration::from_secs(1))
    }
}

fn invalid(place: usize, problem: &str) -> InvalidRedisUrl {
    InvalidRedisUrl { place: place + 1, problem: problem.to_owned() }
}

fn is_sentinel(url: &str) -> bool {
    url.starts_with("redis+sentinel:") || url.starts_with("rediss+sentinel:")
}

fn server(url: &str) -> Result<ConnectionInfo, &'static str> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    if !["redis", "rediss", "valkey", "valkeys", "redis+unix", "unix"].contains(&scheme) {
        return Err("is none of redis://, rediss://, redis+unix:// and redis+sentinel://");
    }
    let info = url.into_connection_info().map_err(|_| "is no redis url")?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

/// `redis+sentinel://[user:password@]host[:port],host[:port].../master[/database]`.
fn sentinel_servers(url: &str) -> Result<Servers, &'static str> {
    const FORM: &str = "is not redis+sentinel://host:port,host:port/master-name";
    let (scheme, rest) = url.split_once("+sentinel://").ok_or(FORM)?;
    let (authority, path) = rest.split_once('/').ok_or(FORM)?;
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
        None => (String::new(), authority),
    };
    let (master, number) = path.split_once('/').unwrap_or((path, "0"));
    if master.is_empty() || hosts.is_empty() {
        return Err(FORM);
    }
    let mut sentinels = Vec::new();
    for host in hosts.split(',') {
        // A sentinel's own port, where none is named.
        let named = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host = if named { host.to_owned() } else { format!("{host}:26379") };
        let info = format!("redis://{host}").into_connection_info().map_err(|_| FORM)?;
        sentinels.push(info.addr().clone());
    }
    // The host is what the sentinels will say; the rest is how to speak with it.
    let database = server(&format!("{scheme}://{credentials}master/{number}")).map_err(|_| FORM)?;
    SentinelClientBuilder::new(sentinels.clone(), master, SentinelServerType::Master)
        .and_then(SentinelClientBuilder::build)
        .map_err(|_| FORM)?;
    Ok(Servers::Sentinel { sentinels, master: master.to_owned(), database: Box::new(database) })
}

/// A url of `[store] url` is wrong. Its text is not shown: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("redis url {place} {problem}")]
pub struct InvalidRedisUrl {
    /// Which one, from 1.
    pub place: usize,
    problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: Result<RedisOptions, InvalidRedisUrl>) -> String {
        options.unwrap_err().to_string()
    }

    #[test]
    fn each_kind_of_server_is_read_from_its_urls() {
        for (url, kind) in [
            ("redis://127.0.0.1:6379", "one"),
            ("rediss://user:pass%40word@redis.example.com:6380/3", "one"),
            ("redis+unix:///run/redis.sock", "one"),
            ("redis+sentinel://a:26379,b,10.0.0.1:1/main", "sentinel"),
            ("rediss+sentinel://user:secret@a/main/2", "sentinel"),
        ] {
            let options = RedisOptions::new(url).unwrap();
            assert!(format!("{options:?}").contains(kind), "{url}");
        }
        // One address is what a cluster that somebody else runs often has.
        for urls in [&["redis://a:1", "redis://b:2"][..], &["rediss://:secret@a:1"]] {
            let options = RedisOptions::cluster(urls).unwrap();
            assert!(format!("{options:?}").contains("cluster"), "{urls:?}");
        }
    }

    #[test]
    fn the_sentinels_are_named_and_the_database_is_behind_them() {
        let options = RedisOptions::new("redis+sentinel://u:p@a:1,b/main/2").unwrap();
        let Servers::Sentinel { sentinels, master, database } = options.servers() else {
            panic!("it is sentinels");
        };
        let expected = [("a", 1), ("b", 26379)];
        assert_eq!(*sentinels, expected.map(|(host, port)| ConnectionAddr::Tcp(host.into(), port)));
        assert_eq!((master.as_str(), database.redis_settings().db()), ("main", 2));
        assert_eq!(database.redis_settings().username(), Some("u"));
    }

    #[test]
    fn a_wrong_url_is_named_by_its_place_and_never_shown() {
        for (url, told) in [
            ("http://user:secret@a", "redis url 1 is none of"),
            ("redis://user:secret@a:port", "redis url 1 is no redis url"),
            ("redis+sentinel://user:secret@a", "redis url 1 is not redis+sentinel://"),
            ("redis+sentinel://a/", "redis url 1 is not redis+sentinel://"),
        ] {
            let refused = refused(RedisOptions::new(url));
            assert!(refused.starts_with(told), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
        for (urls, told) in [
            (vec![], "redis url 1 is missing"),
            (vec!["redis://a", "redis+sentinel://a/m"], "redis url 2 is a sentinel's"),
            (vec!["redis+sentinel://u:secret@a/m"], "redis url 1 is a sentinel's"),
            (vec!["redis+unix:///a?pass=secret"], "redis url 1 is a socket's"),
            (vec!["redis://a", "redis://a/1"], "redis url 2 names a database"),
            (vec!["redis://a", "rediss://:secret@b"], "redis url 2 differs"),
        ] {
            let refused = refused(RedisOptions::cluster(&urls));
            assert!(refused.starts_with(told), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
        let options = RedisOptions::new("redis://user:secret@a").unwrap();
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[test]
    fn a_lease_is_never_too_short_and_a_prefix_names_no_hash_tag() {
        let options = RedisOptions::new("redis://a").unwrap();
        let options = options.lease(Duration::ZERO).prefix("{a}b");
        assert_eq!(options.lease_time(), RedisOptions::MIN_LEASE);
        assert_eq!(options.prefix_text(), "ab");
    }
}
