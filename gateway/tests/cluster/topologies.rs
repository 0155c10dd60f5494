//! A Redis, or a Valkey, of several servers loses the one that matters (reliability, line 26).

use tidegate_testkit::{DEADLINE, RedisCluster, RedisProgram, RedisSentinels, wait_until};

use crate::{Backend, outages::Stage, start_nodes};

/// Both nodes have missed it, or have another already.
async fn both_have_noticed(stage: &Stage<'_>) {
    wait_until(DEADLINE, "both to lose their link", async || {
        let lost = [("outcome", "lost")];
        let links = [stage.owner, stage.caller]
            .map(async |node| node.metric("tidegate_bus_links_total", &lost).await);
        let [owner, caller] = links;
        owner.await >= 1.0 && caller.await >= 1.0
    })
    .await;
}

/// A second until the sentinels agree, then the election; during it clients leave.
async fn the_master_dies(program: RedisProgram) {
    let (mut redis, backend) = (RedisSentinels::start(program).await, Backend::start().await);
    let nodes = start_nodes(&vec![backend.toml().redis(&[redis.url()]); 2]).await;
    let mut stage = Stage::set(&nodes, &backend).await;
    redis.master.kill().await;
    stage.goes_on_alone().await;
    stage.some_leave().await;
    wait_until(DEADLINE, "the replica to be the master", async || {
        redis.replica.cli(&["role"]).await.starts_with("master")
    })
    .await;
    stage.is_back().await;
}

#[tokio::test]
async fn when_the_master_dies_its_sentinels_name_another_and_nothing_is_lost() {
    the_master_dies(RedisProgram::Redis).await;
}

#[tokio::test]
async fn when_the_master_is_a_valkey_and_dies_nothing_is_lost_either() {
    the_master_dies(RedisProgram::Valkey).await;
}

async fn the_directorys_master_dies(program: RedisProgram) {
    let (mut redis, backend) = (RedisCluster::start(program).await, Backend::start().await);
    let nodes = start_nodes(&vec![backend.toml().redis(&redis.urls()); 2]).await;
    let mut stage = Stage::set(&nodes, &backend).await;
    redis.kill_master_of("{tidegate}").await;
    both_have_noticed(&stage).await;
    stage.goes_on_alone().await;
    stage.some_leave().await;
    // The replica takes over after 1.5 s of silence and an election.
    wait_until(DEADLINE, "both to be ready", async || {
        stage.owner.is_ready().await && stage.caller.is_ready().await
    })
    .await;
    stage.is_back().await;
}

#[tokio::test]
async fn a_cluster_of_six_that_loses_the_directorys_master_delivers_again() {
    the_directorys_master_dies(RedisProgram::Redis).await;
}

#[tokio::test]
async fn a_cluster_of_six_valkeys_that_loses_the_directorys_master_delivers_again() {
    the_directorys_master_dies(RedisProgram::Valkey).await;
}
