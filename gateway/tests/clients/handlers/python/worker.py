"""What the tests of how workers are run need to see from inside one; it runs under `awslambdaric`."""

import json
import os
import time
from pathlib import Path


def handler(event, context):
    if event["requestContext"]["eventType"] != "MESSAGE":
        return {"statusCode": 200}
    does = DOES[json.loads(event["body"])["do"]]
    return {"statusCode": 200, "body": json.dumps(does(event["requestContext"]))}


def tell(request):
    """Who this worker is, whom it serves and what it signs with."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    keys = {name: os.environ[name] for name in names}
    return {"pid": os.getpid(), "connectionId": request["connectionId"], **keys}


def work(request):
    """Notes its begin and its end in a journal; between the two it waits for a file."""
    journal = Path("journal")
    with journal.open("a") as lines:
        lines.write("begin\n")
    while not Path("go").exists():
        time.sleep(0.01)
    with journal.open("a") as lines:
        lines.write("end\n")
    return "done"


def hang(request):
    time.sleep(3600)


DOES = {"tell": tell, "work": work, "hang": hang}
