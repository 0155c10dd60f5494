//! Signature Version 4 on a call of the management API: who calls, where gateways want to know it
//! (`[management] auth = "sigv4"`), because this backend is on another machine than they are or
//! because a balancer stands between.
//!
//! In:  a request and its body, an access key. Out: the request with the headers that prove who
//!      sends it.
//!
//! Holds always: what is signed is the call's method, host, path, query, body and time.

use std::{error::Error, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign as sign_request},
    sign::v4::SigningParams,
};
use hyper::{Request, header::HeaderValue};

/// A gateway takes any region, and signatures must name one.
const REGION: &str = "us-east-1";
/// What API Gateway's own management API is called in signatures.
const SERVICE: &str = "execute-api";

/// An access key, as `[[management.credentials]]` of the gateway has it.
#[derive(Debug, Clone)]
pub struct AccessKey(Credentials);

impl AccessKey {
    /// By its id and its secret, which is in no debug output.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self(Credentials::new(id, secret, None, None, "chat"))
    }

    /// Signs a call to `host` (as in its `Host` header).
    pub(crate) fn sign<B>(
        &self,
        request: &mut Request<B>,
        host: &str,
        body: &[u8],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let identity = self.0.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name(SERVICE)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let target = request.uri().to_string();
        let headers = [("host", host)].into_iter();
        let body = SignableBody::Bytes(body);
        let signable = SignableRequest::new(request.method().as_str(), target, headers, body)?;
        let (instructions, _) = sign_request(signable, &params)?.into_parts();
        let (added, _) = instructions.into_parts();
        for header in added {
            request.headers_mut().insert(header.name(), HeaderValue::from_str(header.value())?);
        }
        Ok(())
    }
}
