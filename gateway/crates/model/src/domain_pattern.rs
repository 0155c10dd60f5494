//! Hosts that an api answers to, and origins that it admits.

use std::{fmt, str::FromStr};

/// Why a domain or origin was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDomainPattern {
    /// Not a host name, nor one behind `*.`.
    #[error("`{0}` is no domain: a host name such as chat.example.com or *.example.com")]
    Domain(String),
    /// Not an origin.
    #[error(
        "`{0}` is no origin: scheme and host such as https://chat.example.com, without a path; `*.` may stand before the host"
    )]
    Origin(String),
}

/// One of an api's `domains`: an exact host, or `*.` and a host, which covers exactly one more
/// label (as certificates do). Compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DomainPattern {
    /// `chat.example.com`, lower case.
    Exact(String),
    /// `*.example.com`, kept as `example.com`, lower case.
    Wildcard(String),
}

impl DomainPattern {
    /// Whether `host` (no port) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Wildcard(parent) => host.split_once('.').is_some_and(|(label, rest)| {
                !label.is_empty() && parent.eq_ignore_ascii_case(rest)
            }),
        }
    }
}

impl FromStr for DomainPattern {
    type Err = InvalidDomainPattern;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, text),
        };
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(InvalidDomainPattern::Domain(text.to_owned()));
        }
        let name = name.to_ascii_lowercase();
        Ok(if wildcard { Self::Wildcard(name) } else { Self::Exact(name) })
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => out.write_str(name),
            Self::Wildcard(parent) => write!(out, "*.{parent}"),
        }
    }
}

/// One of an api's `allowed_origins` (RFC 6454, 6.2): scheme, host and port, where `*.` before
/// the host covers exactly one more label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: String,
    host: DomainPattern,
    port: Option<u16>,
}

impl OriginPattern {
    /// Whether the value of an `Origin` header is admitted.
    pub fn matches(&self, origin: &str) -> bool {
        split_origin(origin).is_some_and(|(scheme, host, port)| {
            self.scheme.eq_ignore_ascii_case(scheme) && self.port == port && self.host.matches(host)
        })
    }
}

impl FromStr for OriginPattern {
    type Err = InvalidDomainPattern;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDomainPattern::Origin(text.to_owned());
        let (scheme, host, port) = split_origin(text).ok_or_else(invalid)?;
        let host = host.parse().map_err(|_| invalid())?;
        Ok(Self { scheme: scheme.to_ascii_lowercase(), host, port })
    }
}

/// Scheme, host and port; a port that is the scheme's own is left out.
fn split_origin(text: &str) -> Option<(&str, &str, Option<u16>)> {
    let (scheme, authority) = text.split_once("://")?;
    if scheme.is_empty() || authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (authority, None),
    };
    let own = match scheme {
        "https" | "wss" => Some(443),
        "http" | "ws" => Some(80),
        _ => None,
    };
    Some((scheme, host, port.filter(|_| port != own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> DomainPattern {
        text.parse().expect("a domain")
    }

    fn origin(text: &str) -> OriginPattern {
        text.parse().expect("an origin")
    }

    #[test]
    fn a_wildcard_covers_exactly_one_whole_label() {
        let pattern = domain("*.example.com");
        assert!(pattern.matches("a.example.com") && pattern.matches("A.Example.COM"));
        for host in ["example.com", "a.b.example.com", "badexample.com", ".example.com"] {
            assert!(!pattern.matches(host), "{host}");
        }
    }

    #[test]
    fn an_origin_matches_by_scheme_host_and_port() {
        let pattern = origin("https://*.example.com");
        assert!(pattern.matches("https://chat.example.com"));
        assert!(pattern.matches("https://chat.example.com:443"));
        for other in [
            "http://chat.example.com",
            "https://chat.example.com:8443",
            "https://evil-example.com",
            "https://chat.example.com.evil.org",
            "null",
            "https://chat.example.com/path",
        ] {
            assert!(!pattern.matches(other), "{other}");
        }
        assert!(origin("http://localhost:3000").matches("http://localhost:3000"));
    }

    #[test]
    fn what_is_no_domain_or_origin_is_refused() {
        for bad in ["", "*", "*.", "a..b", "a b", "*.*.com", "-a.com"] {
            assert!(bad.parse::<DomainPattern>().is_err(), "{bad}");
        }
        for bad in ["", "example.com", "https://", "https://a/b", "https://a:port"] {
            assert!(bad.parse::<OriginPattern>().is_err(), "{bad}");
        }
    }
}
