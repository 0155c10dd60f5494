//! Sentinels, and a cluster of six.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{
    server::{Program, Server},
    suite_runs::fresh_prefix,
    *,
};
use crate::suite::{self, RecordingConnection};

/// Three masters with a replica each.
struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    async fn start(program: Program) -> Self {
        let options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1500",
            "--cluster-replica-validity-factor",
            "0",
        ];
        let servers: Vec<Server> = (0..6).map(|_| Server::of(program, &options)).collect();
        let mut create = vec!["--cluster".to_owned(), "create".to_owned()];
        create.extend(servers.iter().map(|server| format!("127.0.0.1:{}", server.port())));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"].map(str::to_owned));
        let create: Vec<&str> = create.iter().map(String::as_str).collect();
        let told = servers[0].cli(&create);
        assert!(told.contains("All 16384 slots covered"), "{told}");
        let cluster = Self { servers };
        until("every server knows the cluster", || {
            cluster.servers.iter().all(|server| {
                let info = server.cli(&["cluster", "info"]);
                let nodes = server.cli(&["cluster", "nodes"]);
                info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:6")
                    && nodes.matches("slave").count() == 3
            })
        })
        .await;
        cluster
    }

    fn options(&self, prefix: &str) -> RedisOptions {
        let urls: Vec<String> = self.servers.iter().map(Server::url).collect();
        cluster_options(&urls, prefix)
    }
}

fn cluster_options(urls: &[String], prefix: &str) -> RedisOptions {
    let options = RedisOptions::cluster(urls).expect("urls of one cluster");
    options.lease(LEASE).prefix(prefix).answer_within(Duration::from_secs(2))
}

/// Waits until the log would say something of how the server cannot be used.
async fn until_told(node: &Node, what: &str) {
    let mut troubles = node.troubles();
    let told = troubles.wait_for(|told| told.contains(what));
    let told = tokio::time::timeout(DEADLINE, told).await.map(|told| told.is_ok());
    assert_eq!(told, Ok(true), "{what:?}: last said {:?}", *node.troubles().borrow());
    assert!(!node.delivers());
}

async fn two_nodes_pass_on_a_cluster_of_six(program: Program) {
    let cluster = Cluster::start(program).await;
    suite::run_all_across(async || {
        let options = cluster.options(&fresh_prefix());
        let owner = start_with::<RecordingConnection>(options.clone()).await;
        (owner, start_with::<RecordingConnection>(options).await)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_pass_the_suite_on_a_cluster_of_six() {
    two_nodes_pass_on_a_cluster_of_six(Program::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_pass_the_suite_on_a_cluster_of_six_valkeys() {
    two_nodes_pass_on_a_cluster_of_six(Program::Valkey).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_master_delivers_again() {
    let mut cluster = Cluster::start(Program::Redis).await;
    let options = cluster.options("t");
    let owner: Node = start_with(options.clone()).await;
    let caller: Node = start_with(options).await;
    let connection = TestConnection::open(&owner, None);
    assert_eq!(post(&caller, connection.id(), "x").await, Ok(owner.node()));
    // The master of the directory, which is the dearest.
    let slot = cluster.servers[0].cli(&["cluster", "keyslot", "{t}"]);
    let slot: u32 = slot.parse().unwrap();
    let range = |line: &str| -> Option<(u32, u32, u16)> {
        let fields: Vec<&str> = line.split(' ').collect();
        let (first, last) = fields.get(8)?.split_once('-')?;
        let port = fields[1].split(['@', ':']).nth(1)?.parse().ok()?;
        Some((first.parse().ok()?, last.parse().ok()?, port))
    };
    let nodes = cluster.servers[0].cli(&["cluster", "nodes"]);
    let mut masters = nodes.lines().filter_map(range);
    let holds = |(first, last, _): &(u32, u32, u16)| (*first..=*last).contains(&slot);
    let (_, _, port) = masters.find(holds).expect("each slot has a master");
    cluster.servers.iter_mut().find(|server| server.port() == port).unwrap().kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    until("both deliver", || owner.delivers() && caller.delivers()).await;
    until_answered("a post", DEADLINE, &Ok(owner.node()), async || {
        post(&caller, connection.id(), "x").await
    })
    .await;
    assert_eq!(connection.closes(), [] as [u16; 0]);
}

/// One of its nodes is enough to find the others, if it is known to be a cluster's. Whoever takes it
/// for a server by itself is told so, wherever its own channel is.
#[tokio::test]
async fn a_cluster_is_found_by_one_node_and_is_no_server_by_itself() {
    let cluster = Cluster::start(Program::Redis).await;
    let one = cluster.servers[0].url();
    let found: Node = start_with(cluster_options(&[one], "t")).await;
    let owner: Node = start_with(cluster.options("t")).await;
    let connection = TestConnection::open(&owner, None);
    assert_eq!(post(&found, connection.id(), "x").await, Ok(owner.node()));
    for server in &cluster.servers[..3] {
        let alone: Node = RedisStore::start(options(&server.url(), "t")).unwrap();
        until_told(&alone, "write url as a list").await;
    }
}

#[tokio::test]
async fn a_server_by_itself_is_no_cluster() {
    let server = Server::start();
    let node: Node = RedisStore::start(cluster_options(&[server.url()], "t")).unwrap();
    until_told(&node, "write url as a string").await;
}

struct Sentinel {
    _folder: TempDir,
    port: u16,
    child: Child,
}

impl Sentinel {
    fn start(master: &Server) -> Self {
        Self::with(master, "")
    }

    /// With more lines of its file.
    fn with(master: &Server, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        let port = server::free_port();
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 4000\n\
             {more}",
            folder.path().display(),
            master.port(),
        );
        fs::write(&file, text).unwrap();
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { _folder: folder, port, child }
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output();
        String::from_utf8_lossy(&output.unwrap().stdout).trim().to_owned()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[tokio::test]
async fn sentinels_tell_the_new_master_and_the_directory_follows() {
    let mut master = Server::start();
    let port = master.port().to_string();
    let _replica = Server::with(&["--replicaof", "127.0.0.1", &port]);
    let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(&master)).collect();
    until("the sentinels know each other and the replica", || {
        sentinels.iter().all(|sentinel| {
            let told = sentinel.cli(&["sentinel", "master", "main"]);
            let mut words = told.lines();
            let mut value = |key| {
                words.find(|word| *word == key)?;
                words.next()
            };
            (value("num-slaves"), value("num-other-sentinels")) == (Some("1"), Some("2"))
        })
    })
    .await;
    let hosts: Vec<_> =
        sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    let url = format!("redis+sentinel://{}/main", hosts.join(","));
    let owner: Node = start(&url, "t").await;
    let caller: Node = start(&url, "t").await;
    let connection = TestConnection::open(&owner, Some("facts"));
    let group: GroupName = "room".parse().unwrap();
    assert_eq!(caller.join(&home(), &group, connection.id()).await, Ok(()));
    master.kill();
    until("both have noticed", || !owner.delivers() && !caller.delivers()).await;
    let begun = Instant::now();
    until("both deliver", || owner.delivers() && caller.delivers()).await;
    assert_eq!(post(&caller, connection.id(), "x").await, Ok(owner.node()));
    // The replica may have lost what the owner wrote: until the owner has looked, nobody knows.
    until_answered("a send", Duration::from_secs(5), &Ok(1), async || {
        let sent = caller.send(&home(), Audience::Group(group.clone()), text("x"), vec![]).await;
        let sent = sent.map(|report| report.recipients);
        assert_ne!(sent, Ok(0), "after {:?}", begun.elapsed());
        sent
    })
    .await;
    assert_eq!(connection.closes(), [] as [u16; 0]);
}

/// Each of the two may ask for a password; both get the url's.
#[tokio::test]
async fn sentinels_and_the_server_behind_them_may_ask_for_a_password() {
    let master = Server::start();
    assert_eq!(master.cli(&["config", "set", "requirepass", "secret"]), "OK");
    let auth = "sentinel auth-pass main secret\n";
    let trusting = Sentinel::with(&master, auth);
    let asking = Sentinel::with(&master, &format!("{auth}requirepass secret\n"));
    let url = |credentials: &str, sentinel: &Sentinel| {
        format!("redis+sentinel://{credentials}127.0.0.1:{}/main", sentinel.port)
    };
    let both: [Node; 2] = [
        start(&url(":secret@", &trusting), "t").await,
        start(&url(":secret@", &asking), "t").await,
    ];
    let connection = TestConnection::open(&both[0], None);
    assert_eq!(post(&both[1], connection.id(), "x").await, Ok(both[0].node()));
    for (credentials, sentinel, told) in [
        ("", &trusting, "the redis asks for a password"),
        ("", &asking, "the sentinels ask for a password"),
        (":wrong@", &asking, "do not take the url's user and password"),
    ] {
        let node: Node = RedisStore::start(options(&url(credentials, sentinel), "t")).unwrap();
        until_told(&node, told).await;
        assert!(!node.troubles().borrow().contains("wrong@"));
    }
    let single = format!("redis://127.0.0.1:{}", trusting.port);
    let node: Node = RedisStore::start(options(&single, "t")).unwrap();
    until_told(&node, "redis+sentinel://").await;
    let node: Node = RedisStore::start(options(&master.url(), "t")).unwrap();
    until_told(&node, "the redis asks for a password").await;
}
