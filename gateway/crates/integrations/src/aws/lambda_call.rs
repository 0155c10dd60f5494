//! Lambda's Invoke API (clients, section 6).
//!
//! In:  a function's uri, once; then an event, and headers mapped into the call.
//! Out: what the function returned, or how it failed, or why it was not invoked.
//!
//! Holds always: an event is sent at most once; what Lambda refuses is told apart from what the
//! function throws.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use percent_encoding::utf8_percent_encode;
use tidegate_model::{AwsCall, AwsUri, InvalidAwsUri};

use super::{
    Aws, AwsCallSettings,
    channel::Channel,
    place::{Place, Wanted},
};
use crate::{BackendPools, FunctionFailure, IntegrationError, path_parameters::VALUE};

const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A function that is invoked by the Invoke API of Lambda, or of something compatible.
#[derive(Debug)]
pub struct LambdaCall {
    channel: Channel,
    target: Uri,
    /// For error messages.
    function: String,
}

impl LambdaCall {
    /// Resolves `uri` for a stage with these `variables`.
    ///
    /// # Errors
    /// The uri needs a variable that the stage does not define, is none once they are replaced,
    /// or is that of another service.
    pub fn compile(
        aws: &Arc<Aws>,
        uri: &AwsUri,
        variables: &BTreeMap<String, String>,
        settings: AwsCallSettings<'_>,
    ) -> Result<Self, InvalidAwsUri> {
        let invalid = || InvalidAwsUri::Form(uri.to_string());
        let AwsCall::Lambda { partition, region, function, qualifier } = uri.expand(variables)?
        else {
            return Err(invalid());
        };
        let (partition, region) = (partition.as_str(), region.as_deref());
        let wanted = Wanted { partition, region, subdomain: None, service: "lambda" };
        let channel = Channel::new(Arc::clone(aws), Place::of(wanted, &aws.settings), settings);
        let encoded = utf8_percent_encode(&function, VALUE);
        let mut target =
            format!("{}/2015-03-31/functions/{encoded}/invocations", channel.base_path());
        if let Some(qualifier) = qualifier {
            target.push_str("?Qualifier=");
            target.extend(utf8_percent_encode(&qualifier, VALUE));
        }
        let target = target.parse().map_err(|_| invalid())?;
        Ok(Self { channel, target, function })
    }

    /// Invokes the function with `payload` as its event, and waits for what it returns.
    ///
    /// `mapped` headers go along, such as `X-Amz-Client-Context`. With `X-Amz-Invocation-Type`
    /// `Event` among them Lambda queues the event, and the answer is empty.
    ///
    /// # Errors
    /// [`IntegrationError::FunctionFailed`] when the function throws, ends or exceeds its own
    /// timeout; [`IntegrationError::Throttled`] and [`IntegrationError::NotInvokable`] when Lambda
    /// does not run it; else what a call to any backend can meet.
    pub async fn invoke(
        &self,
        pools: &BackendPools,
        payload: Bytes,
        mapped: &[(HeaderName, String)],
    ) -> Result<Bytes, IntegrationError> {
        let own = [(header::CONTENT_TYPE, JSON)];
        let target = self.target.clone();
        let request = self.channel.request(Method::POST, target, own, mapped, payload);
        let response = self.channel.exchange(pools, request).await?;
        self.answer(response)
    }

    fn answer(&self, response: Response<Bytes>) -> Result<Bytes, IntegrationError> {
        let (head, payload) = response.into_parts();
        match head.status {
            StatusCode::OK if head.headers.contains_key(FUNCTION_ERROR) => {
                Err(IntegrationError::FunctionFailed(FunctionFailure::from_payload(payload)))
            }
            StatusCode::OK => Ok(payload),
            // Of an Event and of a DryRun, of which nothing comes back.
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(Bytes::new()),
            StatusCode::TOO_MANY_REQUESTS => Err(IntegrationError::Throttled),
            status => Err(IntegrationError::NotInvokable {
                function: self.function.clone(),
                status,
                error_type: error_type(&head.headers),
            }),
        }
    }
}

/// The class of an AWS service's error. Some write `Class:http://…`.
fn error_type(headers: &HeaderMap) -> String {
    let text = headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let class = text.split(':').next().unwrap_or_default();
    class.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}
