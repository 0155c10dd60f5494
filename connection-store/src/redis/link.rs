//! One link to the servers: commands one way, answers and bus messages the other.
//!
//! In:  commands, from any task.
//! Out: their answers; and what is published to the channels that the link has subscribed to, by
//! the function it was made with.
//!
//! Holds always: commands leave in the order in which they are first polled. A link that has failed
//! stays failed; a new one is made.

use std::{io, sync::Arc};

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use super::{
    options::{RedisOptions, Servers},
    scripts::listed,
};

/// Commands that wait for the link's task.
const WAITING_COMMANDS: usize = 1024;

/// What arrives unasked.
pub(super) enum Pushed {
    /// Somebody published this to a channel of ours.
    Message(Vec<u8>),
    /// The link to the server is lost.
    Lost,
}

#[derive(Clone)]
pub(super) struct Link {
    connection: Connection,
    publish: &'static str,
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Makes a link. It has subscribed to nothing yet.
    pub(super) async fn connect(
        options: &RedisOptions,
        pushed: impl Fn(Pushed) + Send + Sync + 'static,
    ) -> RedisResult<Self> {
        let is_cluster = matches!(options.servers(), Servers::Cluster(_));
        let push_sender = Arc::new(move |info: PushInfo| -> Result<(), ()> {
            match info.kind {
                PushKind::Message | PushKind::SMessage => {
                    if let Some(Value::BulkString(bytes)) = info.data.into_iter().nth(1) {
                        pushed(Pushed::Message(bytes));
                    }
                }
                // Of a cluster's servers each may come and go; the probe tells what that means.
                PushKind::Disconnection if !is_cluster => pushed(Pushed::Lost),
                _ => {}
            }
            Ok(())
        });
        let timeout = options.command_timeout();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_pipeline_buffer_size(WAITING_COMMANDS);
        let connection = match options.servers() {
            Servers::One(server) => {
                let client = redis::Client::open(server.as_ref().clone())?;
                let config = config.set_push_sender(push_sender);
                let one = client.get_multiplexed_async_connection_with_config(&config).await?;
                Connection::One(if_single(one).await?)
            }
            Servers::Sentinel { sentinels, master, database } => {
                let config = config.set_push_sender(push_sender);
                Connection::One(by_sentinels(sentinels, master, database, &config).await?)
            }
            Servers::Cluster(nodes) => {
                let client = ClusterClientBuilder::new(nodes.clone())
                    .use_protocol(ProtocolVersion::RESP3)
                    .push_sender(push_sender)
                    .connection_timeout(timeout)
                    .response_timeout(timeout)
                    // A publish is never repeated: the first may have arrived.
                    .retries(0)
                    .build()?;
                Connection::Cluster(client.get_async_connection().await?)
            }
        };
        Ok(Self { connection, publish: "SPUBLISH" })
    }

    /// Subscribes to a channel: by sharded pub/sub, where the server has it, else by plain. It
    /// publishes in the same way from then on.
    pub(super) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        if let Connection::Cluster(cluster) = &self.connection {
            return cluster.clone().ssubscribe(channel).await;
        }
        let sharded = self.query(redis::cmd("SSUBSCRIBE").arg(channel)).await;
        match sharded {
            Ok(_) => Ok(()),
            // Any other error would come for each message as well.
            Err(error) if is_unknown_command(&error) => {
                self.publish = "PUBLISH";
                self.query(redis::cmd("SUBSCRIBE").arg(channel)).await.map(drop)
            }
            Err(error) => Err(error),
        }
    }

    /// Carries out one command.
    pub(super) async fn query(&self, command: &Cmd) -> RedisResult<Value> {
        match self.connection.clone() {
            Connection::One(mut one) => command.query_async(&mut one).await,
            Connection::Cluster(mut cluster) => command.query_async(&mut cluster).await,
        }
    }

    /// Publishes, and tells how many listened.
    pub(super) async fn publish(&self, channel: &str, message: &[u8]) -> RedisResult<u64> {
        let heard = self.query(redis::cmd(self.publish).arg(channel).arg(message)).await?;
        match heard {
            Value::Int(count) => Ok(u64::try_from(count).unwrap_or_default()),
            _ => Ok(0),
        }
    }
}

/// A link to one server, if that is one by itself: some of a cluster's keys and channels are elsewhere.
async fn if_single(mut one: MultiplexedConnection) -> RedisResult<MultiplexedConnection> {
    let told = listed(redis::cmd("HELLO").query_async(&mut one).await?);
    let is = |value: &Value, text: &str| *value == Value::BulkString(text.into());
    let mode = told.chunks_exact(2).find(|pair| is(&pair[0], "mode")).map(|pair| &pair[1]);
    let wrong = match mode {
        Some(mode) if is(mode, "cluster") => IS_CLUSTER,
        Some(mode) if is(mode, "sentinel") => IS_SENTINEL,
        _ => return Ok(one),
    };
    Err(io::Error::other(wrong).into())
}

/// A link to the master that the sentinels name. They get the credentials of the servers behind them
/// where they ask for some.
async fn by_sentinels(
    sentinels: &[ConnectionAddr],
    master: &str,
    database: &ConnectionInfo,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let settings = database.redis_settings();
    let connect = async |with_credentials: bool| {
        let kind = SentinelServerType::Master;
        let mut builder = SentinelClientBuilder::new(sentinels.to_vec(), master, kind)?
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_db(settings.db());
        if let Some(user) = settings.username() {
            builder = builder.set_client_to_redis_username(user);
            if with_credentials {
                builder = builder.set_client_to_sentinel_username(user);
            }
        }
        if let Some(password) = settings.password() {
            builder = builder.set_client_to_redis_password(password);
            if with_credentials {
                builder = builder.set_client_to_sentinel_password(password);
            }
        }
        if matches!(database.addr(), ConnectionAddr::TcpTls { .. }) {
            builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
        }
        builder.build()?.get_async_connection_with_config(config).await
    };
    let error = match connect(false).await {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    if !any_asks_for_password(sentinels).await {
        return Err(error);
    }
    if settings.password().is_none() {
        return Err(io::Error::other(SENTINELS_ASK).into());
    }
    connect(true).await.map_err(|error| match error.kind() {
        // Which of them it was only their logs tell.
        ErrorKind::AuthenticationFailed => {
            let told = "the sentinels or the redis do not take the url's user and password";
            io::Error::other(format!("{told} ({error})")).into()
        }
        _ => error,
    })
}

/// Whether one of the sentinels that answer wants to know who asks.
async fn any_asks_for_password(sentinels: &[ConnectionAddr]) -> bool {
    let asks = sentinels.iter().map(async |sentinel| {
        let client = redis::Client::open(sentinel.clone().into_connection_info()?)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await
    });
    let answers: Vec<RedisResult<()>> = join_all(asks).await;
    answers.iter().any(|answer| answer.as_ref().is_err_and(|error| error.code() == Some("NOAUTH")))
}

/// Whether a server knows nothing of a command.
fn is_unknown_command(error: &RedisError) -> bool {
    let says_so = error.detail().is_some_and(|text| text.contains("unknown command"));
    error.code() == Some("ERR") && says_so
}

/// Whether a server has refused something because its memory is full.
pub(super) fn is_full(error: &RedisError) -> bool {
    error.code() == Some("OOM")
}

const IS_CLUSTER: &str =
    "this is a Redis Cluster: write url as a list, of one or more of its nodes";
const IS_SENTINEL: &str = "this is a sentinel: write redis+sentinel://host:port/master-name";
const SENTINELS_ASK: &str =
    "the sentinels ask for a password: write redis+sentinel://user:password@host:port/master-name";

/// Why a server cannot be used, and what to do about it where the error does not say so itself. A
/// cluster's error is only text, so it is looked for in the text.
pub(super) fn in_words(error: &RedisError) -> String {
    const NOT_TRUSTED: &str = "no authority that this node trusts has signed the redis's certificate: \
                               name the authority's PEM file in SSL_CERT_FILE, or add it to the \
                               system's";
    const ADVICE: [(&str, &str); 13] = [
        ("UnknownIssuer", NOT_TRUSTED),
        // Another authority of the same name, as after a change of its key.
        ("BadSignature", NOT_TRUSTED),
        (
            "CaUsedAsEndEntity",
            "the redis's certificate is an authority's: give it one that an authority has signed, \
             with CA:FALSE",
        ),
        (
            "CertificateRequired",
            "the redis wants a certificate of its clients, and nodes have none: set \
             tls-auth-clients no there",
        ),
        ("failed to read PEM", "SSL_CERT_FILE or SSL_CERT_DIR names what cannot be read"),
        ("cluster support disabled", "this is no Redis Cluster: write url as a string, not a list"),
        ("CLUSTERDOWN", CLUSTER_DOWN),
        ("ClusterDown", CLUSTER_DOWN),
        ("Moved: ", IS_CLUSTER),
        ("unknown command 'EVAL'", IS_SENTINEL),
        ("unexpected symbol near '#'", "the redis is older than 7"),
        ("NOAUTH", SERVER_ASKS),
        ("\"OOM\"", "its memory is full (maxmemory)"),
    ];
    const CLUSTER_DOWN: &str =
        "the Redis Cluster does not serve all its slots: see CLUSTER INFO there";
    const SERVER_ASKS: &str =
        "the redis asks for a password: write it in the url, as redis://user:password@host";
    let text = error.to_string();
    match ADVICE.iter().find(|(sign, _)| text.contains(sign)) {
        Some((_, advice)) => format!("{advice} ({text})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(error: &str) -> String {
        in_words(&io::Error::other(error.to_owned()).into())
    }

    #[test]
    fn an_error_of_tls_comes_with_what_to_do_and_another_as_it_is() {
        for (error, advice) in [
            ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
            ("invalid peer certificate: BadSignature", "SSL_CERT_FILE"),
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "CA:FALSE"),
            ("received fatal alert: CertificateRequired", "tls-auth-clients no"),
            ("failed to read PEM from file: No such file or directory at 'x'", "SSL_CERT_FILE"),
        ] {
            let words = words(error);
            assert!(words.contains(advice) && words.ends_with(&format!("({error})")), "{words}");
        }
        assert_eq!(words("timed out"), "timed out");
    }

    #[test]
    fn servers_of_another_form_than_their_url_come_with_the_right_one() {
        for (error, advice) in [
            ("This instance has cluster support disabled", "as a string, not a list"),
            ("Moved: 866 10.0.0.1:6379", "write url as a list"),
            ("ClusterDown: Hash slot not served", "CLUSTER INFO"),
            ("unknown command 'EVAL', with args beginning with: ", "redis+sentinel://"),
            ("Error compiling script: unexpected symbol near '#'", "older than 7"),
            ("\"NOAUTH\": Authentication required.", "the redis asks for a password"),
        ] {
            assert!(words(error).contains(advice), "{}", words(error));
        }
    }
}
