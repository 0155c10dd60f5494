//! Where a call goes: the host, and what it is signed for.
//!
//! In:  `[aws]`, and what a uri says of partition, region, subdomain and service.
//! Out: an endpoint to connect to, and what `Host` says.
//!
//! Holds always: an endpoint that `[aws.endpoints]` names is the only one that calls of that
//! service go to, whatever region a uri says.

use http::HeaderValue;
use tidegate_model::{AwsSettings, BackendUri, Endpoint};

use super::services::{dns_suffix, service};

/// What a uri says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) partition: &'a str,
    pub(super) region: Option<&'a str>,
    pub(super) subdomain: Option<&'a str>,
    pub(super) service: &'a str,
}

/// Where calls of one service go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) endpoint: Endpoint,
    /// The `Host` header.
    pub(super) host: HeaderValue,
    /// What stands before the path of a call; without a `/` at its end.
    pub(super) base_path: String,
    /// Signed for.
    pub(super) region: String,
    /// Signed for.
    pub(super) signing_name: String,
}

impl Place {
    pub(super) fn of(wanted: Wanted<'_>, settings: &AwsSettings) -> Self {
        let known = service(wanted.service);
        let is_global = known.is_global && wanted.partition == "aws";
        let region = wanted.region.unwrap_or(&settings.region);
        let region = if is_global { "us-east-1" } else { region };
        let configured =
            [wanted.service, known.host].iter().find_map(|name| settings.endpoints.get(*name));
        let (endpoint, host, base_path) = match configured {
            Some(BackendUri { endpoint, authority, path, .. }) => {
                (endpoint.clone(), authority.clone(), path.trim_end_matches('/').to_owned())
            }
            None => {
                let suffix = dns_suffix(wanted.partition);
                let host = match is_global {
                    true => format!("{}.{suffix}", known.host),
                    false => format!("{}.{region}.{suffix}", known.host),
                };
                let address = with_subdomain(wanted.subdomain, &host);
                (Endpoint::Https(address, 443), host, String::new())
            }
        };
        Self {
            endpoint,
            host: HeaderValue::from_str(&with_subdomain(wanted.subdomain, &host))
                .expect("a checked uri's authority and words of letters, digits, - and . fit"),
            base_path,
            region: region.to_owned(),
            signing_name: known.signing_name.to_owned(),
        }
    }
}

/// An endpoint of the operator's is connected to as it is; the subdomain is told in `Host` only,
/// for it need not have a name for each.
fn with_subdomain(subdomain: Option<&str>, host: &str) -> String {
    match subdomain {
        Some(subdomain) => format!("{subdomain}.{host}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidegate_model::UriTemplate;

    use super::*;

    fn wanted<'a>(region: Option<&'a str>, service: &'a str) -> Wanted<'a> {
        Wanted { partition: "aws", region, subdomain: None, service }
    }

    fn settings(endpoints: &[(&str, &str)]) -> AwsSettings {
        let expanded = |uri: &str| UriTemplate::parse(uri)?.expand(&BTreeMap::new());
        let endpoint = |(service, uri): &(&str, &str)| ((*service).into(), expanded(uri).unwrap());
        let endpoints = endpoints.iter().map(endpoint).collect();
        AwsSettings { region: "eu-north-1".to_owned(), endpoints, ..AwsSettings::default() }
    }

    fn host(wanted: Wanted<'_>) -> (String, String) {
        let place = Place::of(wanted, &settings(&[]));
        let Endpoint::Https(host, 443) = place.endpoint else { panic!("{:?}", place.endpoint) };
        assert_eq!(place.host, host.as_str());
        (host, place.region)
    }

    fn owned(host: &str, region: &str) -> (String, String) {
        (host.to_owned(), region.to_owned())
    }

    #[test]
    fn without_an_endpoint_of_the_operators_amazons_of_the_region_is_called() {
        let region = Some("eu-west-1");
        for service in ["lambda", "sqs", "sns", "states", "events", "kinesis", "dynamodb"] {
            let expected = owned(&format!("{service}.eu-west-1.amazonaws.com"), "eu-west-1");
            assert_eq!(host(wanted(region, service)), expected);
        }
        assert_eq!(host(wanted(None, "sqs")), owned("sqs.eu-north-1.amazonaws.com", "eu-north-1"));
        let china = Wanted { partition: "aws-cn", ..wanted(Some("cn-north-1"), "sqs") };
        assert_eq!(host(china), owned("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"));
        let bucket = Wanted { subdomain: Some("pictures"), ..wanted(region, "s3") };
        assert_eq!(host(bucket), owned("pictures.s3.eu-west-1.amazonaws.com", "eu-west-1"));
        assert_eq!(host(wanted(region, "iam")), owned("iam.amazonaws.com", "us-east-1"));
    }

    #[test]
    fn an_endpoint_of_the_operators_is_called_for_all_regions() {
        let settings = settings(&[("sqs", "http://127.0.0.1:5000"), ("events", "http://h/aws/")]);
        for region in [None, Some("eu-west-1")] {
            let place = Place::of(wanted(region, "sqs"), &settings);
            assert_eq!(place.endpoint, Endpoint::Http("127.0.0.1".to_owned(), 5000));
            assert_eq!(place.host, "127.0.0.1:5000");
            assert_eq!((place.base_path.as_str(), place.signing_name.as_str()), ("", "sqs"));
            assert_eq!(place.region, region.unwrap_or("eu-north-1"));
        }
        let place = Place::of(wanted(None, "eventbridge"), &settings);
        assert_eq!((place.base_path.as_str(), place.signing_name.as_str()), ("/aws", "events"));
        let subdomain = Wanted { subdomain: Some("a"), ..wanted(None, "sqs") };
        let place = Place::of(subdomain, &settings);
        assert_eq!(place.endpoint, Endpoint::Http("127.0.0.1".to_owned(), 5000));
        assert_eq!(place.host, "a.127.0.0.1:5000");
    }
}
