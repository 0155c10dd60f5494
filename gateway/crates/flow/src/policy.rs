//! Does this policy let that happen? (websocket-api, 9.4)
//!
//! In:  a [`PolicyDocument`], and an [`AccessRequest`]: what is asked for, by whom, when.
//! Out: a [`Decision`].
//!
//! ```text
//! a statement applies   its actions, its resources and all its conditions fit
//! any applies, Deny     -> Deny
//! else any, Allow       -> Allow
//! else                  -> NoMatch, which is a refusal too
//! ```
//!
//! Holds always: the order of statements decides nothing; a variable that the request gives no value
//! for never makes an `Allow` wider; the work is at most each pattern's length times the text's.

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]
mod tests;

use std::{borrow::Cow, net::IpAddr, str::Chars};

use tidegate_model::policy::{
    Comparison, Condition, Effect, LetterCase, Listed, Pattern, PolicyDocument, Statement, Test,
    Token,
};

use crate::context::{IamFacts, iso_8601};

/// What is asked for, and what conditions may look at.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// `execute-api:Invoke` or `execute-api:ManageConnections`.
    pub action: &'a str,
    /// The ARN.
    pub resource: &'a str,
    /// Another name that policies know the resource by: what fits one of the two fits the resource.
    pub alias: Option<&'a str>,
    /// `aws:SourceIp`.
    pub source_ip: IpAddr,
    /// `aws:SecureTransport`.
    pub secure_transport: bool,
    /// `aws:UserAgent`.
    pub user_agent: Option<&'a str>,
    /// `aws:Referer`.
    pub referer: Option<&'a str>,
    /// `aws:username`, `aws:PrincipalArn`, `aws:PrincipalAccount`, `aws:PrincipalType`.
    pub principal: Option<&'a IamFacts>,
    /// `aws:CurrentTime`, `aws:EpochTime`: seconds since 1970.
    pub now_s: u64,
}

/// What a policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allow,
    /// A statement denies it.
    Deny,
    /// No statement applies: refused, though not by name.
    NoMatch,
}

impl Decision {
    /// Whether it may happen.
    pub fn is_allowed(self) -> bool {
        self == Self::Allow
    }
}

/// What `policy` says about `request`.
pub fn evaluate(policy: &PolicyDocument, request: &AccessRequest<'_>) -> Decision {
    let mut decision = Decision::NoMatch;
    for statement in policy.statements.iter().filter(|statement| request.fits(statement)) {
        match statement.effect {
            Effect::Deny => return Decision::Deny,
            Effect::Allow => decision = Decision::Allow,
        }
    }
    decision
}

impl AccessRequest<'_> {
    fn fits(&self, statement: &Statement) -> bool {
        let action = |pattern: &Pattern| self.like(pattern, self.action, LetterCase::Ignored);
        let resource = |pattern: &Pattern| {
            let like = |name| self.like(pattern, name, LetterCase::Counts);
            either(like(self.resource), self.alias.map_or(Some(false), like))
        };
        fits(&statement.actions, statement.effect, action)
            && fits(&statement.resources, statement.effect, resource)
            && statement
                .conditions
                .iter()
                .all(|condition| self.satisfies(condition, statement.effect))
    }

    fn satisfies(&self, condition: &Condition, effect: Effect) -> bool {
        let fact = self.fact(&condition.key);
        if let Test::Absent(values) = &condition.test {
            return values.contains(&fact.is_none());
        }
        let Some(fact) = fact else { return condition.holds_without_key };
        match &condition.test {
            Test::Text(texts, case) => {
                fits(texts, effect, |pattern| self.like(pattern, &fact, *case))
            }
            Test::Arn(arns) => fits(arns, effect, |pattern| self.arn_like(pattern, &fact)),
            Test::Number(comparison, values) => {
                fact.parse().is_ok_and(|number: f64| compares(*comparison, number, values))
            }
            Test::Moment(comparison, values) => self
                .moment_s(&condition.key)
                .is_some_and(|moment_s| compares(*comparison, moment_s, values)),
            Test::Bool(values) => fact.parse().is_ok_and(|value: bool| values.contains(&value)),
            Test::Address(blocks) => {
                let address = (condition.key == "aws:sourceip").then_some(self.source_ip);
                fits(blocks, effect, |block| Some(block.contains(address?)))
            }
            Test::Absent(_) => false,
        }
    }

    /// The request's value of a condition key in lower case.
    fn fact(&self, key: &str) -> Option<Cow<'_, str>> {
        Some(match key {
            "aws:sourceip" => Cow::Owned(self.source_ip.to_canonical().to_string()),
            "aws:securetransport" => {
                Cow::Borrowed(if self.secure_transport { "true" } else { "false" })
            }
            "aws:useragent" => Cow::Borrowed(self.user_agent?),
            "aws:referer" => Cow::Borrowed(self.referer?),
            "aws:username" => Cow::Borrowed(&*self.principal?.user),
            "aws:principalarn" => Cow::Borrowed(&*self.principal?.user_arn),
            "aws:principalaccount" => Cow::Borrowed(&*self.principal?.account_id),
            "aws:principaltype" => self.principal.map(|_| Cow::Borrowed("User"))?,
            "aws:currenttime" => Cow::Owned(iso_8601(self.now_s.saturating_mul(1000))),
            "aws:epochtime" => Cow::Owned(self.now_s.to_string()),
            _ => return None,
        })
    }

    fn moment_s(&self, key: &str) -> Option<i64> {
        matches!(key, "aws:currenttime" | "aws:epochtime")
            .then(|| i64::try_from(self.now_s).unwrap_or(i64::MAX))
    }

    /// Whether `pattern` matches all of `text`; `None` if it has a variable without a value here.
    fn like(&self, pattern: &Pattern, text: &str, case: LetterCase) -> Option<bool> {
        Some(glob(&self.resolved(pattern)?, text, case))
    }

    /// The same for ARNs, where a wildcard ends with its part (IAM user guide, "ARN condition
    /// operators"). A lone `*` is any ARN.
    fn arn_like(&self, pattern: &Pattern, text: &str) -> Option<bool> {
        let tokens = self.resolved(pattern)?;
        if *tokens == [Token::AnyRun] {
            return Some(true);
        }
        let mut patterns = tokens.splitn(6, |token| *token == Token::Character(':'));
        let mut texts = text.splitn(6, ':');
        loop {
            match (patterns.next(), texts.next()) {
                (None, None) => return Some(true),
                (Some(pattern), Some(text)) if glob(pattern, text, LetterCase::Counts) => {}
                _ => return Some(false),
            }
        }
    }

    /// The pattern's tokens with what its variables stand for, which is text, whatever is in it.
    fn resolved<'p>(&self, pattern: &'p Pattern) -> Option<Cow<'p, [Token]>> {
        if !pattern.has_variables() {
            return Some(Cow::Borrowed(pattern.tokens()));
        }
        let mut tokens = Vec::with_capacity(pattern.tokens().len());
        for token in pattern.tokens() {
            let Token::Variable(index) = token else {
                tokens.push(*token);
                continue;
            };
            let variable = pattern.variable(*index)?;
            let default = || variable.default.as_deref().map(Cow::Borrowed);
            let value = self.fact(&variable.key).or_else(default)?;
            tokens.extend(value.chars().map(Token::Character));
        }
        Some(Cow::Owned(tokens))
    }
}

/// Whether what is listed fits. An item that cannot be decided fits nothing; and an `Allow` of all
/// but such an item does not apply, as it might be the one that was to be left out.
fn fits<T>(listed: &Listed<T>, effect: Effect, fits: impl Fn(&T) -> Option<bool>) -> bool {
    match listed {
        Listed::AnyOf(items) => items.iter().any(|item| fits(item) == Some(true)),
        Listed::NoneOf(items) => items.iter().all(|item| match effect {
            Effect::Allow => fits(item) == Some(false),
            Effect::Deny => fits(item) != Some(true),
        }),
    }
}

fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

fn compares<N: PartialOrd + Copy>(comparison: Comparison, fact: N, values: &[N]) -> bool {
    let mut values = values.iter();
    match comparison {
        Comparison::Equal => values.any(|value| fact == *value),
        Comparison::NotEqual => values.all(|value| fact != *value),
        Comparison::Less => values.any(|value| fact < *value),
        Comparison::LessOrEqual => values.any(|value| fact <= *value),
        Comparison::Greater => values.any(|value| fact > *value),
        Comparison::GreaterOrEqual => values.any(|value| fact >= *value),
    }
}

/// Whether `pattern` matches all of `text`.
///
/// When a character does not fit, the last run takes one more and matching goes on behind it; the
/// runs before it need not be tried again, for whatever they could take, the last one can take. So
/// it is no exponential search but at most one pass over the pattern for each character.
fn glob(mut pattern: &[Token], text: &str, case: LetterCase) -> bool {
    let mut text = text.chars();
    // What stands behind the last run, and the text from where that is tried.
    let mut retry: Option<(&[Token], Chars<'_>)> = None;
    loop {
        if let [Token::AnyRun, rest @ ..] = pattern {
            pattern = rest;
            retry = Some((rest, text.clone()));
            if rest.is_empty() {
                return true;
            }
        }
        let fits = match (pattern, text.next()) {
            ([], None) => return true,
            // More text would be needed, and a longer run only leaves less of it.
            ([_, ..], None) => return false,
            ([Token::AnyOne, ..], Some(_)) => true,
            ([Token::Character(wanted), ..], Some(character)) => same(*wanted, character, case),
            (_, Some(_)) => false,
        };
        match &mut retry {
            _ if fits => pattern = &pattern[1..],
            None => return false,
            Some((behind, from)) => {
                from.next();
                (pattern, text) = (*behind, from.clone());
            }
        }
    }
}

fn same(wanted: char, character: char, case: LetterCase) -> bool {
    wanted == character
        || case == LetterCase::Ignored && wanted.to_lowercase().eq(character.to_lowercase())
}
