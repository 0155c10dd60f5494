//! A server that is AWS Lambda's Invoke API, as far as its callers look (clients, section 6).
//!
//! In:  signed calls, a handler `invocation -> answer`.
//! Out: to the caller, what Lambda answers; to the test, the requests.
//!
//! Holds always: as [`HttpBackend`]; a call that is not signed for `lambda` in the region of its
//! function by [`Signer::new`]`("AKIDTEST", "test")` is answered 403 and reaches no handler.

use serde_json::{Value, json};

use crate::{Answer, HttpBackend, RecordedRequest, Signer};

const START: &str = "/2015-03-31/functions/";
const END: &str = "/invocations";

/// One call of one function.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Its ARN or name, decoded, without the qualifier.
    pub function: String,
    /// `?Qualifier=`: a version or an alias.
    pub qualifier: Option<String>,
    /// What the function gets.
    pub payload: Vec<u8>,
}

impl Invocation {
    /// The payload as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("a payload in JSON")
    }
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub struct InvokeAnswer(Answer);

impl InvokeAnswer {
    /// The function returned these bytes.
    pub fn returned(payload: impl Into<Vec<u8>>) -> Self {
        Self(Answer::body_of(payload).header("X-Amz-Executed-Version", "$LATEST"))
    }

    /// The function threw: still 200, with `X-Amz-Function-Error`.
    pub fn threw(message: &str) -> Self {
        let error =
            json!({ "errorMessage": message, "errorType": "Error", "trace": ["Error: ..."] });
        Self::returned(error.to_string()).with_header("X-Amz-Function-Error", "Unhandled")
    }

    /// Lambda itself refuses: `refused(404, "ResourceNotFoundException")`.
    pub fn refused(status: u16, error_type: &str) -> Self {
        let body = json!({ "Message": "a message of the service's", "Type": "User" });
        Self(Answer::status(status).body(body.to_string()))
            .with_header("x-amzn-ErrorType", error_type)
    }

    /// Never comes.
    pub fn stall() -> Self {
        Self(Answer::stall())
    }

    fn with_header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }
}

impl From<Value> for InvokeAnswer {
    /// The function returned this.
    fn from(returned: Value) -> Self {
        Self::returned(returned.to_string())
    }
}

/// The server. Dropping it closes its port.
#[derive(Debug)]
pub struct LambdaBackend {
    http: HttpBackend,
}

impl LambdaBackend {
    /// Starts with a handler. A call with `X-Amz-Invocation-Type: Event` reaches it too, and is
    /// answered 202 without a body.
    pub async fn start<A: Into<InvokeAnswer>>(
        handler: impl Fn(Invocation) -> A + Send + Sync + 'static,
    ) -> Self {
        let respond = move |request: RecordedRequest| {
            let answer = answer(&request, |invocation| handler(invocation).into());
            std::future::ready(answer.0)
        };
        Self { http: HttpBackend::start(respond).await }
    }

    /// What `[aws.endpoints]` takes as `lambda`.
    pub fn url(&self) -> String {
        self.http.url()
    }

    /// The web server below, with the raw requests.
    pub fn http(&self) -> &HttpBackend {
        &self.http
    }
}

fn answer(
    request: &RecordedRequest,
    handler: impl FnOnce(Invocation) -> InvokeAnswer,
) -> InvokeAnswer {
    let name = request.path.strip_prefix(START).and_then(|rest| rest.strip_suffix(END));
    let (Some(name), "POST") = (name, request.method.as_str()) else {
        return InvokeAnswer::refused(404, "UnknownOperationException");
    };
    let function = decoded(name);
    let region = function.split(':').nth(3).unwrap_or("us-east-1").to_owned();
    let signer = Signer { service: "lambda".to_owned(), region, ..Signer::new("AKIDTEST", "test") };
    if signer.objection(request).is_some() {
        return InvokeAnswer::refused(403, "InvalidSignatureException");
    }
    let qualifier = request.query.as_deref().and_then(|query| query.strip_prefix("Qualifier="));
    let answer = handler(Invocation {
        function,
        qualifier: qualifier.map(decoded),
        payload: request.body.clone(),
    });
    match request.header("x-amz-invocation-type") {
        Some("Event") => InvokeAnswer(Answer::status(202)),
        _ => answer,
    }
}

/// Percent-decoded; what is no encoding stays.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpResponse, http_call};
    use std::time::SystemTime;

    const TARGET: &str = "/2015-03-31/functions/\
        arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Achat/invocations?Qualifier=live";

    async fn call(lambda: &LambdaBackend, region: &str, secret: &str) -> HttpResponse {
        let host = lambda.http.address().to_string();
        let signer = Signer {
            service: "lambda".to_owned(),
            region: region.to_owned(),
            ..Signer::new("AKIDTEST", secret)
        };
        let added = signer.sign("POST", TARGET, &[("Host", &host)], b"{}", SystemTime::now());
        let headers: Vec<_> = added.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        http_call(&lambda.url(), "POST", TARGET, &headers, b"{}").await
    }

    #[tokio::test]
    async fn a_call_that_is_signed_for_the_functions_region_reaches_the_handler() {
        let lambda = LambdaBackend::start(|invocation| {
            assert_eq!(invocation.function, "arn:aws:lambda:eu-west-1:123456789012:function:chat");
            assert_eq!(invocation.qualifier.as_deref(), Some("live"));
            json!({ "got": invocation.event() })
        })
        .await;
        let answer = call(&lambda, "eu-west-1", "test").await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "got": {} })));
        assert_eq!(call(&lambda, "eu-west-1", "other").await.status, 403);
        assert_eq!(call(&lambda, "us-east-1", "test").await.status, 403);
    }

    #[tokio::test]
    async fn what_a_function_throws_is_a_200_with_a_header() {
        let lambda = LambdaBackend::start(|_| InvokeAnswer::threw("boom")).await;
        let answer = call(&lambda, "eu-west-1", "test").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-amz-function-error"), Some("Unhandled"));
        assert_eq!(answer.json()["errorMessage"], "boom");
    }
}
