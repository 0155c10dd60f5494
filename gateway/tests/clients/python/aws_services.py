"""AWS's services as moto plays them, and what has arrived there.

In:  a line of JSON on stdin per question: [name, argument...], one of the functions below.
Out: on stdout, first {"url": ...}, where all services are; then a line of JSON per answer. A
     question about something that should arrive is answered when it has, or fails the program.

The names here are those of docs/templates.md, whose examples are run against this. Ends with its
stdin.
"""

import json
import logging
import sys
import time

import boto3
from moto.core.responses import BaseResponse
from moto.server import ThreadedMotoServer

DEADLINE_S = 20
REGION = "eu-west-1"
ACCOUNT = "123456789012"
KEYS = {"aws_access_key_id": "AKIDTEST", "aws_secret_access_key": "test"}

# Query services answer in JSON whoever accepts that, and moto whoever sends ContentType=JSON.
BaseResponse.request_json = property(
    lambda self: "application/json" in self.headers.get("Accept", "")
)


def client(service):
    return boto3.client(service, endpoint_url=URL, region_name=REGION, **KEYS)


def queue(name, **attributes):
    """A new queue: its URL and ARN."""
    url = client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def create_everything():
    queue("messages")
    queue("orders.fifo", FifoQueue="true")
    _, arrived = queue("from-topic")
    topic = client("sns").create_topic(Name="news")["TopicArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arrived)
    client("kinesis").create_stream(StreamName="events", ShardCount=1)
    client("dynamodb").create_table(
        TableName="connections",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    passes = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}}
    client("stepfunctions").create_state_machine(
        name="orders",
        definition=json.dumps(passes),
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/orders",
    )
    _, arrived = queue("from-bus")
    events = client("events")
    events.create_event_bus(Name="chat")
    events.put_rule(
        Name="all", EventBusName="chat", EventPattern=json.dumps({"source": ["websocket"]})
    )
    events.put_targets(Rule="all", EventBusName="chat", Targets=[{"Id": "1", "Arn": arrived}])


def first(what, look):
    """What `look` finds, as soon as it finds anything."""
    end = time.monotonic() + DEADLINE_S
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"nothing arrived in {what}")
        time.sleep(0.05)
    return found[0]


def message(name):
    """Takes the next message out of a queue."""
    sqs = client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    taken = first(
        name,
        lambda: sqs.receive_message(
            QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"]
        ).get("Messages"),
    )
    sqs.delete_message(QueueUrl=url, ReceiptHandle=taken["ReceiptHandle"])
    return {
        "id": taken["MessageId"],
        "body": taken["Body"],
        "system": taken.get("Attributes", {}),
        "attributes": {
            name: attribute["StringValue"]
            for name, attribute in taken.get("MessageAttributes", {}).items()
        },
    }


def record(stream):
    """The first record of a stream."""
    kinesis = client("kinesis")
    (shard,) = kinesis.list_shards(StreamName=stream)["Shards"]
    start = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    found = first(stream, lambda: kinesis.get_records(ShardIterator=start)["Records"])
    return {
        "data": found["Data"].decode(),
        "key": found["PartitionKey"],
        "number": found["SequenceNumber"],
    }


def ids(table):
    """The keys of a table's items."""
    return [item["id"]["S"] for item in client("dynamodb").scan(TableName=table)["Items"]]


def execution(arn):
    """What a state machine was started with."""
    return client("stepfunctions").describe_execution(executionArn=arn)["input"]


def say(answer):
    print(json.dumps(answer), flush=True)


QUESTIONS = {f.__name__: f for f in (message, record, ids, execution)}

if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    URL = f"http://{host}:{port}"
    create_everything()
    say({"url": URL})
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        say(QUESTIONS[name](*arguments))
