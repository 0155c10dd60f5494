//! A token's claims against an authorizer's rules.
//!
//! In:  the payload's members as the issuer wrote them, the rules, and `now`.
//! Out: principal, context and end; or the first rule that does not hold.
//!
//! Holds always: a claim that a rule needs and that is absent, or of another type than its
//! definition says, refuses the token; no rule is skipped because a claim is odd.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_model::JwtAuthorizer;

use super::{MAX_CONTEXT_BYTES, Members, Refused, decoded, encoded_parts, string};

/// The payload of a token, values unread. No name comes twice.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct TokenClaims(Members);

/// What a token that is let in says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// `sub`, never empty.
    pub principal: String,
    /// All claims in their order, but `principalId` and `integrationLatency`, names that an
    /// authorizer's own facts have, and those that are `null`. Strings as they are; numbers,
    /// booleans, lists and objects as the JSON that the issuer wrote. At most
    /// [`MAX_CONTEXT_BYTES`].
    pub context: Vec<(String, String)>,
    /// From when on the token is refused: `exp` and the leeway, milliseconds since 1970.
    pub expires_at_ms: u64,
}

impl TokenClaims {
    /// Reads the payload of `token` whatever its signature: good for refusing it, never for more.
    ///
    /// # Errors
    /// [`Refused::TooLong`] or [`Refused::Malformed`].
    pub fn unverified(token: &str) -> Result<Self, Refused> {
        let [_, payload] = encoded_parts(token)?;
        Self::parse(&decoded(payload)?)
    }

    /// Reads a decoded payload.
    ///
    /// # Errors
    /// [`Refused::Malformed`].
    pub fn parse(payload: &[u8]) -> Result<Self, Refused> {
        serde_json::from_slice(payload).map_err(|_| {
            Refused::Malformed("its payload is no JSON object, or has a name that comes twice")
        })
    }

    /// A claim that is there; `null` is as good as absent.
    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name).filter(|value| value.get() != "null")
    }

    fn string(&self, name: &'static str) -> Result<Option<String>, Refused> {
        self.get(name).map(|value| string(value).ok_or(Refused::WrongType(name))).transpose()
    }

    /// A `StringOrURI` or a list of them, as `aud` may be (RFC 7519, 4.1.3).
    fn strings(&self, name: &'static str) -> Result<Option<Vec<String>>, Refused> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let one = || string(value).map(|text| vec![text]);
        let several = || serde_json::from_str(value.get()).ok();
        one().or_else(several).map(Some).ok_or(Refused::WrongType(name))
    }

    /// A `NumericDate` (RFC 7519, 2) in milliseconds since 1970; one beyond what those can say is
    /// the largest.
    fn date_ms(&self, name: &'static str) -> Result<Option<u64>, Refused> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match serde_json::from_str::<f64>(value.get()) {
            // The cast saturates.
            Ok(seconds) if seconds >= 0.0 => Ok(Some((seconds * 1000.0).floor() as u64)),
            _ => Err(Refused::WrongType(name)),
        }
    }
}

/// Whether `claims`, whose signature was right, satisfy `rules` at `now_ms` (milliseconds since
/// 1970).
///
/// # Errors
/// The first rule that does not hold, in this order: issuer, audience, `exp`, `nbf`, `iat`, `sub`,
/// scopes, claims, size.
pub fn check(
    claims: &TokenClaims,
    rules: &JwtAuthorizer,
    now_ms: u64,
) -> Result<Accepted, Refused> {
    let issuer = claims.string("iss")?.ok_or(Refused::Missing("iss"))?;
    if issuer != rules.issuer {
        return Err(Refused::Issuer);
    }
    check_audience(claims, &rules.audiences)?;

    let leeway_ms = u64::try_from(rules.leeway.as_millis()).unwrap_or(u64::MAX);
    let expires_at_ms =
        claims.date_ms("exp")?.ok_or(Refused::Missing("exp"))?.saturating_add(leeway_ms);
    if now_ms >= expires_at_ms {
        return Err(Refused::Expired);
    }
    let latest_ms = now_ms.saturating_add(leeway_ms);
    if claims.date_ms("nbf")?.is_some_and(|not_before_ms| not_before_ms > latest_ms) {
        return Err(Refused::NotYetValid);
    }
    if claims.date_ms("iat")?.is_some_and(|issued_at_ms| issued_at_ms > latest_ms) {
        return Err(Refused::IssuedInFuture);
    }

    // Who it is about becomes the principal, by which users are listed and reached. A token about
    // nobody would make all its bearers one.
    let principal = claims.string("sub")?.filter(|subject| !subject.is_empty());
    let principal = principal.ok_or(Refused::Missing("sub"))?;
    check_scopes(claims, &rules.required_scopes)?;
    for (name, required) in &rules.required_claims {
        if !claims.get(name).is_some_and(|value| is_or_contains(value, required)) {
            return Err(Refused::Claim(name.clone()));
        }
    }
    Ok(Accepted { principal, context: context(claims)?, expires_at_ms })
}

/// Access tokens of Amazon Cognito have no `aud`, but the `client_id` that they were issued to.
fn check_audience(claims: &TokenClaims, audiences: &[String]) -> Result<(), Refused> {
    let named = match claims.strings("aud")? {
        Some(named) => named,
        None => vec![claims.string("client_id")?.ok_or(Refused::Missing("aud"))?],
    };
    if named.iter().any(|name| audiences.contains(name)) { Ok(()) } else { Err(Refused::Audience) }
}

/// `scope` is a list parted by spaces (RFC 8693, 4.2). Some issuers write `scp` instead, and some
/// write either as a JSON list.
fn check_scopes(claims: &TokenClaims, required: &[String]) -> Result<(), Refused> {
    if required.is_empty() {
        return Ok(());
    }
    let mut granted = claims.strings("scope")?.unwrap_or_default();
    granted.extend(claims.strings("scp")?.unwrap_or_default());
    let has = |scope: &str| granted.iter().any(|some| some.split(' ').any(|one| one == scope));
    match required.iter().find(|scope| !has(scope)) {
        None => Ok(()),
        Some(scope) => Err(Refused::Scope(scope.clone())),
    }
}

fn is_or_contains(value: &RawValue, required: &str) -> bool {
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(list) => list.into_iter().any(|one| text(one) == required),
        Err(_) => text(value) == required,
    }
}

/// A string as it is, anything else as its JSON.
fn text(value: &RawValue) -> String {
    string(value).unwrap_or_else(|| value.get().to_owned())
}

/// Over the bound the token is refused: a claim left out could be the very one that a backend
/// decides by.
fn context(claims: &TokenClaims) -> Result<Vec<(String, String)>, Refused> {
    let mut context = Vec::with_capacity(claims.0.0.len());
    let mut bytes = 0;
    for (name, value) in &claims.0.0 {
        if value.get() == "null" || matches!(name.as_str(), "principalId" | "integrationLatency") {
            continue;
        }
        let value = text(value);
        bytes += name.len() + value.len();
        context.push((name.clone(), value));
    }
    if bytes > MAX_CONTEXT_BYTES { Err(Refused::ContextTooLarge) } else { Ok(context) }
}
