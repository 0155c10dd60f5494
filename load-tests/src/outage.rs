//! What posts were answered before, while and after the Redis was away, and what that means.
//!
//! In:  each post and its answer, each message and when it came, and the times of the outage.
//! Out: [`Outage`], or a [`Failure`] where something was lost or doubled.
//!
//! Holds always: a post that was answered 200 has been delivered once, in its poster's order; one
//! that was answered 503 at most once.

use std::{collections::HashMap, time::Duration};

use crate::failure::Failure;

/// Where a post goes, seen from the node that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To a connection of its own.
    Local,
    /// To one of the other node.
    Remote,
}

/// One post.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Post {
    pub(crate) reach: Reach,
    pub(crate) poster: usize,
    pub(crate) receiver: usize,
    pub(crate) sent_at: Duration,
    /// The status and how long it took; `None` while it is under way.
    pub(crate) answer: Option<([u8; 3], Duration)>,
    /// How often it was delivered, and as which of all messages.
    pub(crate) deliveries: u32,
    pub(crate) delivered_as: u64,
}

/// When what happened, on the clock of the posts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeline {
    pub(crate) away_at: Duration,
    /// Neither node says any more that it is ready.
    pub(crate) noticed_at: Duration,
    /// The Redis answers again.
    pub(crate) returned_at: Duration,
    /// Both nodes say that they are ready.
    pub(crate) ready_at: Duration,
}

/// The figures.
#[derive(Debug, PartialEq)]
pub(crate) struct Outage {
    pub(crate) local_posts: u64,
    /// Of those, the ones that were not answered 200.
    pub(crate) local_failed: u64,
    pub(crate) local_slowest: Duration,
    /// Remote posts that were answered 503.
    pub(crate) refused: u64,
    pub(crate) refused_p99: Duration,
    /// The slowest of those that began after the outage was noticed, and of those before.
    pub(crate) refused_slowest: Duration,
    pub(crate) unnoticed_slowest: Duration,
    /// From the return until the last remote post began that was refused.
    pub(crate) back_after: Duration,
}

/// Takes the figures, once every post is answered.
pub(crate) fn judge(posts: &[Post], times: Timeline) -> Result<Outage, Failure> {
    let unanswered = posts.iter().filter(|post| post.answer.is_none()).count() as u64;
    if unanswered > 0 {
        return Err(Failure::Stuck("answers to posts", unanswered));
    }
    check_deliveries(posts)?;
    let took = |post: &Post| post.answer.map_or(Duration::ZERO, |(_, took)| took);
    let is = |post: &&Post, status: &[u8; 3]| post.answer.is_some_and(|(of, _)| of == *status);
    let of = |reach| posts.iter().filter(move |post| post.reach == reach);

    let neither = of(Reach::Remote).find(|post| !is(post, b"200") && !is(post, b"503"));
    if let Some((status, _)) = neither.and_then(|post| post.answer) {
        let status = String::from_utf8_lossy(&status).into_owned();
        return Err(Failure::RemotePost(status));
    }
    let refused: Vec<_> = of(Reach::Remote).filter(|post| is(post, b"503")).collect();
    // Who was under way when it began is refused as well.
    let ended_before = |post: &&&Post| post.sent_at + took(post) < times.away_at;
    let early = refused.iter().filter(ended_before).count() as u64;
    if early > 0 {
        let what = "remote posts that were refused while the redis was there";
        return Err(Failure::Count { what, got: early, expected: 0 });
    }
    let last_refused = refused.iter().map(|post| post.sent_at).max().unwrap_or_default();
    let back_at = last_refused.max(times.returned_at);
    let after = of(Reach::Remote).filter(|post| post.sent_at > back_at).count();
    if after == 0 {
        return Err(Failure::Stuck("remote posts that arrive again", 1));
    }
    let mut refusals: Vec<_> = refused.iter().map(|post| took(post)).collect();
    refusals.sort_unstable();
    let slowest = |noticed: bool| {
        let posts = refused.iter().filter(|post| (post.sent_at >= times.noticed_at) == noticed);
        posts.map(|post| took(post)).max().unwrap_or_default()
    };
    Ok(Outage {
        local_posts: of(Reach::Local).count() as u64,
        local_failed: of(Reach::Local).filter(|post| !is(post, b"200")).count() as u64,
        local_slowest: of(Reach::Local).map(took).max().unwrap_or_default(),
        refused: refused.len() as u64,
        refused_p99: refusals.get(refusals.len() * 99 / 100).copied().unwrap_or_default(),
        refused_slowest: slowest(true),
        unnoticed_slowest: slowest(false),
        back_after: back_at - times.returned_at,
    })
}

fn check_deliveries(posts: &[Post]) -> Result<(), Failure> {
    let accepted = |post: &&Post| post.answer.is_some_and(|(status, _)| status == *b"200");
    let lost = posts.iter().filter(accepted).filter(|post| post.deliveries == 0).count() as u64;
    if lost > 0 {
        return Err(Failure::Stuck("posts that were accepted and not delivered", lost));
    }
    let doubled = posts.iter().filter(|post| post.deliveries > 1).count() as u64;
    if doubled > 0 {
        let what = "posts that were delivered more than once";
        return Err(Failure::Count { what, got: doubled, expected: 0 });
    }
    let mut last = HashMap::new();
    for post in posts.iter().filter(accepted) {
        let before = last.insert((post.poster, post.receiver), post.delivered_as);
        if before.is_some_and(|before| before > post.delivered_as) {
            return Err(Failure::Disordered);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Timeline = Timeline {
        away_at: Duration::from_secs(10),
        noticed_at: Duration::from_secs(12),
        returned_at: Duration::from_secs(20),
        ready_at: Duration::from_secs(21),
    };

    fn post(reach: Reach, sent_s: u64, status: &[u8; 3], took_ms: u64) -> Post {
        Post {
            reach,
            poster: 0,
            receiver: 0,
            sent_at: Duration::from_secs(sent_s),
            answer: Some((*status, Duration::from_millis(took_ms))),
            deliveries: u32::from(status == b"200"),
            delivered_as: sent_s,
        }
    }

    fn remote(sent_s: u64, status: &[u8; 3], took_ms: u64) -> Post {
        post(Reach::Remote, sent_s, status, took_ms)
    }

    fn outage() -> Vec<Post> {
        vec![
            remote(1, b"200", 1),
            post(Reach::Local, 2, b"200", 3),
            remote(9, b"503", 3_000),
            remote(11, b"503", 900),
            remote(13, b"503", 2),
            remote(14, b"503", 1),
            remote(22, b"503", 1),
            remote(23, b"200", 1),
        ]
    }

    #[test]
    fn an_outage_is_told_by_its_refusals() {
        let ms = Duration::from_millis;
        let expected = Outage {
            local_posts: 1,
            local_failed: 0,
            local_slowest: ms(3),
            refused: 5,
            refused_p99: ms(3_000),
            refused_slowest: ms(2),
            unnoticed_slowest: ms(3_000),
            back_after: Duration::from_secs(2),
        };
        assert_eq!(judge(&outage(), TIMES).expect("nothing is lost"), expected);
    }

    fn failure(change: impl FnOnce(&mut Vec<Post>)) -> String {
        let mut posts = outage();
        change(&mut posts);
        judge(&posts, TIMES).expect_err("it is wrong").to_string()
    }

    #[test]
    fn what_is_lost_doubled_disordered_or_never_back_is_a_failure() {
        for (told, change) in [
            ("not delivered: 1", (|posts| posts[7].deliveries = 0) as fn(&mut Vec<Post>)),
            ("more than once: 1", |posts| posts[4].deliveries = 2),
            ("order", |posts| posts[7].delivered_as = 0),
            ("answers to posts: 1", |posts| posts[3].answer = None),
            ("while the redis was there: 1", |posts| posts[0] = remote(1, b"503", 1)),
            ("answered 410", |posts| posts[4] = remote(13, b"410", 1)),
            ("arrive again", |posts| posts.truncate(7)),
        ] {
            let failure = failure(change);
            assert!(failure.contains(told), "{told}: {failure}");
        }
    }

    #[test]
    fn a_local_post_that_fails_is_counted() {
        let mut posts = outage();
        posts[1] = post(Reach::Local, 2, b"503", 3);
        assert_eq!(judge(&posts, TIMES).expect("nothing is lost").local_failed, 1);
    }
}
