//! One link to the servers: commands one way, answers and bus messages the other.
//!
//! In:  commands, from any task.
//! Out: their answers; and what is published to the channels that the link has subscribed to, by
//! the function it was made with.
//!
//! Holds always: commands leave in the order in which they are first polled. A link that has failed
//! stays failed; a new one is made.

use std::sync::Arc;

use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisResult, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use super::options::{RedisOptions, Servers};

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
                Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Servers::Sentinel { sentinels, master, database } => {
                let settings = database.redis_settings();
                let kind = SentinelServerType::Master;
                let mut builder = SentinelClientBuilder::new(sentinels.clone(), master, kind)?
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3)
                    .set_client_to_redis_db(settings.db());
                if let Some(user) = settings.username() {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = settings.password() {
                    builder = builder.set_client_to_redis_password(password);
                }
                if matches!(database.addr(), redis::ConnectionAddr::TcpTls { .. }) {
                    builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
                }
                let config = config.set_push_sender(push_sender);
                Connection::One(builder.build()?.get_async_connection_with_config(&config).await?)
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

    /// Subscribes to a channel: by sharded pub/sub, where the server has it (Redis 7, Valkey), else
    /// by plain. It publishes in the same way from then on.
    pub(super) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        if let Connection::Cluster(cluster) = &self.connection {
            return cluster.clone().ssubscribe(channel).await;
        }
        let sharded = self.query(redis::cmd("SSUBSCRIBE").arg(channel)).await;
        match sharded {
            Ok(_) => Ok(()),
            // The server does not know the command.
            Err(error) if matches!(error.kind(), ErrorKind::Server(_)) => {
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
