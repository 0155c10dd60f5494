//! A web server that is a function: it takes proxy events and answers proxy responses.
//!
//! In:  events POSTed by an `aws_proxy` integration (tidegate, section 4).
//! Out: the events in order of arrival; to the gateway, what the handler says.
//!
//! Holds always: as [`HttpBackend`]; whatever is POSTed here must be JSON.

use std::{future::Future, sync::Mutex, sync::PoisonError, time::Duration};

use serde_json::Value;

use crate::{Answer, DEADLINE, HttpBackend, RecordedRequest, wait_until};

/// What a function does with one event.
#[derive(Debug, Clone)]
pub struct FunctionAnswer(Answer);

impl FunctionAnswer {
    /// A function error: what stands for a thrown exception.
    pub fn error() -> Self {
        Self(Answer::status(500).body(r#"{"errorMessage":"boom","errorType":"Error"}"#))
    }

    /// Status 200 with a body that need not be a proxy response, nor JSON.
    pub fn raw(body: impl Into<Vec<u8>>) -> Self {
        Self(Answer::body_of(body))
    }

    /// Never answers.
    pub fn stall() -> Self {
        Self(Answer::stall())
    }

    /// The same, begun this much later.
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.after(delay))
    }
}

impl From<Value> for FunctionAnswer {
    /// A proxy response (websocket-api, 4.4), or any other JSON that a function may return.
    fn from(response: Value) -> Self {
        let json = Answer::ok().header("Content-Type", "application/json");
        Self(json.body(response.to_string()))
    }
}

impl From<Answer> for FunctionAnswer {
    /// Any HTTP answer at all.
    fn from(answer: Answer) -> Self {
        Self(answer)
    }
}

/// The function. Dropping it closes its port.
#[derive(Debug)]
pub struct FunctionBackend {
    http: HttpBackend,
    /// How many events [`Self::next_event`] has given out, by event type.
    given: Mutex<std::collections::HashMap<String, usize>>,
}

impl FunctionBackend {
    /// Starts with a handler `event -> answer`: a proxy response as JSON, or a [`FunctionAnswer`].
    pub async fn start<A: Into<FunctionAnswer>>(
        handler: impl Fn(Value) -> A + Send + Sync + 'static,
    ) -> Self {
        Self::start_async(move |event| std::future::ready(handler(event).into())).await
    }

    /// Starts with a handler that may wait: for a gate, or for a call back to the gateway.
    pub async fn start_async<F>(handler: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = FunctionAnswer> + Send + 'static,
    {
        let respond = move |request: RecordedRequest| {
            let answer = handler(request.json());
            async move { answer.await.0 }
        };
        Self { http: HttpBackend::start(respond).await, given: Mutex::default() }
    }

    /// `{"statusCode": 200}` to everything.
    pub async fn accepting() -> Self {
        Self::start(|_| serde_json::json!({ "statusCode": 200 })).await
    }

    /// Where events are to be POSTed.
    pub fn url(&self) -> String {
        format!("{}/function", self.http.url())
    }

    /// The web server below, with the raw requests.
    pub fn http(&self) -> &HttpBackend {
        &self.http
    }

    /// Every event so far, in order of arrival.
    pub fn events(&self) -> Vec<Value> {
        self.http.requests().iter().map(RecordedRequest::json).collect()
    }

    /// Every event so far of one type: `CONNECT`, `MESSAGE`, `DISCONNECT`.
    pub fn events_of(&self, event_type: &str) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|event| event["requestContext"]["eventType"] == event_type);
        events
    }

    /// Waits until `count` events of a type have arrived in all; returns all of that type.
    ///
    /// # Panics
    /// When they do not arrive within [`DEADLINE`].
    pub async fn wait_for_events(&self, event_type: &str, count: usize) -> Vec<Value> {
        let what = format!("{count} {event_type} events at the function");
        wait_until(DEADLINE, &what, async || self.events_of(event_type).len() >= count).await;
        self.events_of(event_type)
    }

    /// The first event of a type that this method has not returned yet.
    ///
    /// # Panics
    /// When none arrives within [`DEADLINE`].
    pub async fn next_event(&self, event_type: &str) -> Value {
        let index = {
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            let count = given.entry(event_type.to_owned()).or_default();
            *count += 1;
            *count - 1
        };
        self.wait_for_events(event_type, index + 1).await.swap_remove(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_call;
    use serde_json::json;

    fn event(event_type: &str, number: u32) -> Vec<u8> {
        json!({ "requestContext": { "eventType": event_type }, "n": number }).to_string().into()
    }

    #[tokio::test]
    async fn events_are_handed_out_by_type_in_order() {
        let function =
            FunctionBackend::start(|event| json!({ "statusCode": 200, "body": event["n"] })).await;
        for (number, event_type) in ["CONNECT", "MESSAGE", "MESSAGE"].into_iter().enumerate() {
            let sent = event(event_type, number as u32);
            let answer = http_call(&function.url(), "POST", "/function", &[], &sent).await;
            assert_eq!(answer.json(), json!({ "statusCode": 200, "body": number }));
        }
        assert_eq!(function.next_event("MESSAGE").await["n"], 1);
        assert_eq!(function.next_event("MESSAGE").await["n"], 2);
        assert_eq!(function.next_event("CONNECT").await["n"], 0);
        assert_eq!(function.events().len(), 3);
    }

    #[tokio::test]
    async fn a_function_error_is_no_200() {
        let function = FunctionBackend::start(|_| FunctionAnswer::error()).await;
        let answer =
            http_call(&function.url(), "POST", "/function", &[], &event("MESSAGE", 1)).await;
        assert_eq!(answer.status, 500);
    }
}
