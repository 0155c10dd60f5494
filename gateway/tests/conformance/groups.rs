//! `@groups`: who is in, what they get, how many they were (tidegate, sections 5 and 6;
//! reliability, lines 21, 22 and 25).
//!
//! In:  clients that join by the query of their upgrade, calls of the management API.
//! Out: status and body of each call, what each member got, close codes.
//!
//! Holds always: a [`Member`] greets with its id, so that tests know who is who without asking the
//! backend; a call that changes nothing is followed by a look at who is left.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tidegate_testkit::{
    Client, DEADLINE, FunctionBackend, GatewayToml, HttpClient, HttpResponse, RawClient,
    TestGateway, http_call, wait_until, within,
};

use crate::{assert_id, start, text};

/// Of the shape of a connection id, and nobody's.
pub(crate) const NOBODY: &str = "L0SM9cOFvHcCIhw=";

/// A gateway whose clients join and leave by what they say, and its function.
pub(crate) struct Rooms {
    pub(crate) gateway: TestGateway,
    pub(crate) function: FunctionBackend,
}

/// One client, and its connection's id.
pub(crate) struct Member {
    pub(crate) client: Client,
    pub(crate) id: String,
}

/// Greets each client with its id and answers to `$connect` what `?join=` and `?leave=` ask for, to
/// a message its `answer`.
pub(crate) fn obey(event: &Value) -> Value {
    let query = &event["queryStringParameters"];
    match event["requestContext"]["eventType"].as_str() {
        Some("CONNECT") => {
            let mut headers = json!({ "Tidegate-Reply": event["requestContext"]["connectionId"] });
            for (parameter, header) in [("join", "Tidegate-Join"), ("leave", "Tidegate-Leave")] {
                if let Some(groups) = query[parameter].as_str() {
                    headers[header] = groups.into();
                }
            }
            json!({ "statusCode": 200, "headers": headers })
        }
        Some("MESSAGE") => {
            let body: Value = serde_json::from_str(text(&event["body"])).expect("JSON");
            body["answer"].clone()
        }
        _ => json!({ "statusCode": 200 }),
    }
}

impl Rooms {
    pub(crate) async fn start() -> Self {
        Self::start_with(|toml| toml).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(GatewayToml) -> GatewayToml) -> Self {
        let function = FunctionBackend::start(|event| obey(&event)).await;
        let toml = GatewayToml::new()
            .function("rooms", &function.url())
            .route("$connect", "rooms")
            .route("$disconnect", "rooms")
            .route("one-way", "rooms")
            .two_way("$default", "rooms");
        let gateway = start(&change(toml)).await;
        Self { gateway, function }
    }

    /// Connects to stage `prod` of the api `test`.
    pub(crate) async fn member(&self, query: &str) -> Member {
        self.member_at(&format!("prod?{query}"), "test.localhost").await
    }

    /// Connects to a stage, with a query, of the api that the host names.
    pub(crate) async fn member_at(&self, stage: &str, host: &str) -> Member {
        let host = [("Host", host)];
        let mut client = Client::connect_with(&self.gateway.ws_url(stage), &host, &[]).await;
        let id = client.next_text().await;
        assert_id(&id);
        Member { client, id }
    }

    /// Connects several at once.
    pub(crate) async fn members(&self, count: usize, query: &str) -> Vec<Member> {
        let connecting = stream::iter(0..count).map(|_| self.member(query));
        connecting.buffer_unordered(32).collect().await
    }

    /// A call to the api `test`.
    pub(crate) async fn call(&self, method: &str, target: &str, body: &[u8]) -> HttpResponse {
        self.call_with(method, target, &[], body).await
    }

    pub(crate) async fn call_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> HttpResponse {
        let host = [("Host", "test.localhost")];
        let headers: Vec<_> = host.iter().chain(headers).copied().collect();
        http_call(&self.gateway.http_url(), method, target, &headers, body).await
    }

    /// A call that is answered 200 and JSON.
    pub(crate) async fn ok(&self, method: &str, target: &str, body: &[u8]) -> Value {
        json_of(&self.call(method, target, body).await)
    }

    /// How many members a group says that it has.
    pub(crate) async fn count(&self, group: &str) -> u64 {
        let body = self.ok("GET", &format!("/prod/@groups/{group}"), b"").await;
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
        body["connections"].as_u64().expect("a number")
    }

    /// All pages of a list, checked: the ids in the order they came, and how many pages.
    pub(crate) async fn pages(&self, list: &str, limit: Option<usize>) -> (Vec<String>, usize) {
        let (mut all, mut pages, mut cursor) = (Vec::new(), 0, None::<String>);
        loop {
            let limit_text = limit.map(|limit| format!("limit={limit}"));
            let cursor_text = cursor.as_ref().map(|cursor| format!("cursor={cursor}"));
            let query: Vec<_> = limit_text.into_iter().chain(cursor_text).collect();
            let page = self.ok("GET", &format!("{list}?{}", query.join("&")), b"").await;
            let ids = ids_of(&page);
            assert!(ids.len() <= limit.unwrap_or(100), "{page}");
            pages += 1;
            all.extend(ids);
            match page.get("cursor") {
                Some(next) => cursor = Some(text(next).to_owned()),
                None => return (all, pages),
            }
        }
    }
}

impl Member {
    /// Whether nothing came since it was looked at last: what comes now was sent by the gateway
    /// after everything that had been sent before the ping.
    pub(crate) async fn got_nothing(&mut self) {
        self.client.ping_pong().await;
    }

    /// Says something and waits for the two-way answer.
    pub(crate) async fn ask(&mut self, answer: &Value) -> String {
        self.client.send_text(&json!({ "action": "any", "answer": answer }).to_string()).await;
        self.client.next_text().await
    }
}

/// The body of a 200 in JSON.
pub(crate) fn json_of(response: &HttpResponse) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"), "{response:?}");
    response.json()
}

/// `connectionIds` of a page.
pub(crate) fn ids_of(page: &Value) -> Vec<String> {
    let ids = page["connectionIds"].as_array().unwrap_or_else(|| panic!("a list in {page}"));
    ids.iter().map(|id| text(id).to_owned()).collect()
}

/// What a send to so many is answered by one node.
pub(crate) fn sent_to(recipients: usize) -> Value {
    json!({ "recipients": recipients, "nodes": usize::from(recipients > 0) })
}

/// 400 as SDKs read it; the message.
pub(crate) fn assert_bad_request(response: &HttpResponse) -> String {
    assert_eq!(response.status, 400, "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some("BadRequestException"), "{response:?}");
    text(&response.json()["message"]).to_owned()
}

pub(crate) fn assert_gone(response: &HttpResponse) {
    assert_eq!((response.status, response.text()), (410, ""), "{response:?}");
    assert_eq!(response.header("x-amzn-errortype"), Some("GoneException"));
}

/// Status 204, and nothing with it.
pub(crate) fn assert_done(response: &HttpResponse) {
    assert_eq!((response.status, response.text()), (204, ""), "{response:?}");
}

/// `POST /{stage}/@groups/{group}`.
#[tokio::test]
async fn a_group_send_reaches_each_member_once_and_says_how_many() {
    let rooms = Rooms::start().await;
    let (mut a, mut b) = (rooms.member("join=red").await, rooms.member("join=red,blue").await);
    let mut stranger = rooms.member("join=blue").await;
    for body in ["hello", "{\"a\": \"grüße 😀\"}\n", "", "\u{0}"] {
        let response = rooms.call("POST", "/prod/@groups/red", body.as_bytes()).await;
        assert_eq!(json_of(&response), sent_to(2));
        assert_id(response.header("x-amzn-requestid").expect("a request id"));
        for member in [&mut a, &mut b] {
            assert_eq!(member.client.next_text().await, body);
        }
    }
    assert_eq!(rooms.ok("POST", "/prod/@groups/blue", b"blue").await, sent_to(2));
    assert_eq!(b.client.next_text().await, "blue");
    assert_eq!(stranger.client.next_text().await, "blue");
    for member in [&mut a, &mut b, &mut stranger] {
        member.got_nothing().await;
    }
}

/// `?except=`, which may stand there several times.
#[tokio::test]
async fn those_who_are_excepted_get_nothing_and_do_not_count() {
    let rooms = Rooms::start().await;
    let mut members = rooms.members(4, "join=red").await;
    let outside = rooms.member("").await;
    let escaped = members[1].id.replace('=', "%3D");
    let query = format!("except={}&except={escaped}", members[0].id);
    for (query, wanted) in [
        (query.clone(), 2),
        // Nobody is left out twice, and nobody who is not in.
        (format!("{query}&{query}&except={}&except={NOBODY}", outside.id), 2),
        (format!("except={}", members[0].id), 3),
        (members.iter().map(|m| format!("except={}", m.id)).collect::<Vec<_>>().join("&"), 0),
    ] {
        let target = format!("/prod/@groups/red?{query}");
        assert_eq!(rooms.ok("POST", &target, b"x").await, sent_to(wanted), "{query}");
        for member in &mut members[4 - wanted..] {
            assert_eq!(member.client.next_text().await, "x");
        }
        for member in &mut members {
            member.got_nothing().await;
        }
    }
}

#[tokio::test]
async fn a_group_without_members_is_no_error() {
    let rooms = Rooms::start().await;
    let group = "/prod/@groups/empty";
    assert_eq!(rooms.ok("POST", group, b"x").await, json!({ "recipients": 0, "nodes": 0 }));
    assert_eq!(rooms.count("empty").await, 0);
    let list = rooms.ok("GET", &format!("{group}/connections"), b"").await;
    assert_eq!(list, json!({ "connectionIds": [] }));
    assert_done(&rooms.call("DELETE", group, b"").await);
}

/// `PUT` and `DELETE /{stage}/@groups/{group}/connections/{connectionId}`.
#[tokio::test]
async fn a_connection_is_put_into_a_group_and_taken_out() {
    let rooms = Rooms::start().await;
    let (mut a, b) = (rooms.member("").await, rooms.member("").await);
    let at = |id: &str| format!("/prod/@groups/red/connections/{id}");
    for _ in 0..2 {
        // To join twice is to join.
        assert_done(&rooms.call("PUT", &at(&a.id), b"").await);
        assert_eq!(rooms.count("red").await, 1);
    }
    assert_eq!(rooms.ok("POST", "/prod/@groups/red", b"once").await, sent_to(1));
    assert_eq!(a.client.next_text().await, "once");
    let escaped = at(&b.id.replace('=', "%3D")).replace('@', "%40").replace("red", "r%65d");
    assert_done(&rooms.call("PUT", &escaped, b"").await);
    assert_eq!(rooms.count("red").await, 2);
    for _ in 0..2 {
        // And whoever is not in can leave.
        assert_done(&rooms.call("DELETE", &at(&a.id), b"").await);
        assert_eq!(rooms.count("red").await, 1);
    }
    let list = rooms.ok("GET", "/prod/@groups/red/connections", b"").await;
    assert_eq!(list, json!({ "connectionIds": [b.id] }));
    a.got_nothing().await;

    assert_gone(&rooms.call("PUT", &at(NOBODY), b"").await);
    assert_gone(&rooms.call("DELETE", &at(NOBODY), b"").await);
    a.client.close(1000, "").await;
    wait_until(DEADLINE, "the connection to have gone", async || {
        rooms.call("PUT", &at(&a.id), b"").await.status == 410
    })
    .await;
    assert_gone(&rooms.call("DELETE", &at(&a.id), b"").await);
    assert_eq!(rooms.count("red").await, 1);
}

/// `DELETE /{stage}/@groups/{group}`, with the code and reason of a delete of one.
#[tokio::test]
async fn a_closed_group_closes_each_member() {
    let rooms = Rooms::start().await;
    for (query, code, reason) in [
        ("", 1000, ""),
        ("?code=4001&reason=room%20closed", 4001, "room closed"),
        ("?reason=sp%C3%A4ter", 1000, "später"),
    ] {
        let mut members = rooms.members(3, "join=red,blue").await;
        let mut bystander = rooms.member("join=blue").await;
        let response = rooms.call("DELETE", &format!("/prod/@groups/red{query}"), b"").await;
        assert_done(&response);
        assert_eq!((rooms.count("red").await, rooms.count("blue").await), (0, 1));
        for member in &mut members {
            assert_gone(&rooms.gateway.get_connection("prod", &member.id).await);
            assert_eq!(member.client.next_close().await, (code, reason.to_owned()));
        }
        bystander.got_nothing().await;
        bystander.client.close(1000, "").await;
        wait_until(DEADLINE, "the room to be empty", async || rooms.count("blue").await == 0).await;
    }
    let mut codes: Vec<_> = rooms
        .function
        .wait_for_events("DISCONNECT", 12)
        .await
        .iter()
        .map(|event| event["requestContext"]["disconnectStatusCode"].as_u64())
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [[Some(1000); 9].as_slice(), &[Some(4001); 3]].concat());
}

/// 1 to 128 characters of `A-Za-z0-9-_.~:`, after percent-decoding.
#[tokio::test]
async fn group_names_are_percent_decoded_and_case_matters() {
    let rooms = Rooms::start().await;
    let long = "x".repeat(128);
    let name = "Aa0-_.~:";
    let _member = rooms.member(&format!("join={name},{long}")).await;
    for spelling in [name, "%41%61%30%2D%5F%2E%7E%3A", "Aa0-_.%7e%3a", &long] {
        assert_eq!(rooms.count(spelling).await, 1, "{spelling}");
    }
    let doubled = rooms.ok("GET", &format!("//prod//%40groups///{name}/"), b"").await;
    assert_eq!(doubled, json!({ "connections": 1 }));
    assert_eq!(rooms.count(&name.to_lowercase()).await, 0);
    let too_long = "x".repeat(129);
    for bad in [
        too_long.as_str(),
        "a%2Fb",
        "a%20b",
        "a+b",
        "%C3%A9",
        "%00",
        "%FF",
        "a%2541",
        "a,b",
        "a%",
        "a@b",
        "%20a",
    ] {
        for (method, rest) in [
            ("POST", String::new()),
            ("GET", String::new()),
            ("DELETE", String::new()),
            ("GET", "/connections".to_owned()),
            ("PUT", format!("/connections/{NOBODY}")),
            ("DELETE", format!("/connections/{NOBODY}")),
        ] {
            let target = format!("/prod/@groups/{bad}{rest}");
            let message = assert_bad_request(&rooms.call(method, &target, b"x").await);
            assert!(message.contains("is no group name: 1 to 128 characters of"), "{message}");
            assert!(message.len() < 200, "{message}");
        }
    }
}

/// What is wrong is named, and nothing was done.
#[tokio::test]
async fn bad_parameters_are_answered_400_and_do_nothing() {
    let rooms = Rooms::start().await;
    let mut member = rooms.member("join=red").await;
    let long = format!("/prod/@groups/red?reason={}", "x".repeat(124));
    let cases: &[(&str, &str, &[u8], &str)] = &[
        ("PUT", "/prod/@groups/red/connections/short", b"", "Invalid connectionId"),
        ("DELETE", "/prod/@groups/red/connections/AAAA!", b"", "Invalid connectionId"),
        ("POST", "/prod/@groups/red?except=short", b"x", "except: Invalid connectionId"),
        ("POST", "/prod/@groups/red?except=", b"x", "except: Invalid connectionId"),
        ("POST", "/prod/@groups/red", b"\xff", "UTF-8"),
        ("POST", "/prod/@groups/red?binary=true", b"x", "binary"),
        ("GET", "/prod/@groups/red/connections?limit=0", b"", "limit is a number from 1 to 1000"),
        ("GET", "/prod/@groups/red/connections?limit=1001", b"", "limit is a number"),
        ("GET", "/prod/@groups/red/connections?limit=-1", b"", "limit is a number"),
        ("GET", "/prod/@groups/red/connections?limit=ten", b"", "limit is a number"),
        ("GET", "/prod/@groups/red/connections?limit=", b"", "limit is a number"),
        ("GET", "/prod/@groups/red/connections?cursor=x", b"", "is no cursor"),
        ("GET", "/prod/@groups/red/connections?cursor=", b"", "is no cursor"),
        ("GET", "/prod/@groups/red/connections?cursor=AAAAAAAAAAAA", b"", "is no cursor"),
        ("DELETE", "/prod/@groups/red?code=1001", b"", "code is 1000 or 3000 to 4999"),
        ("DELETE", "/prod/@groups/red?code=5000", b"", "code is 1000 or 3000 to 4999"),
        ("DELETE", "/prod/@groups/red?code=", b"", "code is 1000 or 3000 to 4999"),
        ("DELETE", &long, b"", "reason has at most 123 bytes"),
    ];
    for (method, target, body, told) in cases {
        let response = rooms.call(method, target, body).await;
        let message = assert_bad_request(&response);
        assert!(message.contains(told), "{method} {target}: {message}");
    }
    let too_large = rooms.call("POST", "/prod/@groups/red", &vec![b'x'; 128 * 1024 + 1]).await;
    assert_eq!(too_large.status, 413, "{too_large:?}");
    assert_eq!(too_large.header("x-amzn-errortype"), Some("PayloadTooLargeException"));
    let labels = [("operation", "group_send"), ("status", "413")];
    let counted = rooms.gateway.metric("tidegate_management_requests_total", &labels).await;
    assert_eq!(counted, 1.0, "as what it was");
    member.got_nothing().await;
    assert_eq!(rooms.count("red").await, 1);
    let largest = vec![b'x'; 128 * 1024];
    assert_eq!(rooms.ok("POST", "/prod/@groups/red", &largest).await, sent_to(1));
    assert_eq!(member.client.next_text().await.len(), 128 * 1024);
}

/// RFC 9110, 15.5.6; and paths that nobody has promised are 403, as a stage that is not there.
#[tokio::test]
async fn other_methods_are_answered_405_and_other_paths_403() {
    let rooms = Rooms::start().await;
    let mut http = HttpClient::connect(&rooms.gateway.http_url()).await;
    let member = format!("/prod/@groups/red/connections/{NOBODY}");
    for (target, methods, allowed) in [
        ("/prod/@groups/red", &["PUT", "PATCH", "HEAD", "get"][..], "POST, GET, DELETE"),
        ("/prod/@groups/red/connections", &["POST", "PUT", "DELETE"], "GET"),
        (&member, &["GET", "POST"], "PUT, DELETE"),
        ("/prod/@users/ann", &["GET", "PUT"], "POST, DELETE"),
        ("/prod/@broadcast", &["GET", "DELETE"], "POST"),
        ("/prod/@connections", &["PUT", "DELETE"], "POST, GET"),
    ] {
        for method in methods {
            let response = http.call(method, target, &[], b"").await;
            assert_eq!(response.status, 405, "{method} {target}: {response:?}");
            assert_eq!(response.header("allow"), Some(allowed), "{method} {target}");
            assert_eq!(response.header("x-amzn-errortype"), Some("MethodNotAllowedException"));
        }
    }
    for target in [
        "/prod/@groups",
        "/prod/@groups/",
        "/prod/@groups/red/members",
        "/prod/@groups/red/connections/x/y",
        "/prod/@users",
        "/prod/@users/ann/connections",
        "/prod/@broadcast/all",
        "/@groups/red",
        "/nowhere/@groups/red",
        "/nowhere/@broadcast",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let response = http.call(method, target, &[], b"").await;
            let told = response.header("x-amzn-errortype");
            assert_eq!((response.status, told), (403, Some("ForbiddenException")), "{target}");
        }
    }
}

/// An api in whose stages clients join as in `test`.
pub(crate) fn with_neighbours(toml: GatewayToml) -> GatewayToml {
    let template = r##"#set($context.responseOverride.header.Tidegate-Reply = $context.connectionId)
#set($context.responseOverride.header.Tidegate-Join = $input.params("join"))
{"statusCode": 200}"##;
    let quoted = Value::from(template).to_string();
    toml.stage("blue").section(&format!(
        r#"
[apis.other]
protocol = "websocket"
route_selection_expression = "x"
[apis.other.stages.prod]
[apis.other.integrations.rooms]
type = "mock"
request_templates = {{ "application/json" = {quoted} }}
[apis.other.routes."$connect"]
integration = "rooms"
"#
    ))
}

/// reliability, line 17, for what is not a connection id.
#[tokio::test]
async fn groups_of_other_stages_and_apis_are_others() {
    let rooms = Rooms::start_with(with_neighbours).await;
    let mut here = rooms.member("join=red").await;
    let mut blue = rooms.member_at("blue?join=red", "test.localhost").await;
    let mut other = rooms.member_at("prod?join=red", "other.localhost").await;
    let host = [("Host", "other.localhost")];
    let url = rooms.gateway.http_url();
    for (mine, response) in [
        (&mut blue, rooms.call("POST", "/blue/@groups/red", b"x").await),
        (&mut other, http_call(&url, "POST", "/prod/@groups/red", &host, b"x").await),
        (&mut here, rooms.call("POST", "/prod/@groups/red", b"x").await),
    ] {
        assert_eq!(json_of(&response), sent_to(1));
        assert_eq!(mine.client.next_text().await, "x");
    }
    for id in [&blue.id, &other.id] {
        for method in ["PUT", "DELETE"] {
            let target = format!("/prod/@groups/red/connections/{id}");
            assert_gone(&rooms.call(method, &target, b"").await);
        }
        let except = format!("/prod/@groups/red?except={id}");
        assert_eq!(rooms.ok("POST", &except, b"x").await, sent_to(1));
        assert_eq!(here.client.next_text().await, "x");
    }
    let list = rooms.ok("GET", "/prod/@groups/red/connections", b"").await;
    assert_eq!(list, json!({ "connectionIds": [here.id] }));
    assert_done(&rooms.call("DELETE", "/prod/@groups/red", b"").await);
    assert_eq!(here.client.next_close().await.0, 1000);
    blue.got_nothing().await;
    other.got_nothing().await;
}

/// A group exists while it has members, and its members while they are connected.
#[tokio::test]
async fn a_group_ends_with_its_last_member_however_that_ends() {
    let rooms = Rooms::start().await;
    let gone = async || {
        wait_until(DEADLINE, "the group to end", async || rooms.count("red").await == 0).await;
    };
    let mut member = rooms.member("join=red").await;
    assert_eq!(rooms.count("red").await, 1, "as soon as the client knows that it is connected");
    member.client.close(1000, "").await;
    gone().await;
    RawClient::connect(&rooms.gateway.ws_url("prod?join=red")).await.cut();
    gone().await;
    let mut member = rooms.member("join=red").await;
    assert_eq!(rooms.count("red").await, 1, "it begins anew");
    assert_done(&rooms.gateway.delete_connection("prod", &member.id).await);
    assert_eq!(rooms.count("red").await, 0, "at once: the caller ended it");
    assert_eq!(rooms.ok("POST", "/prod/@groups/red", b"x").await, sent_to(0));
    assert_eq!(member.client.next_close().await.0, 1000);
}

/// `$disconnect` sees the groups as they are without the one that has left.
#[tokio::test]
async fn whoever_has_left_is_in_no_group_when_disconnect_runs() {
    let rooms = Rooms::start().await;
    let mut stays = rooms.member("join=red").await;
    for _ in 0..20 {
        let mut leaves = rooms.member("join=red").await;
        leaves.client.close(1000, "").await;
        rooms.function.next_event("DISCONNECT").await;
        assert_eq!(rooms.ok("POST", "/prod/@groups/red", b"x").await, sent_to(1));
        assert_eq!(stays.client.next_text().await, "x");
    }
}

/// The list of members, page by page.
#[tokio::test]
async fn the_members_of_a_group_are_listed_in_pages() {
    let rooms = Rooms::start().await;
    let members = rooms.members(205, "join=red").await;
    let _others = rooms.members(20, "join=blue").await;
    let wanted: BTreeSet<_> = members.iter().map(|member| member.id.clone()).collect();
    for (limit, wanted_pages) in [(None, 3), (Some(50), 5), (Some(205), 1), (Some(1000), 1)] {
        let (ids, pages) = rooms.pages("/prod/@groups/red/connections", limit).await;
        assert_eq!((ids.len(), pages), (205, wanted_pages), "limit {limit:?}");
        assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), wanted, "limit {limit:?}");
    }
}

/// tidegate, section 6: group sends keep one sender's order per member.
#[tokio::test]
async fn the_sends_of_one_caller_arrive_in_order_at_each_member() {
    let rooms = Rooms::start().await;
    let mut members = rooms.members(150, "join=red").await;
    let mut http = HttpClient::connect(&rooms.gateway.http_url()).await;
    for number in 0..40 {
        let body = number.to_string();
        let response = http.call("POST", "/prod/@groups/red", &[], body.as_bytes()).await;
        assert_eq!(json_of(&response), sent_to(150));
    }
    for member in &mut members {
        for number in 0..40 {
            assert_eq!(member.client.next_text().await, number.to_string());
        }
    }
}

/// reliability, line 25: 300 members and more who join, leave and die while 60 messages are sent.
/// Those who stay get each once, in order; nobody gets one twice; every receipt that a send counts
/// is one that somebody could have.
#[tokio::test]
async fn each_member_gets_each_message_once_while_others_join_leave_and_die() {
    const STAY: usize = 300;
    const MESSAGES: usize = 60;
    let rooms = Rooms::start().await;
    let stay = rooms.members(STAY, "join=red").await;
    let come = rooms.members(100, "").await;
    let leave = rooms.members(100, "join=red").await;
    let mut die = Vec::new();
    for _ in 0..100 {
        die.push(RawClient::connect(&rooms.gateway.ws_url("prod?join=red")).await);
    }
    assert_eq!(rooms.count("red").await, 500);
    let sending = async {
        let mut http = HttpClient::connect(&rooms.gateway.http_url()).await;
        let mut recipients = Vec::new();
        for number in 0..MESSAGES {
            let body = number.to_string();
            let response = http.call("POST", "/prod/@groups/red", &[], body.as_bytes()).await;
            let report = json_of(&response);
            assert_eq!(report["nodes"], 1);
            recipients.push(report["recipients"].as_u64().expect("a number") as usize);
        }
        recipients
    };
    let moving = async |method: &str, members: &[Member]| {
        let mut http = HttpClient::connect(&rooms.gateway.http_url()).await;
        for member in members {
            let target = format!("/prod/@groups/red/connections/{}", member.id);
            assert_done(&http.call(method, &target, &[], b"").await);
        }
    };
    let dying = async {
        for client in die {
            client.cut();
            tokio::task::yield_now().await;
        }
    };
    let (recipients, (), (), ()) =
        tokio::join!(sending, moving("PUT", &come), moving("DELETE", &leave), dying);
    wait_until(DEADLINE, "the dead to be buried", async || rooms.count("red").await == 400).await;
    assert_eq!(rooms.ok("POST", "/prod/@groups/red", b"last").await, sent_to(400));
    assert_eq!(rooms.ok("POST", "/prod/@broadcast", b"end").await, sent_to(500));

    let mut received = 0;
    for (members, all, gets_last) in
        [(stay, true, true), (come, false, true), (leave, false, false)]
    {
        for mut member in members {
            let mut got = Vec::new();
            loop {
                match member.client.next_text().await.as_str() {
                    "end" => break,
                    "last" => got.push(MESSAGES),
                    number => got.push(number.parse().expect("a number")),
                }
            }
            assert!(got.is_sorted_by(|a, b| a < b), "in order, none twice: {got:?}");
            assert_eq!(got.last() == Some(&MESSAGES), gets_last);
            if all {
                assert_eq!(got.len(), MESSAGES + 1);
            } else if gets_last {
                // From the moment it had joined.
                assert_eq!(got.last().map(|last| last - got[0] + 1), Some(got.len()), "{got:?}");
            } else {
                assert!(got.iter().copied().eq(0..got.len()), "until it had left: {got:?}");
            }
            received += got.iter().filter(|number| **number < MESSAGES).count();
            member.got_nothing().await;
        }
    }
    // What the dead took nobody can ask; each of them counts at most once a message.
    let counted: usize = recipients.iter().sum();
    assert!(counted >= received && counted <= received + 100 * MESSAGES, "{counted}, {received}");
    assert!(recipients.iter().all(|count| (STAY..=STAY + 300).contains(count)), "{recipients:?}");
}

/// reliability, line 22, for groups: `slow_client = "close"`.
#[tokio::test]
async fn a_member_that_does_not_read_holds_up_nobody_and_is_closed_1008() {
    let rooms = Rooms::start_with(|toml| {
        toml.limit("send_queue_bytes", "262144").api("binary", r#""pass""#)
    })
    .await;
    let mut quick = rooms.member("join=red").await;
    let slow = RawClient::connect(&rooms.gateway.ws_url("prod?join=red")).await;
    let mut http = HttpClient::connect(&rooms.gateway.http_url()).await;
    let body = vec![b'x'; 100_000];
    let mut sends = 0;
    loop {
        let sent = http.call("POST", "/prod/@groups/red?binary=true", &[], &body);
        let report = json_of(&within(DEADLINE, "a group send", sent).await);
        assert_eq!(quick.client.next_binary().await.len(), body.len());
        sends += 1;
        if report == sent_to(1) {
            break;
        }
        assert_eq!(report, sent_to(2));
        assert!(sends < 500, "every message was taken");
    }
    assert_eq!(rooms.count("red").await, 1, "nobody reaches it any more");
    let event = rooms.function.next_event("DISCONNECT").await;
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1008);
    let labels = [("cause", "close")];
    assert!(rooms.gateway.metric("tidegate_send_queue_dropped_total", &labels).await >= 1.0);
    quick.got_nothing().await;
    drop(slow);
}
