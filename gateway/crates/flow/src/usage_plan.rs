//! Who may connect with which API key, and how often (websocket-api, 11.3).
//!
//! In:  the keys and plans of the configuration once; then each connect's key, stage and time.
//! Out: whose key it is, or why it is refused.
//!
//! ```text
//! known, enabled -> a plan for the stage -> a token of its throttle -> one of its quota
//!       403                  403                     429                    429
//! ```
//!
//! Holds always, for each key in each plan, across cores, stages and reloads: between two moments no
//! more connects pass than the throttle's `burst` and `rate` allow, in a period no more than the
//! quota's `limit`. How long a look-up takes tells nothing about the keys that exist: they are found
//! by a hash of what was sent, and compared in constant time.

mod quota_counter;

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidegate_model::{ApiKey, Quota, Secret, Throttle, UsagePlan};

use self::quota_counter::QuotaCounter;
use crate::{context::ApiKeyFacts, error_frame::ErrorMessage, token_bucket::TokenBucket};

/// All keys and plans of a configuration.
#[derive(Debug, Default)]
pub struct UsagePlans {
    /// By the hash of its value.
    keys: HashMap<[u8; 32], Key>,
}

/// One API key.
#[derive(Debug)]
struct Key {
    name: String,
    value: Secret,
    enabled: bool,
    /// One for each plan that it is in.
    subscriptions: Vec<Subscription>,
}

/// One key in one plan: it is counted over all the plan's stages.
#[derive(Debug)]
struct Subscription {
    plan: String,
    /// Api ids and stage names.
    stages: Vec<(String, String)>,
    throttle: Option<Throttled>,
    quota: Option<Counted>,
}

#[derive(Debug, Clone)]
struct Throttled {
    throttle: Throttle,
    bucket: Arc<TokenBucket>,
}

#[derive(Debug, Clone)]
struct Counted {
    quota: Quota,
    counter: Arc<QuotaCounter>,
}

/// One connect that needs an API key.
#[derive(Debug, Clone, Copy)]
pub struct KeyUse<'a> {
    /// What the client sent, or what its authorizer said.
    pub value: Option<&'a str>,
    /// The api's id.
    pub api_id: &'a str,
    /// The stage's name.
    pub stage: &'a str,
    /// As [`TokenBucket::take`] counts.
    pub now_ns: u64,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// Why a connect is refused. The client reads the same text for all that is 403, and learns no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No key was sent.
    #[error("no api key")]
    Missing,
    /// Nobody's key.
    #[error("an unknown api key")]
    Unknown,
    /// A key that is not enabled.
    #[error("a disabled api key")]
    Disabled,
    /// A key without a plan for the stage.
    #[error("an api key without a usage plan for the stage")]
    NoPlan,
    /// Faster than the plan's throttle.
    #[error("an api key faster than its usage plan's throttle")]
    Throttled,
    /// More than the plan's quota.
    #[error("an api key beyond its usage plan's quota")]
    QuotaExceeded,
}

impl Refused {
    /// The HTTP status that the client gets.
    pub fn status(self) -> u16 {
        match self {
            Self::Missing | Self::Unknown | Self::Disabled | Self::NoPlan => 403,
            Self::Throttled | Self::QuotaExceeded => 429,
        }
    }

    /// `x-amzn-ErrorType`.
    pub fn error_type(self) -> &'static str {
        match self {
            Self::Missing | Self::Unknown | Self::Disabled | Self::NoPlan => "ForbiddenException",
            Self::Throttled => "TooManyRequestsException",
            Self::QuotaExceeded => "LimitExceededException",
        }
    }

    /// What the client reads.
    pub fn message(self) -> ErrorMessage {
        match self {
            Self::Missing | Self::Unknown | Self::Disabled | Self::NoPlan => {
                ErrorMessage::InvalidApiKey
            }
            Self::Throttled => ErrorMessage::TooManyRequests,
            Self::QuotaExceeded => ErrorMessage::LimitExceeded,
        }
    }
}

impl UsagePlans {
    /// Compiles a configuration's keys and plans: full buckets, quotas not yet used. Of two keys
    /// with one value, which a checked configuration does not have, the later one counts.
    pub fn new(api_keys: &[ApiKey], usage_plans: &[UsagePlan]) -> Self {
        let key = |key: &ApiKey| {
            let plans = usage_plans.iter().filter(|plan| plan.api_keys.contains(&key.name));
            let entry = Key {
                name: key.name.clone(),
                value: key.value.clone(),
                enabled: key.enabled,
                subscriptions: plans.map(Subscription::new).collect(),
            };
            (hash(key.value.reveal()), entry)
        };
        Self { keys: api_keys.iter().map(key).collect() }
    }

    /// Goes on counting where `previous` stands, for each key that is in the same plan as before:
    /// in its quota unless its period is another, in its throttle if its figures are the same. Keys
    /// and plans are the same by name. Both values may be in use from then on; they count together.
    #[must_use]
    pub fn carry_over(mut self, previous: &Self) -> Self {
        let before: HashMap<(&str, &str), &Subscription> = previous
            .keys
            .values()
            .flat_map(|key| key.subscriptions.iter().map(|plan| (key.name.as_str(), plan)))
            .map(|(key, subscription)| ((key, subscription.plan.as_str()), subscription))
            .collect();
        for key in self.keys.values_mut() {
            for subscription in &mut key.subscriptions {
                if let Some(earlier) = before.get(&(key.name.as_str(), subscription.plan.as_str()))
                {
                    subscription.carry_over(earlier);
                }
            }
        }
        self
    }

    /// The value of the key of that name.
    pub fn value_of(&self, name: &str) -> Option<&Secret> {
        self.keys.values().find(|key| key.name == name).map(|key| &key.value)
    }

    /// Whether a key opens a stage now. A throttle's token is taken and the quota counted where it
    /// does; a connect that is throttled does not count against the quota.
    ///
    /// # Errors
    /// Why it does not.
    pub fn admit(&self, key_use: KeyUse<'_>) -> Result<ApiKeyFacts, Refused> {
        let KeyUse { value, api_id, stage, now_ns, now_ms } = key_use;
        let value = value.filter(|value| !value.is_empty()).ok_or(Refused::Missing)?;
        let key = self.keys.get(&hash(value)).ok_or(Refused::Unknown)?;
        if !bool::from(key.value.reveal().as_bytes().ct_eq(value.as_bytes())) {
            return Err(Refused::Unknown);
        }
        if !key.enabled {
            return Err(Refused::Disabled);
        }
        let opens = |subscription: &&Subscription| {
            subscription.stages.iter().any(|(api, name)| api == api_id && name == stage)
        };
        let subscription = key.subscriptions.iter().find(opens).ok_or(Refused::NoPlan)?;
        if let Some(Throttled { bucket, .. }) = &subscription.throttle
            && !bucket.take(now_ns)
        {
            return Err(Refused::Throttled);
        }
        if let Some(Counted { quota, counter }) = &subscription.quota
            && !counter.count(*quota, now_ms)
        {
            return Err(Refused::QuotaExceeded);
        }
        Ok(ApiKeyFacts { value: key.value.clone(), id: key.name.clone() })
    }
}

impl Subscription {
    fn new(plan: &UsagePlan) -> Self {
        let throttled =
            |throttle| Throttled { throttle, bucket: TokenBucket::new(throttle).into() };
        let counted = |quota| Counted { quota, counter: Arc::default() };
        Self {
            plan: plan.name.clone(),
            stages: plan.stages.clone(),
            throttle: plan.throttle.map(throttled),
            quota: plan.quota.map(counted),
        }
    }

    fn carry_over(&mut self, earlier: &Self) {
        if let (Some(ours), Some(theirs)) = (&mut self.throttle, &earlier.throttle)
            && ours.throttle == theirs.throttle
        {
            ours.bucket = Arc::clone(&theirs.bucket);
        }
        if let (Some(ours), Some(theirs)) = (&mut self.quota, &earlier.quota)
            && ours.quota.period == theirs.quota.period
        {
            ours.counter = Arc::clone(&theirs.counter);
        }
    }
}

fn hash(value: &str) -> [u8; 32] {
    Sha256::digest(value).into()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;
    use tidegate_model::QuotaPeriod;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const DAY_MS: u64 = 86_400_000;

    fn key(name: &str, enabled: bool) -> ApiKey {
        ApiKey { name: name.to_owned(), value: Secret::new(value(name)), enabled }
    }

    fn value(name: &str) -> String {
        format!("the-value-of-the-key-{name}")
    }

    fn plan(name: &str, stages: &[(&str, &str)], keys: &[&str]) -> UsagePlan {
        let owned = |text: &&str| (*text).to_owned();
        UsagePlan {
            name: name.to_owned(),
            stages: stages.iter().map(|(api, stage)| (owned(api), owned(stage))).collect(),
            api_keys: keys.iter().map(owned).collect(),
            throttle: None,
            quota: None,
        }
    }

    fn daily(limit: u32) -> Option<Quota> {
        Some(Quota { limit, period: QuotaPeriod::Day })
    }

    fn at(value: &str, now_ns: u64, now_ms: u64) -> KeyUse<'_> {
        KeyUse { value: Some(value), api_id: "chat", stage: "prod", now_ns, now_ms }
    }

    /// How many of `times` connects with key `a` pass at this moment.
    fn pass(plans: &UsagePlans, times: usize, now_ns: u64, now_ms: u64) -> usize {
        let value = value("a");
        (0..times).filter(|_| plans.admit(at(&value, now_ns, now_ms)).is_ok()).count()
    }

    #[test]
    fn a_key_opens_the_stages_of_its_plans() {
        let plans = UsagePlans::new(
            &[key("a", true), key("b", true), key("off", false), key("alone", true)],
            &[
                plan("one", &[("chat", "prod"), ("chat", "test")], &["a", "off"]),
                plan("two", &[("game", "prod")], &["a", "b"]),
            ],
        );
        let admit = |value: Option<&str>, api_id, stage| {
            let admitted = plans.admit(KeyUse { value, api_id, stage, now_ns: 0, now_ms: 0 });
            admitted.map(|facts| facts.id)
        };
        let with = |name: &str, api_id, stage| admit(Some(&value(name)), api_id, stage);
        for (api_id, stage) in [("chat", "prod"), ("chat", "test"), ("game", "prod")] {
            assert_eq!(with("a", api_id, stage), Ok("a".to_owned()));
        }
        assert_eq!(with("b", "game", "prod"), Ok("b".to_owned()));
        assert_eq!(with("b", "chat", "prod"), Err(Refused::NoPlan));
        assert_eq!(with("a", "game", "test"), Err(Refused::NoPlan));
        assert_eq!(with("alone", "chat", "prod"), Err(Refused::NoPlan));
        assert_eq!(with("off", "chat", "prod"), Err(Refused::Disabled));
        assert_eq!(with("c", "chat", "prod"), Err(Refused::Unknown));
        assert_eq!(admit(Some("a"), "chat", "prod"), Err(Refused::Unknown));
        assert_eq!(admit(Some(&value("A")), "chat", "prod"), Err(Refused::Unknown));
        assert_eq!(admit(Some(""), "chat", "prod"), Err(Refused::Missing));
        assert_eq!(admit(None, "chat", "prod"), Err(Refused::Missing));
    }

    /// websocket-api, 11.3 and item 116.
    #[test]
    fn a_refusal_is_403_or_429_and_says_no_more() {
        for refused in [Refused::Missing, Refused::Unknown, Refused::Disabled, Refused::NoPlan] {
            assert_eq!(refused.status(), 403);
            assert_eq!(refused.error_type(), "ForbiddenException");
            assert_eq!(refused.message().as_str(), "Forbidden");
        }
        assert_eq!(Refused::Throttled.status(), 429);
        assert_eq!(Refused::Throttled.message().as_str(), "Too Many Requests");
        assert_eq!(Refused::QuotaExceeded.status(), 429);
        assert_eq!(Refused::QuotaExceeded.message().as_str(), "Limit Exceeded");
    }

    fn limited(throttle: Option<Throttle>, quota: Option<Quota>) -> UsagePlans {
        let limits = UsagePlan {
            throttle,
            quota,
            ..plan("one", &[("chat", "prod"), ("chat", "test")], &["a", "b"])
        };
        UsagePlans::new(&[key("a", true), key("b", true)], &[limits])
    }

    #[test]
    fn each_key_has_its_own_throttle_for_all_stages_together() {
        let plans = limited(Some(Throttle { rate: 1.0, burst: 2 }), None);
        let admit = |name: &str, stage, now_ns| {
            let value = value(name);
            plans.admit(KeyUse { stage, ..at(&value, now_ns, 0) }).map(drop)
        };
        assert_eq!(admit("a", "prod", 0), Ok(()));
        assert_eq!(admit("a", "test", 0), Ok(()));
        assert_eq!(admit("a", "test", 0), Err(Refused::Throttled));
        assert_eq!(admit("b", "prod", 0), Ok(()));
        assert_eq!(admit("a", "prod", SECOND_NS), Ok(()));
    }

    #[test]
    fn a_quota_lasts_its_period_and_what_is_throttled_does_not_count() {
        let plans = limited(Some(Throttle { rate: 1.0, burst: 1 }), daily(2));
        let value = value("a");
        let admit =
            |now_s: u64, now_ms| plans.admit(at(&value, now_s * SECOND_NS, now_ms)).map(drop);
        assert_eq!(admit(10, 0), Ok(()));
        assert_eq!(admit(10, 0), Err(Refused::Throttled));
        assert_eq!(admit(20, 1), Ok(()));
        assert_eq!(admit(30, DAY_MS - 1), Err(Refused::QuotaExceeded));
        assert_eq!(admit(40, DAY_MS), Ok(()));
    }

    #[test]
    fn a_reload_gives_nothing_back() {
        let throttle = Some(Throttle { rate: 0.0, burst: 3 });
        let first = limited(throttle, daily(10));
        assert_eq!(pass(&first, 2, 0, 0), 2);
        let second = limited(throttle, daily(10)).carry_over(&first);
        assert_eq!(pass(&second, 5, 0, 0), 1);
        assert_eq!(pass(&first, 5, 0, 0), 0, "both count together");

        // Other figures: a new bucket, and the quota as it stands.
        let faster = Some(Throttle { rate: 0.0, burst: 100 });
        let third = limited(faster, daily(8)).carry_over(&second);
        assert_eq!(pass(&third, 20, 0, 0), 5);
        // A smaller limit than what is used already.
        let fourth = limited(None, daily(4)).carry_over(&third);
        assert_eq!(pass(&fourth, 5, 0, 0), 0);
        assert_eq!(pass(&fourth, 5, 0, DAY_MS), 4);
        // Another period begins anew, and so does another plan.
        let weekly = Some(Quota { limit: 3, period: QuotaPeriod::Week });
        assert_eq!(pass(&limited(None, weekly).carry_over(&fourth), 5, 0, DAY_MS), 3);
    }

    /// The value is the key's, not its name's: who changes it does not begin anew.
    #[test]
    fn a_key_with_a_new_value_goes_on_with_its_quota() {
        let with = |text: &str| {
            let key = ApiKey { value: Secret::new(text.to_owned()), ..key("a", true) };
            let limits = UsagePlan { quota: daily(3), ..plan("one", &[("chat", "prod")], &["a"]) };
            UsagePlans::new(&[key], &[limits])
        };
        let (old, new) = ("an old value of the key", "a new value of the key");
        let first = with(old);
        assert!(first.admit(at(old, 0, 0)).is_ok() && first.admit(at(old, 0, 0)).is_ok());
        let second = with(new).carry_over(&first);
        assert_eq!(second.admit(at(old, 0, 0)), Err(Refused::Unknown));
        assert!(second.admit(at(new, 0, 0)).is_ok());
        assert_eq!(second.admit(at(new, 0, 0)), Err(Refused::QuotaExceeded));
    }

    #[test]
    fn a_key_is_not_shown() {
        let plans = limited(None, None);
        let facts = plans.admit(at(&value("a"), 0, 0)).unwrap();
        assert_eq!(facts.value.reveal(), value("a"));
        assert!(!format!("{plans:?} {facts:?}").contains(&value("a")));
    }

    #[test]
    fn cores_together_get_no_more_than_the_quota_and_no_less() {
        let plans = limited(None, daily(1000));
        let passed: usize = thread::scope(|scope| {
            let cores = [0; 4].map(|_| scope.spawn(|| pass(&plans, 500, 0, 7)));
            cores.into_iter().map(|core| core.join().unwrap()).sum()
        });
        assert_eq!(passed, 1000);
    }

    proptest! {
        #[test]
        fn neither_the_rate_nor_the_quota_is_exceeded(
            rate in 0.0..50.0f64,
            burst in 0u32..20,
            limit in 0u32..40,
            steps_ms in prop::collection::vec(prop_oneof![Just(0), 0..2_000u64, 0..DAY_MS], 1..200),
            reload_at in 0usize..200,
        ) {
            let throttle = Throttle { rate, burst };
            let mut plans = limited(Some(throttle), daily(limit));
            let mut now_ms = 1_795_348_793_000;
            let mut passes_ms: Vec<u64> = Vec::new();
            for (index, step_ms) in steps_ms.into_iter().enumerate() {
                if index == reload_at {
                    plans = limited(Some(throttle), daily(limit)).carry_over(&plans);
                }
                now_ms += step_ms;
                if pass(&plans, 1, now_ms * 1_000_000, now_ms) == 1 {
                    passes_ms.push(now_ms);
                }
            }
            for (first, from_ms) in passes_ms.iter().enumerate() {
                for (last, to_ms) in passes_ms.iter().enumerate().skip(first) {
                    let most = f64::from(burst) + rate * (to_ms - from_ms) as f64 / 1e3 + 1e-6;
                    prop_assert!((last - first + 1) as f64 <= most);
                }
            }
            for days in passes_ms.chunk_by(|a, b| a / DAY_MS == b / DAY_MS) {
                prop_assert!(days.len() <= limit as usize);
            }
        }
    }
}
