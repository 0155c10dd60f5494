"""A function behind a WebSocket API, written for Lambda; it runs under `awslambdaric`.

Nothing here knows Tidegate. `chat.mjs`, `chat.cjs` and `main.rs` beside it are the same function.
"""

import json
import os
import sys
import time

import boto3


def handler(event, context):
    request = event["requestContext"]
    if request["eventType"] == "CONNECT":
        return on_connect(event.get("queryStringParameters") or {})
    if request["eventType"] == "DISCONNECT":
        print(f"goodbye {request['connectionId']}")
        return {"statusCode": 200}
    message = json.loads(event["body"])
    return ROUTES[request["routeKey"]](message, request, context)


def on_connect(query):
    if "how" in query:
        return misbehave(query["how"])
    return {"statusCode": 403 if query.get("token") == "stolen" else 200}


def greet(message, request, context):
    """The reply of a two-way route."""
    greeting = {
        "text": f"hello {message['name']}",
        "connectionId": request["connectionId"],
        "function": context.function_name,
        "memory": int(context.memory_limit_in_mb),
        "arn": context.invoked_function_arn,
        "remainingMs": context.get_remaining_time_in_millis(),
    }
    return {"statusCode": 200, "body": json.dumps(greeting)}


def announce(message, request, context):
    """A post back, to the address that most handlers build."""
    return post(f"https://{request['domainName']}/{request['stage']}", message, request)


def announce_by_api(message, request, context):
    """The same, to Amazon's own name of the API."""
    api, region = request["apiId"], os.environ["AWS_REGION"]
    endpoint = f"https://{api}.execute-api.{region}.amazonaws.com/{request['stage']}"
    return post(endpoint, message, request)


def post(endpoint, message, request):
    management = boto3.client("apigatewaymanagementapi", endpoint_url=endpoint)
    management.post_to_connection(
        ConnectionId=request["connectionId"], Data=message["text"].encode()
    )
    return {"statusCode": 200}


def misbehave_as_asked(message, request, context):
    return misbehave(message["how"])


def misbehave(how):
    if how == "throw":
        raise RuntimeError("boom")
    if how == "hang":
        time.sleep(3600)
    if how == "exit":
        os._exit(3)
    if how == "leave":
        sys.exit(0)
    if how == "print":
        print("x" * 1_000_000)
        for line in range(50_000):
            print(f"line {line}")
        return {"statusCode": 200, "body": "printed"}
    return NONSENSE[how]


NONSENSE = {
    "nothing": None,
    "text": "hello",
    "number": 200,
    "list": [200],
    "no-status": {"body": "hello"},
    "bad-status": {"statusCode": "yes", "body": "hello"},
    # Nothing that JSON has: the runtime client says so.
    "unspeakable": {"statusCode": 200, "body": {1, 2, 3}},
}

ROUTES = {
    "greet": greet,
    "announce": announce,
    "announce-by-api": announce_by_api,
    "misbehave": misbehave_as_asked,
}
