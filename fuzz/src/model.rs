//! Targets for `tidegate-model`. (Those whose rules `tidegate-flow` applies are in `flow`.)

use std::collections::BTreeMap;

use tidegate_model::{AwsCall, AwsServiceTarget, AwsUri};

/// The first line is a uri, the rest what its stage variables `a` and `b` stand for, a line each:
/// whatever expands names a host of AWS's, and is fit for a request line.
pub fn aws_uri(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let Ok(uri) = AwsUri::parse(lines.next().unwrap_or_default()) else { return };
    assert_eq!(AwsUri::parse(uri.as_str()).as_ref(), Ok(&uri));
    let named = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let variables: BTreeMap<_, _> = ["a", "b"].into_iter().zip(lines).map(named).collect();
    let Ok(call) = uri.expand(&variables) else { return };
    let is_host = |text: &str| {
        let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        !text.is_empty() && text.bytes().all(is_part)
    };
    match call {
        AwsCall::Lambda { partition, region, function, qualifier } => {
            assert!(is_host(&partition) && region.as_deref().is_none_or(is_host));
            let whole = function + qualifier.as_deref().unwrap_or_default();
            assert!(whole.bytes().all(|b| b.is_ascii_graphic() && !b"/?#%&".contains(&b)));
        }
        AwsCall::Service { partition, region, subdomain, service, target } => {
            assert!(is_host(&partition) && region.as_deref().is_none_or(is_host));
            assert!(is_host(&service) && subdomain.as_deref().is_none_or(is_host));
            let (path, query) = match target {
                AwsServiceTarget::Action { name, query } => (format!("/{name}"), query),
                AwsServiceTarget::Path { path, query } => (path, query),
            };
            assert!(path.starts_with('/') && !path.starts_with("//") && !path.contains('?'));
            let whole = path + query.as_deref().unwrap_or_default();
            assert!(whole.bytes().all(|b| b.is_ascii_graphic() && b != b'#'));
        }
    }
}
