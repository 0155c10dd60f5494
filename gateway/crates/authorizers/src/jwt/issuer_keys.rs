//! One issuer's keys, shared by all cores of the node.
//!
//! In:  tokens whose key is not known, and the time.
//! Out: the keys as last published.
//!
//! ```text
//! nothing --start--> under way --document--> keys, due in 10 min or as its max-age says
//!                        \------no document--> the old keys, due in 30 s
//! ```
//!
//! Holds always: one fetch at a time, whichever core began it; fetches begin at least [`SPACING`]
//! apart, however many tokens name unknown keys; those who wait share the fetch under way. Keys are
//! exchanged whole, so what the issuer withdrew is gone with the next document; a fetch that fails
//! changes nothing. No lock is held over an await.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tidegate_integrations::BackendPools;
use tidegate_model::JwtKeys;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    KeyFetchError,
    fetch::{FETCH_TIMEOUT, fetch},
    key_set::KeySet,
    refused::with_causes,
};

/// Between the beginnings of two fetches.
const SPACING: Duration = Duration::from_secs(5);

/// After a fetch that failed in the background.
const RETRY: Duration = Duration::from_secs(30);

/// How a fetch ended.
type Outcome = Result<(), Arc<KeyFetchError>>;

/// The keys of one issuer from one place.
#[derive(Debug)]
pub(super) struct IssuerKeys {
    issuer: String,
    place: JwtKeys,
    keys: ArcSwapOption<KeySet>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    latest: Option<Fetch>,
    /// When the background asks again.
    due: Instant,
}

#[derive(Debug)]
struct Fetch {
    began: Instant,
    /// `None` until it ends.
    outcome: watch::Receiver<Option<Outcome>>,
}

enum Step {
    Share(watch::Receiver<Option<Outcome>>),
    WaitUntil(Instant),
}

impl IssuerKeys {
    pub(super) fn new(issuer: &str, place: &JwtKeys) -> Self {
        Self {
            issuer: issuer.to_owned(),
            place: place.clone(),
            keys: ArcSwapOption::empty(),
            state: Mutex::new(State { latest: None, due: Instant::now() }),
        }
    }

    /// Whether these are the keys of `issuer` from `place`.
    pub(super) fn are(&self, issuer: &str, place: &JwtKeys) -> bool {
        let same_place = match (&self.place, place) {
            (JwtKeys::Discovery(ours), JwtKeys::Discovery(theirs))
            | (JwtKeys::Jwks(ours), JwtKeys::Jwks(theirs)) => ours == theirs,
            (JwtKeys::Discovery(_), JwtKeys::Jwks(_))
            | (JwtKeys::Jwks(_), JwtKeys::Discovery(_)) => false,
        };
        same_place && self.issuer == issuer
    }

    /// The keys as last published; `None` before the first document.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// How the latest fetch that began at `arrived` or later ended; `None` if none did yet.
    pub(super) fn settled_since(&self, arrived: Instant) -> Option<Outcome> {
        let state = self.state.lock();
        let latest = state.latest.as_ref().filter(|fetch| fetch.began >= arrived)?;
        latest.outcome()
    }

    /// Gets closer to [`Self::settled_since`]: waits for the fetch under way, or until one may
    /// begin, and begins it. Over `pools`, those of the core that this runs on.
    pub(super) async fn advance(self: &Arc<Self>, arrived: Instant, pools: &BackendPools) {
        let step = {
            let mut state = self.state.lock();
            let now = Instant::now();
            match &state.latest {
                Some(fetch) if fetch.is_under_way() => Step::Share(fetch.outcome.clone()),
                Some(fetch) if fetch.outcome().is_some() && fetch.began >= arrived => return,
                Some(fetch) if now < fetch.began + SPACING => {
                    Step::WaitUntil(fetch.began + SPACING)
                }
                _ => Step::Share(self.begin(&mut state, now, pools)),
            }
        };
        match step {
            // An error: it was cut off with its core, and the next step waits to begin another.
            Step::Share(mut outcome) => drop(outcome.wait_for(Option::is_some).await),
            Step::WaitUntil(moment) => sleep_until(moment).await,
        }
    }

    /// Begins a fetch if one is due, and says when to look again.
    pub(super) fn refresh_when_due(self: &Arc<Self>, pools: &BackendPools) -> Instant {
        let mut state = self.state.lock();
        let now = Instant::now();
        if now < state.due {
            return state.due;
        }
        match &state.latest {
            Some(fetch) if fetch.is_under_way() => fetch.began + FETCH_TIMEOUT,
            Some(fetch) if now < fetch.began + SPACING => fetch.began + SPACING,
            _ => {
                self.begin(&mut state, now, pools);
                now + FETCH_TIMEOUT
            }
        }
        // A fetch ends by its timeout, give or take the clock's grain.
        .max(now + Duration::from_millis(50))
    }

    fn begin(
        self: &Arc<Self>,
        state: &mut State,
        now: Instant,
        pools: &BackendPools,
    ) -> watch::Receiver<Option<Outcome>> {
        let (sender, outcome) = watch::channel(None);
        state.latest = Some(Fetch { began: now, outcome: outcome.clone() });
        let (keys, pools) = (Arc::clone(self), pools.clone());
        // A task of its own: the token that happened to come first may be cut off. It ends within
        // the fetch's time.
        tokio::spawn(async move {
            let outcome = keys.fetch(&pools).await;
            // Nobody may be waiting.
            let _ = sender.send(Some(outcome));
        });
        outcome
    }

    async fn fetch(&self, pools: &BackendPools) -> Outcome {
        let fetched = fetch(&self.issuer, &self.place, pools).await;
        let now = Instant::now();
        match fetched {
            Ok(fetched) => {
                tracing::debug!(issuer = %self.issuer, keys = fetched.keys.len(), "issuer's keys read");
                // Before anybody is told that this fetch has ended.
                self.keys.store(Some(Arc::new(fetched.keys)));
                self.state.lock().due = now + fetched.lifetime;
                Ok(())
            }
            Err(error) => {
                let kept = self.current().map_or(0, |keys| keys.len());
                let cause = with_causes(&error);
                tracing::warn!(issuer = %self.issuer, error = %cause, kept, "issuer's keys not read");
                self.state.lock().due = now + if kept == 0 { SPACING } else { RETRY };
                Err(Arc::new(error))
            }
        }
    }
}

impl Fetch {
    /// Neither ended nor cut off with the core that began it.
    fn is_under_way(&self) -> bool {
        // Held until after the second question: nothing can be sent in between.
        let outcome = self.outcome.borrow();
        outcome.is_none() && self.outcome.has_changed().is_ok()
    }

    fn outcome(&self) -> Option<Outcome> {
        self.outcome.borrow().clone()
    }
}
