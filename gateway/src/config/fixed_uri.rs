//! Uris outside the apis, where no stage is and so no stage variable: of an issuer, of a service.

use std::collections::BTreeMap;

use tidegate_model::{BackendUri, Endpoint, UriTemplate};

use super::{key_path::KeyPath, report::Report};

/// An `http://` or `https://` uri without variables.
pub(super) fn http_uri(text: &str, key: &KeyPath, report: &mut Report<'_>) -> Option<BackendUri> {
    if text.contains("${") {
        report.problem(key, "no stage is known here, so no stage variable can be used");
        return None;
    }
    let uri = UriTemplate::parse(text).and_then(|template| template.expand(&BTreeMap::new()));
    match uri {
        Ok(BackendUri { endpoint: Endpoint::Unix(_), .. }) => {
            report.problem(key, "a unix socket cannot be used here, expected http:// or https://");
            None
        }
        Ok(uri) => Some(uri),
        Err(error) => {
            report.problem(key, error);
            None
        }
    }
}
