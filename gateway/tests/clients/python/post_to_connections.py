"""boto3, unmodified, posts the same to several connections.

In:  the management API's address, what to post, and the connections' ids as arguments; credentials
     from the environment. Out: exit 0 when each has taken it.
"""

import sys

import boto3

URL, DATA, *CONNECTIONS = sys.argv[1:]

api = boto3.client("apigatewaymanagementapi", endpoint_url=URL, region_name="us-east-1")
for connection in CONNECTIONS:
    api.post_to_connection(ConnectionId=connection, Data=DATA)
