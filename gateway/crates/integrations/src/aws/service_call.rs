//! A call to an AWS service other than a function (websocket-api, 6.2).
//!
//! In:  an `action` or `path` uri, once; then what is mapped and what the template made.
//! Out: the service's response as it is, whatever its status; the caller transforms it.
//!
//! ```text
//! action/PutItem   POST /   X-Amz-Target: DynamoDB_20120810.PutItem   JSON services
//! action/Publish   POST /   Action=Publish, unless the body has it    Query services
//! path/a/b         POST /a/b                                         any
//! ```
//!
//! Holds always: the message body goes out as it is given; what is mapped is over what is there by
//! default, and what a template overrides is over both.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, header};
use tidegate_flow::{request_parameters::MappedParameters, transformation::override_parameters};
use tidegate_model::{AwsCall, AwsServiceTarget, AwsUri, InvalidAwsUri};

use super::{
    Aws, AwsCallSettings,
    channel::Channel,
    place::{Place, Wanted},
    services::{Protocol, service},
    target::{Target, has_parameter},
};
use crate::{BackendPools, IntegrationError};

const AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// One service's action or path.
#[derive(Debug)]
pub struct ServiceCall {
    channel: Channel,
    method: Method,
    target: Target,
    content_type: HeaderValue,
    action: Action,
}

/// How the service learns what to do.
#[derive(Debug)]
enum Action {
    /// By path and body.
    Path,
    /// By a header.
    Header(HeaderValue),
    /// By parameters, in query or body.
    Parameters { name: String, version: Option<&'static str> },
}

impl ServiceCall {
    /// Resolves `uri` for a stage with these `variables`.
    ///
    /// # Errors
    /// The uri needs a variable that the stage does not define, is none once they are replaced, is
    /// that of a function, or has what HTTP does not allow in a request's target.
    pub fn compile(
        aws: &Arc<Aws>,
        uri: &AwsUri,
        method: &Method,
        variables: &BTreeMap<String, String>,
        settings: AwsCallSettings<'_>,
    ) -> Result<Self, InvalidAwsUri> {
        let invalid = || InvalidAwsUri::Form(uri.to_string());
        let AwsCall::Service { partition, region, subdomain, service: name, target } =
            uri.expand(variables)?
        else {
            return Err(invalid());
        };
        let wanted = Wanted {
            partition: &partition,
            region: region.as_deref(),
            subdomain: subdomain.as_deref(),
            service: &name,
        };
        let channel = Channel::new(Arc::clone(aws), Place::of(wanted, &aws.settings), settings);
        let base = channel.base_path();
        let protocol = service(&name).protocol;
        let (target, action, content_type) = match (target, protocol) {
            (AwsServiceTarget::Path { path, query }, protocol) => {
                let target = Target::new(&format!("{base}{path}"), query.as_deref());
                let content_type = match protocol {
                    // Their paths, such as a queue's, take the same parameters as their root.
                    Protocol::Query { version: Some(_) } => FORM,
                    Protocol::Query { version: None } | Protocol::Json { .. } => JSON,
                };
                (target, Action::Path, content_type)
            }
            (AwsServiceTarget::Action { name, query }, Protocol::Json { target, content_type }) => {
                let header = HeaderValue::from_str(&format!("{target}.{name}"));
                let header = header.expect("words of letters, digits and _ fit");
                let target = Target::new(&format!("{base}/"), query.as_deref());
                (target, Action::Header(header), HeaderValue::from_static(content_type))
            }
            (AwsServiceTarget::Action { name, query }, Protocol::Query { version }) => {
                let target = Target::new(&format!("{base}/"), query.as_deref());
                (target, Action::Parameters { name, version }, FORM)
            }
        };
        let target = target.ok_or_else(invalid)?;
        Ok(Self { channel, method: method.clone(), target, content_type, action })
    }

    /// Calls the service and waits for its whole answer.
    ///
    /// `body` is the request template's output, or the message; `mapped` comes of
    /// `request_parameters`, and `overrides` of the template, by the same names over it.
    ///
    /// # Errors
    /// No credentials, nothing usable mapped to a path parameter, or what a call to any backend
    /// can meet. A status that tells of an error is an answer.
    pub async fn call(
        &self,
        pools: &BackendPools,
        mut mapped: MappedParameters,
        overrides: MappedParameters,
        body: Bytes,
    ) -> Result<Response<Bytes>, IntegrationError> {
        override_parameters(&mut mapped, overrides);
        let mut own = Vec::with_capacity(2);
        if !body.is_empty() {
            own.push((header::CONTENT_TYPE, self.content_type.clone()));
        }
        let mut parameters: Vec<(&str, &str)> = Vec::new();
        match &self.action {
            Action::Path => {}
            Action::Header(target) => own.push((AMZ_TARGET, target.clone())),
            Action::Parameters { name, version } => {
                let given = |wanted: &str| {
                    has_parameter(&body, wanted)
                        || self.target.has_query(wanted)
                        || mapped.query.iter().any(|(name, _)| name == wanted)
                };
                let own = [("Action", Some(name.as_str())), ("Version", *version)];
                let missing = own.into_iter().filter(|(name, _)| !given(name));
                parameters.extend(missing.filter_map(|(name, value)| Some((name, value?))));
            }
        }
        let target = self.target.fill(&mapped, &parameters)?;
        let request = self.channel.request(self.method.clone(), target, own, &mapped.headers, body);
        self.channel.exchange(pools, request).await
    }
}
