//! AWS service integrations against services that keep what they are sent: moto's server, and for
//! functions a server that is Lambda's Invoke API, because moto's wants Docker.
//!
//! In:  the examples of `docs/templates.md`, as they stand there; messages of a client.
//! Out: what has arrived at each service, by boto3; the service's reply at the client.
//!
//! Holds always: every example of that page below "AWS services" is run here, and nothing of it is
//! changed but where the services are and who listens.

use std::process::Stdio;

use serde_json::{Value, json};
use tidegate_testkit::{
    Client, DEADLINE, InvokeAnswer, LambdaBackend, TestGateway, wait_until, within,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

use crate::{GATEWAY, program::Program};

const PAGE: &str = include_str!("../../../docs/templates.md");

/// The example below a heading.
fn example(heading: &str) -> &'static str {
    let (_, section) =
        PAGE.split_once(&format!("\n### {heading}\n")).unwrap_or_else(|| panic!("### {heading}"));
    let (_, block) = section.split_once("```toml\n").expect("an example below its heading");
    block.split("```").next().expect("a first part")
}

/// A gateway that serves an example, with these services at this address.
async fn serve(example: &str, services: &[&str], url: &str) -> TestGateway {
    let endpoints: String =
        services.iter().map(|service| format!("{service} = \"{url}\"\n")).collect();
    let toml = format!(
        r#"{example}
[listen]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[management]
auth = "none"
[aws.credentials.default]
access_key_id = "AKIDTEST"
secret_access_key = "test"
[aws.endpoints]
{endpoints}"#
    );
    TestGateway::start(GATEWAY, &toml).await
}

/// The services, in a process that ends with its value.
struct Services {
    url: String,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Services {
    async fn start() -> Self {
        let mut process = Program::Python("python/aws_services.py")
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run Python");
        let questions = process.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let mut services = Self { url: String::new(), questions, answers, _process: process };
        services.url = string(&services.answer().await["url"]);
        services
    }

    /// What one of the program's functions says.
    async fn ask(&mut self, question: Value) -> Value {
        let line = format!("{question}\n");
        self.questions.write_all(line.as_bytes()).await.expect("the program runs");
        self.answer().await
    }

    async fn answer(&mut self) -> Value {
        // Its own deadline comes first, with a traceback on stderr. Starting takes it seconds.
        let line = within(3 * DEADLINE, "an answer of aws_services.py", self.answers.next_line());
        let line = line.await.expect("output in UTF-8").expect("the program has not ended");
        serde_json::from_str(&line).unwrap_or_else(|err| panic!("JSON ({err}), not {line}"))
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a JSON string, not {value}")).to_owned()
}

/// Sends one message through an example; the reply, and the services for a look at what arrived.
async fn send(heading: &str, service: &str, message: &str) -> (Value, Services) {
    let services = Services::start().await;
    let gateway = serve(example(heading), &[service], &services.url).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(message).await;
    let reply = client.next_json().await;
    (reply, services)
}

/// What templates find hard: quotes of both kinds, a backslash, what a form would read, no ASCII.
const MESSAGE: &str =
    r#"{"action":"order","group":"g1","text":"it's \"1+1\" & 50% of é, \\ and 🌊\nnew line"}"#;

fn message() -> Value {
    serde_json::from_str(MESSAGE).expect("JSON")
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(&string(text)).unwrap_or_else(|err| panic!("JSON ({err}), not {text}"))
}

#[tokio::test]
async fn a_message_arrives_in_a_queue_byte_for_byte_and_its_id_at_the_client() {
    let (reply, mut services) = send("A queue: SQS", "sqs", MESSAGE).await;
    let arrived = services.ask(json!(["message", "messages"])).await;
    assert_eq!(arrived["body"], MESSAGE);
    assert_eq!(reply["SendMessageResponse"]["SendMessageResult"]["MessageId"], arrived["id"]);
}

#[tokio::test]
async fn a_message_arrives_in_a_fifo_queue_with_its_group_and_attribute() {
    let (reply, mut services) = send("A queue in order: SQS FIFO", "sqs", MESSAGE).await;
    let arrived = services.ask(json!(["message", "orders.fifo"])).await;
    assert_eq!(arrived["body"], MESSAGE);
    assert_eq!(arrived["system"]["MessageGroupId"], "g1");
    assert_eq!(string(&arrived["system"]["MessageDeduplicationId"]).len(), 16, "the request's id");
    assert_eq!(string(&arrived["attributes"]["connectionId"]).len(), 16);
    let result = &reply["SendMessageResponse"]["SendMessageResult"];
    assert_eq!(result["MessageId"], arrived["id"]);
}

#[tokio::test]
async fn a_message_arrives_at_a_topics_subscriber_and_its_id_at_the_client() {
    let (reply, mut services) = send("A topic: SNS", "sns", MESSAGE).await;
    let arrived = services.ask(json!(["message", "from-topic"])).await;
    let notification = parsed(&arrived["body"]);
    assert_eq!(parsed(&notification["Message"]), message());
    assert_eq!(reply["PublishResponse"]["PublishResult"]["MessageId"], notification["MessageId"]);
}

#[tokio::test]
async fn a_message_arrives_in_a_stream_and_its_number_at_the_client() {
    let (reply, mut services) = send("A stream: Kinesis", "kinesis", MESSAGE).await;
    let arrived = services.ask(json!(["record", "events"])).await;
    assert_eq!(arrived["data"], MESSAGE);
    assert_eq!(string(&arrived["key"]).len(), 16, "the connection's id");
    assert_eq!(reply["SequenceNumber"], arrived["number"]);
}

#[tokio::test]
async fn a_table_knows_who_is_connected_and_a_message_reads_it() {
    let mut services = Services::start().await;
    let gateway = serve(example("A table: DynamoDB"), &["dynamodb"], &services.url).await;
    let url = gateway.ws_url("prod") + "?name=it%27s%20%22%C3%A9%22";
    let mut client = Client::connect(&url).await;
    client.send_text("who am I").await;
    assert_eq!(client.next_text().await, r#"{"you are": "it's \"é\""}"#);
    let ids = services.ask(json!(["ids", "connections"])).await;
    let [id] = ids.as_array().expect("a list").as_slice() else { panic!("one item: {ids}") };
    assert_eq!(gateway.get_connection("prod", &string(id)).await.status, 200);
    client.close(1000, "").await;
    // The services answer one question at a time, so the condition cannot borrow them.
    let services = tokio::sync::Mutex::new(services);
    wait_until(DEADLINE, "$disconnect to remove the item", async || {
        services.lock().await.ask(json!(["ids", "connections"])).await == json!([])
    })
    .await;
}

#[tokio::test]
async fn a_message_starts_a_state_machine_and_the_executions_arn_comes_back() {
    let (reply, mut services) = send("A state machine: Step Functions", "states", MESSAGE).await;
    let input = services.ask(json!(["execution", reply["executionArn"]])).await;
    assert_eq!(parsed(&input), message());
}

#[tokio::test]
async fn a_message_arrives_on_an_event_bus_and_its_id_at_the_client() {
    let (reply, mut services) = send("An event bus: EventBridge", "events", MESSAGE).await;
    let arrived = parsed(&services.ask(json!(["message", "from-bus"])).await["body"]);
    assert_eq!(arrived["detail"], message());
    assert_eq!(arrived["detail-type"], "$default");
    assert_eq!(arrived["source"], "websocket");
    assert_eq!(reply["FailedEntryCount"], 0);
    assert_eq!(reply["Entries"][0]["EventId"], arrived["id"]);
}

/// moto refuses what AWS would: the client hears it, as an answer of the service's.
#[tokio::test]
async fn what_a_service_refuses_reaches_the_client_as_its_answer() {
    let services = Services::start().await;
    let elsewhere = example("A queue: SQS").replace("123456789012/messages", "123456789012/none");
    let gateway = serve(&elsewhere, &["sqs"], &services.url).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("x").await;
    let said = client.next_text().await;
    assert!(said.contains("NonExistentQueue"), "{said}");
}

#[tokio::test]
async fn a_function_gets_what_its_template_makes_and_its_errors_are_told_apart() {
    let lambda = LambdaBackend::start(|invocation| {
        assert_eq!(invocation.qualifier.as_deref(), Some("live"));
        let event = invocation.event();
        match event["text"].as_str() {
            Some("secret") => InvokeAnswer::threw("401 Unauthorized"),
            _ => json!({ "text": event["text"], "members": event.as_object().map(|e| e.len()) })
                .into(),
        }
    })
    .await;
    let gateway = serve(example("A function: Lambda"), &["lambda"], &lambda.url()).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"text":"it's"}"#).await;
    assert_eq!(client.next_text().await, r#"{"said": {"text":"it's","members":2}}"#);
    client.send_text(r#"{"text":"secret"}"#).await;
    assert_eq!(client.next_text().await, r#"{"error": "you may not"}"#);
}

#[test]
fn every_example_of_the_page_below_aws_services_is_run_here() {
    let (_, services) = PAGE.split_once("\n## AWS services\n").expect("the heading");
    let services = services.split("\n## ").next().expect("a first part");
    let headings: Vec<_> = services.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let here = include_str!("aws_services.rs");
    for heading in &headings {
        assert!(here.contains(&format!("\"{heading}\"")), "{heading}");
    }
    assert_eq!(headings.len(), 8);
}
