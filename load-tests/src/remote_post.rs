//! `remote-post`: the posts of [`crate::post`] on two nodes behind one Redis: first to clients of
//! the node that is asked, then to clients of the other one, then those again at half the rate.
//!
//! In:  two nodes. Out: what a remote post costs both nodes and the Redis, beside a local one.
//!
//! Holds always: the three parts use the same processes, so that their ratio is of one run.

use std::time::Duration;

use crate::{
    cluster::Cluster,
    failure::Failure,
    post::{Posted, Posts},
};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemotePosts {
    /// Connections that post, at most 256.
    pub(crate) posters: usize,
    /// Clients that are posted to, in each part.
    pub(crate) connections: usize,
    /// Length of each message.
    pub(crate) payload_bytes: usize,
    /// Length of each measured part.
    pub(crate) length: Duration,
}

/// The figures of the three parts.
#[derive(Debug)]
pub(crate) struct RemotePosted {
    pub(crate) local: Posted,
    pub(crate) remote: Posted,
    pub(crate) at_half: Posted,
}

impl RemotePosts {
    /// Runs it against `cluster`.
    pub(crate) fn run(self, cluster: &Cluster) -> Result<RemotePosted, Failure> {
        let Self { posters, connections, payload_bytes, length } = self;
        let posts = Posts { posters, connections, payload_bytes, length, rate: None };
        let [first, second] = cluster.addresses()[..] else {
            return Err(Failure::Usage("remote posts need two nodes".to_owned()));
        };
        let local = posts.run(first, first, cluster.processes())?;
        let remote = posts.run(first, second, cluster.processes())?;
        let reached = remote.measured.units as f64 / remote.measured.wall.as_secs_f64();
        if remote.measured.units == 0 || local.measured.units == 0 {
            return Err(Failure::Stuck("posts in the measured part", 1));
        }
        let half = Posts { rate: Some(reached / 2.0), ..posts };
        let at_half = half.run(first, second, cluster.processes())?;
        Ok(RemotePosted { local, remote, at_half })
    }
}
