"""boto3 against the management API, unmodified: only `endpoint_url` leads it to the gateway.

Credentials and region come from the environment, as boto3 finds them anywhere. Source of each
expectation: the client contract, section 1 (what boto3 1.44 makes of which answer).
"""

import os
from datetime import datetime, timedelta, timezone

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from harness import DEADLINE_S, MANAGEMENT_URL, case, check, closed, connect, connection_id, main

# The shape of an id, and of this node's ids; nobody has it.
NEVER_EXISTED = "AAAAAAAAAAAAAAA="
MOST_BYTES = 131_072


def management(endpoint=MANAGEMENT_URL, **options):
    return boto3.client("apigatewaymanagementapi", endpoint_url=endpoint, **options)


def refused(call, status, code):
    """Runs a call that must fail with this status and error code."""
    with check.assertRaises(ClientError) as caught:
        call()
    response = caught.exception.response
    said = (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"])
    check.assertEqual(said, (status, code), response)
    return caught.exception


def status_of(response):
    return response["ResponseMetadata"]["HTTPStatusCode"]


def refuses_everything(api, status, code, error_class=None):
    """Post, get and delete of a living connection are refused, and the client hears nothing."""
    with connect() as socket:
        id = connection_id(socket)
        for call in (
            lambda: api.post_to_connection(ConnectionId=id, Data="for nobody"),
            lambda: api.get_connection(ConnectionId=id),
            lambda: api.delete_connection(ConnectionId=id),
        ):
            error = refused(call, status, code)
            if error_class:
                check.assertIsInstance(error, error_class)
        check.assertEqual(connection_id(socket), id, "the next thing it hears is its own answer")


@case
def a_post_arrives_as_text():
    api = management()
    with connect() as socket:
        id = connection_id(socket)
        for data in ("hello", "grüße 🌊".encode(), "", "x" * MOST_BYTES):
            response = api.post_to_connection(ConnectionId=id, Data=data)
            check.assertEqual(status_of(response), 200)
            check.assertTrue(response["ResponseMetadata"]["RequestId"], "x-amzn-RequestId is there")
            text = data.decode() if isinstance(data, bytes) else data
            check.assertEqual(socket.recv(timeout=DEADLINE_S), text)


@case
def posts_of_one_client_arrive_in_order():
    api = management()
    with connect() as socket:
        id = connection_id(socket)
        for number in range(50):
            api.post_to_connection(ConnectionId=id, Data=str(number))
        heard = [socket.recv(timeout=DEADLINE_S) for _ in range(50)]
        check.assertEqual(heard, [str(number) for number in range(50)])


@case
def get_says_since_when_and_from_where():
    api = management()
    with connect(user_agent_header="a boto3 test") as socket:
        id = connection_id(socket)
        first = api.get_connection(ConnectionId=id)
        check.assertEqual(status_of(first), 200)
        check.assertEqual(first["Identity"], {"SourceIp": "127.0.0.1", "UserAgent": "a boto3 test"})
        check.assertIsInstance(first["ConnectedAt"], datetime)
        check.assertIsInstance(first["LastActiveAt"], datetime)
        age = datetime.now(timezone.utc) - first["ConnectedAt"]
        check.assertLess(abs(age), timedelta(minutes=1))
        check.assertGreaterEqual(first["LastActiveAt"], first["ConnectedAt"])
        check.assertEqual(connection_id(socket), id)
        second = api.get_connection(ConnectionId=id)
        check.assertGreater(second["LastActiveAt"], first["LastActiveAt"], "a message is activity")
        check.assertEqual(second["ConnectedAt"], first["ConnectedAt"])


@case
def delete_closes_with_1000_and_then_it_is_gone():
    api = management()
    with connect() as socket:
        id = connection_id(socket)
        check.assertEqual(status_of(api.delete_connection(ConnectionId=id)), 204)
        check.assertEqual(closed(socket), (1000, ""))
    is_gone(api, id)


@case
def a_connection_that_its_client_closed_is_gone():
    with connect() as socket:
        id = connection_id(socket)
    is_gone(management(), id)


@case
def an_id_that_never_existed_is_gone():
    is_gone(management(), NEVER_EXISTED)


def is_gone(api, id):
    for call in (
        lambda: api.post_to_connection(ConnectionId=id, Data="too late"),
        lambda: api.get_connection(ConnectionId=id),
        lambda: api.delete_connection(ConnectionId=id),
    ):
        error = refused(call, 410, "GoneException")
        check.assertIsInstance(error, api.exceptions.GoneException)


@case
def a_wrong_secret_is_403():
    api = management(
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="not the secret"
    )
    refuses_everything(api, 403, "ForbiddenException", api.exceptions.ForbiddenException)


@case
def an_unknown_access_key_is_403():
    api = management(
        aws_access_key_id="AKIDNOBODY", aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"]
    )
    refuses_everything(api, 403, "ForbiddenException", api.exceptions.ForbiddenException)


@case
def an_unsigned_call_is_403():
    api = management(config=Config(signature_version=UNSIGNED))
    refuses_everything(api, 403, "MissingAuthenticationTokenException")


@case
def a_wrong_stage_is_403():
    api = management(MANAGEMENT_URL + "-not-there")
    refuses_everything(api, 403, "ForbiddenException", api.exceptions.ForbiddenException)


@case
def a_malformed_id_is_400():
    api = management()
    for id in ("short", "much-too-long-for-an-id", "AAAAAAAAAAAAAA/=", "a/b c+d&e?f%20~-_.*!'()"):
        for call in (
            lambda: api.post_to_connection(ConnectionId=id, Data="x"),
            lambda: api.get_connection(ConnectionId=id),
            lambda: api.delete_connection(ConnectionId=id),
        ):
            error = refused(call, 400, "BadRequestException")
            check.assertIn("Invalid connectionId", error.response["Error"]["Message"])


@case
def a_post_over_128_kib_is_413():
    api = management()
    with connect() as socket:
        id = connection_id(socket)
        too_large = b"x" * (MOST_BYTES + 1)
        error = refused(
            lambda: api.post_to_connection(ConnectionId=id, Data=too_large),
            413,
            "PayloadTooLargeException",
        )
        check.assertIsInstance(error, api.exceptions.PayloadTooLargeException)
        check.assertEqual(connection_id(socket), id, "the next thing it hears is its own answer")


@case
def a_post_that_is_no_text_is_400():
    # A text frame of these bytes would break the client.
    api = management()
    with connect() as socket:
        id = connection_id(socket)
        refused(
            lambda: api.post_to_connection(ConnectionId=id, Data=b"\xff\xfe"),
            400,
            "BadRequestException",
        )
        check.assertEqual(connection_id(socket), id, "the next thing it hears is its own answer")


@case
def the_endpoint_may_end_in_a_slash():
    api = management(MANAGEMENT_URL + "/")
    with connect() as socket:
        id = connection_id(socket)
        api.post_to_connection(ConnectionId=id, Data="hello")
        check.assertEqual(socket.recv(timeout=DEADLINE_S), "hello")
        check.assertEqual(status_of(api.get_connection(ConnectionId=id)), 200)
        api.delete_connection(ConnectionId=id)
        check.assertEqual(closed(socket), (1000, ""))


main()
