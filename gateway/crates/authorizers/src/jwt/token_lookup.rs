//! Where in an upgrade request the token is.
//!
//! In:  the request, and the places to look, in order.
//! Out: the token as it was sent.
//!
//! A browser can set no header of an upgrade but `Sec-WebSocket-Protocol`, whose entries may have
//! all characters that a JWT has. So an entry that starts with `bearer.` carries a token:
//!
//! ```js
//! new WebSocket(url, ["chat", `bearer.${token}`])
//! ```
//!
//! The other entries are the subprotocols that are really offered. There should be one: a browser
//! that offered something fails unless the 101 names one of its offers, and the token is never
//! named.

use tidegate_flow::context::UpgradeRequest;
use tidegate_model::TokenSource;

use super::JwtRefused;

const PROTOCOLS: &str = "sec-websocket-protocol";
const BEARER_ENTRY: &str = "bearer.";
const BEARER_SCHEME: &str = "bearer";

/// The token of the first source that has one. What is empty is not there.
pub(super) fn find<'r>(
    sources: &[TokenSource],
    upgrade: &'r UpgradeRequest,
) -> Result<&'r str, JwtRefused> {
    for source in sources {
        let found = match source {
            TokenSource::Header(name) => single(values(&upgrade.headers, name).map(without_scheme)),
            TokenSource::QueryString(name) => {
                let same = |(known, _): &&(String, String)| known == name;
                single(upgrade.query.iter().filter(same).map(|(_, value)| value.as_str()))
            }
            TokenSource::Subprotocol => single(
                values(&upgrade.headers, PROTOCOLS)
                    .flat_map(|value| value.split(','))
                    .filter_map(|entry| entry.trim().strip_prefix(BEARER_ENTRY)),
            ),
        };
        if let Some(token) = found? {
            return Ok(token);
        }
    }
    Err(JwtRefused::NoToken)
}

/// Leaves only the subprotocols that are really offered.
pub(super) fn strip_subprotocol(upgrade: &mut UpgradeRequest) {
    upgrade.headers.retain_mut(|(name, value)| {
        let carries = |entry: &str| entry.trim().starts_with(BEARER_ENTRY);
        if !name.eq_ignore_ascii_case(PROTOCOLS) || !value.split(',').any(carries) {
            return true;
        }
        let offered: Vec<&str> =
            value.split(',').map(str::trim).filter(|entry| !carries(entry)).collect();
        *value = offered.join(", ");
        !value.is_empty()
    });
}

fn values<'r>(headers: &'r [(String, String)], name: &str) -> impl Iterator<Item = &'r str> {
    headers
        .iter()
        .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// The only token among `candidates`, if there is any.
fn single<'r>(candidates: impl Iterator<Item = &'r str>) -> Result<Option<&'r str>, JwtRefused> {
    let mut tokens = candidates.filter(|token| !token.is_empty());
    match (tokens.next(), tokens.next()) {
        (token, None) => Ok(token),
        (_, Some(_)) => Err(JwtRefused::TokenTwice),
    }
}

/// RFC 6750, 2.1; the scheme may be left out, as clients of Amazon's JWT authorizers do.
fn without_scheme(value: &str) -> &str {
    let value = value.trim();
    match value.split_once([' ', '\t']) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(BEARER_SCHEME) => token.trim_start(),
        None if value.eq_ignore_ascii_case(BEARER_SCHEME) => "",
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn request(headers: &[(&str, &str)], query: &[(&str, &str)]) -> UpgradeRequest {
        UpgradeRequest { headers: owned(headers), query: owned(query), raw_query: String::new() }
    }

    fn sources() -> [TokenSource; 3] {
        [
            TokenSource::Header("Authorization".to_owned()),
            TokenSource::QueryString("token".to_owned()),
            TokenSource::Subprotocol,
        ]
    }

    fn found(headers: &[(&str, &str)], query: &[(&str, &str)]) -> Result<String, &'static str> {
        let request = request(headers, query);
        find(&sources(), &request).map(str::to_owned).map_err(|refused| refused.kind())
    }

    #[test]
    fn a_header_has_the_token_with_or_without_its_scheme() {
        for value in ["a.b.c", "Bearer a.b.c", "bearer  a.b.c", "BEARER\ta.b.c", " a.b.c "] {
            assert_eq!(found(&[("authorization", value)], &[]).as_deref(), Ok("a.b.c"), "{value}");
        }
        // Not ours to take apart: it fails as the token that it is not.
        assert_eq!(found(&[("Authorization", "Basic dTpw")], &[]).as_deref(), Ok("Basic dTpw"));
        assert_eq!(found(&[("Authorization", "bearera.b.c")], &[]).as_deref(), Ok("bearera.b.c"));
    }

    #[test]
    fn a_subprotocol_that_starts_with_bearer_and_a_dot_has_the_token() {
        let offered = |value: &str| found(&[("Sec-WebSocket-Protocol", value)], &[]);
        assert_eq!(offered("chat, bearer.a.b-_.c").as_deref(), Ok("a.b-_.c"));
        assert_eq!(offered("bearer.a.b.c").as_deref(), Ok("a.b.c"));
        assert_eq!(offered("bearer.,chat"), Err("no_token"));
        assert_eq!(offered("bearer, a.b.c"), Err("no_token"));
        assert_eq!(offered("bearer.a,bearer.b"), Err("token_twice"));
    }

    #[test]
    fn the_first_source_that_has_a_token_is_taken() {
        let query = [("token", "q"), ("Token", "other")];
        assert_eq!(found(&[("authorization", "h")], &query).as_deref(), Ok("h"));
        assert_eq!(found(&[], &query).as_deref(), Ok("q"));
        let protocol = [("sec-websocket-protocol", "bearer.p")];
        assert_eq!(found(&protocol, &[("token", "")]).as_deref(), Ok("p"));
        let empty = [("authorization", "Bearer "), protocol[0]];
        assert_eq!(found(&empty, &[]).as_deref(), Ok("p"));
    }

    #[test]
    fn a_missing_token_is_told_from_two() {
        assert_eq!(found(&[], &[]), Err("no_token"));
        assert_eq!(found(&[("authorization", ""), ("x", "a")], &[("t", "b")]), Err("no_token"));
        assert_eq!(
            found(&[("authorization", "a"), ("Authorization", "b")], &[]),
            Err("token_twice")
        );
        assert_eq!(found(&[], &[("token", "a"), ("token", "a")]), Err("token_twice"));
    }

    #[test]
    fn the_offers_that_are_left_have_no_token() {
        let stripped = |value: &str| {
            let mut request = request(&[("Host", "h"), ("Sec-WebSocket-Protocol", value)], &[]);
            strip_subprotocol(&mut request);
            assert_eq!(request.headers[0], ("Host".to_owned(), "h".to_owned()));
            request.headers.get(1).map(|(_, value)| value.clone())
        };
        assert_eq!(stripped("chat, bearer.a.b.c").as_deref(), Some("chat"));
        assert_eq!(stripped("bearer.a,v2.chat ,bearer.b,  v1").as_deref(), Some("v2.chat, v1"));
        assert_eq!(stripped("bearer.a.b.c"), None);
        assert_eq!(stripped("bearer.").as_deref(), None);
        assert_eq!(stripped("a,b,  c").as_deref(), Some("a,b,  c"), "as the client wrote it");
    }
}
