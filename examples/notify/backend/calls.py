"""What the gateway calls: `$connect`, receipts, and who asks what was missed.

In:  the headers `Tidegate-*`, which clients cannot set, and a message. Out: what its page reads.

Holds always: the user is the one whose token the gateway checked, never one that a message names;
nothing is done for a caller that does not show the gateway's secret.
"""

import hmac
import json
import re
import time

from .api import answer
from .outbox import WAREHOUSE

SUBPROTOCOL = "notify"
MOST_IDS = 100


class Calls:
    def __init__(self, secret, accounts, updates, outbox):
        self._secret = secret.encode()
        self._accounts = accounts
        self._updates = updates
        self._outbox = outbox

    def answer(self, headers, body):
        """Blocks: it reads and writes the database."""
        if not hmac.compare_digest(headers.get("gateway-secret", "").encode(), self._secret):
            return answer(403, {"message": "only the gateway calls this"})
        user = self._accounts.by_id(headers.get("tidegate-principal-id", ""))
        if user is None:
            return answer(403, {"message": "there is no such user"})
        if headers.get("tidegate-event-type") == "CONNECT":
            return connected(user, headers.get("sec-websocket-protocol", ""))
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            return answer(400, error("a message is a JSON object"))
        match headers.get("tidegate-route-key"):
            case "received":
                return self._received(user, message)
            case "since":
                return self._since(user, message)
            case _:
                return answer(400, error("action: expected received or since"))

    def _received(self, user, message):
        tab, ids = message.get("tab"), message.get("ids")
        if not isinstance(tab, str) or not re.fullmatch("[0-9a-z]{8,40}", tab):
            return answer(400, error("tab: expected 8 to 40 of 0-9 a-z"))
        if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_IDS or not all(map(is_number, ids)):
            return answer(400, error(f"ids: expected a list of 1 to {MOST_IDS} numbers of updates"))
        changed = self._updates.received(user.id, tab, ids, int(time.time() * 1000))
        self._outbox.wake(*changed)
        return answer(200, {"type": "noted", "ids": ids})

    def _since(self, user, message):
        after, cursor = message.get("after", 0), message.get("cursor", 0)
        if not is_number(after) or not is_number(cursor):
            return answer(400, error("after, cursor: expected the number of an update, or 0"))
        updates, following = self._updates.missed(user.id, after, cursor)
        return answer(200, {"type": "missed", "updates": updates, "cursor": following})


def connected(user, offered):
    headers = {}
    if SUBPROTOCOL in [name.strip() for name in offered.split(",")]:
        headers["Sec-WebSocket-Protocol"] = SUBPROTOCOL
    if user.role == "warehouse":
        headers["Tidegate-Join"] = WAREHOUSE
    return answer(200, {}, headers)


def error(message):
    return {"type": "error", "message": message}


def is_number(value):
    return type(value) is int and 0 <= value < 2**53
