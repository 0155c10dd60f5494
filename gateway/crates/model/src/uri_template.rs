//! Where a backend is, with stage variables in it.
//!
//! In:  a uri of the operator's, such as `http://${stageVariables.host}/messages/{room}`.
//! Out: an endpoint to connect to, and what the request line and the `Host` header say.
//!
//! Holds always: a [`BackendUri`] has visible ASCII only, so nothing in it can end a header line;
//! it has no userinfo and no fragment.

use std::{collections::BTreeMap, fmt, net::Ipv6Addr, str::FromStr};

use crate::{request_parameters::is_parameter_name, variable_text::VariableText};

/// Why a uri was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// `${` without `}`, or a variable that is no stage variable.
    #[error("`{0}`: only ${{stageVariables.NAME}} may stand in a uri")]
    Variable(String),
    /// The stage does not define a variable that the uri needs.
    #[error("`{uri}` needs the stage variable `{name}`, which the stage does not define")]
    Undefined {
        /// As written.
        uri: String,
        /// The variable.
        name: String,
    },
    /// Not http, https or unix, or without a host.
    #[error(
        "`{0}` is no backend: http://host[:port]/path, https://host[:port]/path or unix:/path/to.sock:/path"
    )]
    Form(String),
    /// `user:password@` before the host. The uri is not repeated: it would show the password.
    #[error(
        "a backend's uri has no user and password: map an Authorization header in request_parameters"
    )]
    UserInfo,
    /// `#`, which is never sent.
    #[error("`{0}` has a fragment, which is never sent: write %23 for a `#`")]
    Fragment(String),
    /// What follows the host's colon.
    #[error("`{0}` has no port of 1 to 65535 after the colon")]
    Port(String),
    /// A space, a control character or one beyond ASCII.
    #[error(
        "`{uri}` holds {character:?}, which a uri has percent-encoded (or, in a host, as punycode)"
    )]
    Character {
        /// With its variables replaced.
        uri: String,
        /// The first such character.
        character: char,
    },
}

/// A uri as written, `${stageVariables.NAME}` not yet replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    text: VariableText,
}

/// Where a backend listens; the key of a connection pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Plain HTTP over TCP: host (no brackets, lowercase) and port.
    Http(String, u16),
    /// HTTP over TLS: host (no brackets, lowercase) and port.
    Https(String, u16),
    /// Plain HTTP over a unix socket: the socket's absolute path.
    Unix(String),
}

/// A uri whose variables are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendUri {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// What the `Host` header says: host as written, with the port if one is written;
    /// `localhost` for a unix socket.
    pub authority: String,
    /// Starts with `/`. `{NAME}` in it is a path parameter.
    pub path: String,
    /// Without the `?`.
    pub query: Option<String>,
}

impl UriTemplate {
    /// Checks the variables' form, and the uri's own where it has no variables; the form of one
    /// that has some shows once they are replaced.
    ///
    /// # Errors
    /// What is wrong, with the uri named.
    pub fn parse(text: &str) -> Result<Self, InvalidUri> {
        let text = VariableText::parse(text).map_err(|bad| InvalidUri::Variable(bad.0))?;
        if !text.has_variables() {
            BackendUri::parse(text.as_str())?;
        }
        Ok(Self { text })
    }

    /// The uri as written.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// Replaces the variables and takes the uri apart. What a variable stands for is not looked
    /// at again for variables.
    ///
    /// # Errors
    /// [`InvalidUri::Undefined`] for a variable that is not in `variables`; otherwise what is
    /// wrong with the uri that results.
    pub fn expand(&self, variables: &BTreeMap<String, String>) -> Result<BackendUri, InvalidUri> {
        let uri = self.text.expand(variables).map_err(|missing| InvalidUri::Undefined {
            uri: self.as_str().to_owned(),
            name: missing.0,
        })?;
        BackendUri::parse(&uri)
    }
}

impl FromStr for UriTemplate {
    type Err = InvalidUri;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for UriTemplate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl BackendUri {
    /// Takes a uri without variables apart.
    fn parse(uri: &str) -> Result<Self, InvalidUri> {
        let form = || InvalidUri::Form(uri.to_owned());
        let (scheme, rest) = uri.split_once(':').ok_or_else(form)?;
        let secure = scheme.eq_ignore_ascii_case("https");
        if scheme.eq_ignore_ascii_case("unix") {
            Self::check_characters(uri)?;
            return Self::parse_unix(uri, rest);
        }
        if !secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(form());
        }
        let rest = rest.strip_prefix("//").ok_or_else(form)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        // First of all checks that name the uri, since a password must not reach a log.
        if authority.contains('@') {
            return Err(InvalidUri::UserInfo);
        }
        Self::check_characters(uri)?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or_else(form)?;
                let address: Ipv6Addr = host.parse().map_err(|_| form())?;
                let port = match after.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if after.is_empty() => None,
                    None => return Err(form()),
                };
                // One spelling per address, so that one backend has one pool.
                (address.to_string(), port)
            }
            None => {
                let (host, port) = match authority.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (authority, None),
                };
                let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
                if host.is_empty() || !host.bytes().all(allowed) {
                    return Err(form());
                }
                (host.to_ascii_lowercase(), port)
            }
        };
        let port = match port {
            None if secure => 443,
            None => 80,
            Some(port) => Some(port)
                .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0)
                .ok_or_else(|| InvalidUri::Port(uri.to_owned()))?,
        };
        let endpoint =
            if secure { Endpoint::Https(host, port) } else { Endpoint::Http(host, port) };
        Self::with_target(uri, endpoint, authority, target)
    }

    /// `rest` is `/path/to.sock:/path`; the first `:/` parts the two, so a socket's path has none.
    fn parse_unix(uri: &str, rest: &str) -> Result<Self, InvalidUri> {
        let (socket, target) = match rest.find(":/") {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        let is_path = socket.len() > 1 && socket.starts_with('/') && !socket.ends_with('/');
        if !is_path || socket.contains(['?', '#', ':']) {
            return Err(InvalidUri::Form(uri.to_owned()));
        }
        Self::with_target(uri, Endpoint::Unix(socket.to_owned()), "localhost", target)
    }

    /// `target` is what follows the authority: empty, or path and query.
    fn with_target(
        uri: &str,
        endpoint: Endpoint,
        authority: &str,
        target: &str,
    ) -> Result<Self, InvalidUri> {
        if target.contains('#') {
            return Err(InvalidUri::Fragment(uri.to_owned()));
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { endpoint, authority: authority.to_owned(), path: path.to_owned(), query })
    }

    fn check_characters(uri: &str) -> Result<(), InvalidUri> {
        match uri.chars().find(|c| !c.is_ascii_graphic()) {
            Some(character) => Err(InvalidUri::Character { uri: uri.to_owned(), character }),
            None => Ok(()),
        }
    }

    /// Whether the path has `{NAME}` in it, which mapped path parameters replace.
    pub fn has_path_parameters(&self) -> bool {
        // A `{` is looked for from each `}` backwards, so that `{{a}` has one.
        self.path.match_indices('}').any(|(end, _)| {
            self.path[..end].rfind(['{', '}']).is_some_and(|open| {
                self.path[open..].starts_with('{') && is_parameter_name(&self.path[open + 1..end])
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(text: &str) -> Result<BackendUri, InvalidUri> {
        UriTemplate::parse(text)?.expand(&BTreeMap::new())
    }

    fn with_variables(text: &str, variables: &[(&str, &str)]) -> Result<BackendUri, InvalidUri> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        UriTemplate::parse(text)?.expand(&variables.iter().map(owned).collect())
    }

    fn http(host: &str, port: u16) -> Endpoint {
        Endpoint::Http(host.to_owned(), port)
    }

    #[test]
    fn a_port_is_80_or_443_unless_it_is_written() {
        let uri = expand("http://backend/messages?a=1&b").unwrap();
        assert_eq!(uri.endpoint, http("backend", 80));
        assert_eq!(uri.authority, "backend");
        assert_eq!((uri.path.as_str(), uri.query.as_deref()), ("/messages", Some("a=1&b")));

        let uri = expand("HTTPS://Backend.example.com").unwrap();
        assert_eq!(uri.endpoint, Endpoint::Https("backend.example.com".to_owned(), 443));
        assert_eq!(uri.authority, "Backend.example.com");
        assert_eq!((uri.path.as_str(), uri.query), ("/", None));

        let uri = expand("http://a_b:80?x").unwrap();
        assert_eq!((uri.endpoint, uri.authority.as_str()), (http("a_b", 80), "a_b:80"));
        assert_eq!((uri.path.as_str(), uri.query.as_deref()), ("/", Some("x")));
    }

    #[test]
    fn an_ipv6_host_stands_in_brackets() {
        let uri = expand("http://[::1]:3000/x").unwrap();
        assert_eq!((uri.endpoint, uri.authority.as_str()), (http("::1", 3000), "[::1]:3000"));
        assert_eq!(expand("http://[0:0::1]/").unwrap().endpoint, http("::1", 80));
        for bad in ["http://[::1/", "http://::1/", "http://[::1]x/", "http://[a]/", "http://[]/"] {
            assert!(expand(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_unix_socket_and_a_path_are_parted_by_a_colon() {
        let uri = expand("unix:/run/app.sock:/messages?a=b:/c").unwrap();
        assert_eq!(uri.endpoint, Endpoint::Unix("/run/app.sock".to_owned()));
        assert_eq!(uri.authority, "localhost");
        assert_eq!((uri.path.as_str(), uri.query.as_deref()), ("/messages", Some("a=b:/c")));
        assert_eq!(expand("unix:/run/app.sock").unwrap().path, "/");
        for bad in
            ["unix:", "unix:/", "unix:app.sock:/x", "unix:/a.sock:x", "unix:/a?b", "unix:/a/"]
        {
            assert_eq!(expand(bad), Err(InvalidUri::Form(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn stage_variables_are_replaced_wherever_they_stand() {
        let variables = [("host", "10.0.0.1:8080"), ("v", "v2"), ("dollar", "${stageVariables.v}")];
        let uri =
            with_variables("http://${stageVariables.host}/${stageVariables.v}/{room}", &variables)
                .unwrap();
        assert_eq!((uri.endpoint, uri.path.as_str()), (http("10.0.0.1", 8080), "/v2/{room}"));
        let uri = with_variables("http://h/${stageVariables.dollar}", &variables).unwrap();
        assert_eq!(uri.path, "/${stageVariables.v}", "a value is not looked at again");
        let undefined = InvalidUri::Undefined {
            uri: "http://${stageVariables.Host}".to_owned(),
            name: "Host".to_owned(),
        };
        assert_eq!(with_variables("http://${stageVariables.Host}", &variables), Err(undefined));
    }

    #[test]
    fn only_stage_variables_may_stand_in_a_uri() {
        for bad in ["http://${host}/", "http://h/${context.stage}", "http://h/${stageVariables.}"] {
            let error = UriTemplate::parse(bad).unwrap_err();
            assert!(matches!(error, InvalidUri::Variable(_)), "{bad}: {error}");
        }
        let open = UriTemplate::parse("http://h/${stageVariables.a").unwrap_err();
        assert_eq!(open, InvalidUri::Variable("${stageVariables.a".to_owned()));
        assert_eq!(expand("http://h/$batch").unwrap().path, "/$batch");
    }

    #[test]
    fn what_is_no_backend_is_refused() {
        for bad in [
            "",
            "backend/path",
            "ftp://h/",
            "http:/h",
            "http:///path",
            "http://",
            "http://:80/",
            "http://a{b}/",
            "arn:aws:lambda:eu-west-1:123456789012:function:f",
        ] {
            assert_eq!(expand(bad), Err(InvalidUri::Form(bad.to_owned())), "{bad}");
        }
        for bad in ["http://h:/", "http://h:0/", "http://h:65536/", "http://h:+80/", "http://h:8:0"]
        {
            assert_eq!(expand(bad), Err(InvalidUri::Port(bad.to_owned())), "{bad}");
        }
        for bad in ["http://h/#top", "http://h#top", "unix:/a.sock:/#b"] {
            assert_eq!(expand(bad), Err(InvalidUri::Fragment(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = expand("http://user:hunter2@h ö/").unwrap_err();
        assert_eq!(error, InvalidUri::UserInfo);
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(expand("http://h/a@b").unwrap().path, "/a@b");
    }

    #[test]
    fn a_stage_variable_cannot_break_the_request_line() {
        let uri = "http://h/${stageVariables.a}";
        for (value, character) in [("a b", ' '), ("a\r\nX: y", '\r'), ("ä", 'ä'), ("\0", '\0')] {
            let refused = InvalidUri::Character { uri: format!("http://h/{value}"), character };
            assert_eq!(with_variables(uri, &[("a", value)]), Err(refused), "{value:?}");
        }
    }

    #[test]
    fn a_name_in_braces_in_the_path_is_a_path_parameter() {
        for (uri, expected) in [
            ("http://h/{room}", true),
            ("http://h/a/{room}/b", true),
            ("http://h/{{room}", true),
            ("http://h/{}", false),
            ("http://h/}{", false),
            ("http://h/{a/b}", false),
            ("http://h/?a={room}", false),
        ] {
            assert_eq!(expand(uri).unwrap().has_path_parameters(), expected, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn whatever_expands_is_fit_for_a_request(
            text in any::<String>(),
            tail in "[a-z:/?#@\\[\\]{}$. \\n0-9]{0,20}",
        ) {
            for uri in [text, format!("http://{tail}"), format!("unix:/{tail}")] {
                let Ok(uri) = expand(&uri) else { continue };
                prop_assert!(uri.path.starts_with('/'));
                let whole = format!("{}{}{}", uri.authority, uri.path, uri.query.as_deref().unwrap_or(""));
                prop_assert!(whole.bytes().all(|b| b.is_ascii_graphic() && b != b'#'));
                prop_assert!(!uri.authority.contains('@'));
            }
        }
    }
}
