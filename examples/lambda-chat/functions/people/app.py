"""Who is here: the routes $connect, $disconnect, join and look of a WebSocket chat on AWS Lambda.

In:  events of API Gateway. Out: proxy responses, and posts to connections by
     `https://{domainName}/{stage}`.

Holds always: nothing is kept between two invocations but clients of services; all else is in the
table (`table.py`), which the function for what is said (`../messages`) reads and writes too.
"""

import hashlib
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import boto3

from table import open_table

MAX_NAME_CHARS = MAX_ROOM_CHARS = 40
MAX_MARK_BYTES = 64
# The lists of people and rooms must fit in one message, and a piece of the history with them.
MAX_IN_ROOM = 200
MAX_ROOMS = 100
HISTORY_PIECE_BYTES = 48 * 1024

# Made once for each worker, as the SDK advises; a cold start pays for it.
TABLE = open_table()
POSTS = ThreadPoolExecutor(16)
management = {}


class Refusal(Exception):
    """Why a request was not carried out: a code for the page, a sentence for its reader."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def handler(event, context):
    request = event["requestContext"]
    return ROUTES[request["routeKey"]](event, request)


def on_connect(event, request):
    """Everyone may come. Whoever brings the same key is the same person."""
    key = (event.get("queryStringParameters") or {}).get("key", "")
    if not 1 <= len(key.encode()) <= MAX_MARK_BYTES:
        return {"statusCode": 400}
    person = hashlib.sha256(f"person {key}".encode()).hexdigest()[:16]
    TABLE.put_new({"pk": "here", "sk": request["connectionId"], "person": person})
    return {"statusCode": 200}


def on_disconnect(event, request):
    forget(request["connectionId"], request)
    return {"statusCode": 200}


def on_message(answer):
    """A two-way route: what `answer` returns goes to the sender, with the `ref` that came."""

    def route(event, request):
        ask = {}
        try:
            ask = read(event["body"])
            return reply(answer(ask, request))
        except Refusal as why:
            error = {"type": "error", "code": why.code, "message": str(why)}
            return reply(error | {"ref": ask.get("ref")})

    return route


def join(ask, request):
    """Puts the connection into a room, out of the one where it was, and tells the others."""
    name = one_line("a name", ask.get("name"), " ", MAX_NAME_CHARS)
    room = one_line("a room's name", (ask.get("room") or "").lower(), "-", MAX_ROOM_CHARS)
    me = connection(request)
    here = everyone()
    mine = [c for c in here if c.get("room") == room and c["person"] == me["person"]]
    if not mine and len(people(here, room)) >= MAX_IN_ROOM:
        raise Refusal("room_full", f"this room is full: it holds {MAX_IN_ROOM}")
    open_room(room)

    was, left = mine[0]["name"] if mine else None, me.get("room")
    at = mine[0]["at"] if mine else int(time.time() * 1000)
    for window in [me, *(c for c in mine if c["sk"] != me["sk"])]:
        # One person has one name, also in two windows. Who is gone meanwhile stays gone.
        TABLE.replace(window | {"room": room, "name": name, "at": at})

    person = {"id": me["person"], "name": name}
    if left not in (None, room):
        say_goodbye(me, request)
    if was is None:
        others = [c for c in members(room) if c["sk"] != me["sk"]]
        tell(others, {"type": "joined", "room": room, "person": person}, request)
        tell_rooms(request)
    elif was != name:
        renamed = {"type": "renamed", "room": room, "person": person, "was": was}
        tell(members(room), renamed, request)
    return {"type": "ok", "room": room, "ref": ask.get("ref")}


def look(ask, request):
    """How things stand in the room. One is in the table by now: what is said from here on comes
    by itself."""
    me, here = connection(request), everyone()
    room = me.get("room")
    if room is None or room != ask.get("room"):
        raise Refusal("not_joined", "join the room first")
    log = TABLE.get("rooms", room)["log"]
    since = ask.get("since") if ask.get("log") == log else 0
    last = TABLE.query(f"said#{room}", limit=1, newest_first=True)
    return {
        "type": "welcome",
        "room": room,
        "log": log,
        "seq": last[0]["seq"] if last else 0,
        "you": me["person"],
        "people": people(here, room),
        "rooms": room_lines(here),
        "messages": history(room, since),
        "ref": ask.get("ref"),
    }


def history(room, since):
    """What was said after a number, as much as fits."""
    piece, size = [], 0
    for item in TABLE.query(f"said#{room}", after=f"{since or 0:012}", limit=200):
        message = {name: item.get(name) for name in ("seq", "at", "person", "name", "text", "ref")}
        size += len(to_json(message))
        if piece and size > HISTORY_PIECE_BYTES:
            break
        piece.append(message)
    return piece


def forget(connection_id, request):
    """Takes a connection out of the table and says so, if it was the person's last in the room."""
    gone = TABLE.delete("here", connection_id)
    if gone and gone.get("room"):
        say_goodbye(gone, request)
        tell_rooms(request)


def say_goodbye(gone, request):
    others = members(gone["room"])
    if not any(c["person"] == gone["person"] for c in others):
        person = {"id": gone["person"], "name": gone["name"]}
        tell(others, {"type": "left", "room": gone["room"], "person": person}, request)


def tell_rooms(request):
    here = everyone()
    tell(here, {"type": "rooms", "rooms": room_lines(here)}, request)


def tell(connections, event, request):
    """Posts an event to each; who turns out to be gone is forgotten."""
    endpoint = f"https://{request['domainName']}/{request['stage']}"
    if endpoint not in management:
        management[endpoint] = boto3.client("apigatewaymanagementapi", endpoint_url=endpoint)
    client, data = management[endpoint], to_json(event)

    def post(connection_id):
        try:
            client.post_to_connection(ConnectionId=connection_id, Data=data)
        except client.exceptions.GoneException:
            return connection_id

    for gone in list(POSTS.map(post, [c["sk"] for c in connections])):
        if gone:
            forget(gone, request)


def connection(request):
    item = TABLE.get("here", request["connectionId"])
    if item is None:
        raise Refusal("not_joined", "this connection has ended")
    return item


def everyone():
    """Every connection. Each of them is read for each event: on API Gateway there is no other way
    to reach a room."""
    return TABLE.query("here")


def members(room):
    return [c for c in everyone() if c.get("room") == room]


def people(here, room):
    """Each person once, in the order of joining."""
    shown = {}
    for c in sorted((c for c in here if c.get("room") == room), key=lambda c: c["at"]):
        shown.setdefault(c["person"], {"id": c["person"], "name": c["name"]})
    return list(shown.values())


def room_lines(here):
    rooms = [item["sk"] for item in TABLE.query("rooms")]
    return [{"room": room, "people": len(people(here, room))} for room in rooms]


def open_room(room):
    """The log's name is the room's from its first guest on, whoever of two is faster."""
    if TABLE.get("rooms", room) is None:
        if len(TABLE.query("rooms")) >= MAX_ROOMS:
            raise Refusal("too_many_rooms", "there are too many rooms already")
        TABLE.put_new({"pk": "rooms", "sk": room, "log": secrets.token_hex(8)})


def read(body):
    try:
        ask = json.loads(body)
    except ValueError as error:
        raise Refusal("malformed", f"this is no JSON: {error}") from None
    if not isinstance(ask, dict):
        raise Refusal("malformed", "this is no JSON object")
    kinds = {"room": str, "name": str, "log": str, "ref": str, "since": int}
    for name, kind in kinds.items():
        if not isinstance(ask.get(name), kind | None):
            raise Refusal("malformed", f"{name} is of another kind than the chat understands")
    if len((ask.get("ref") or "").encode()) > MAX_MARK_BYTES:
        raise Refusal("too_long", f"ref has at most {MAX_MARK_BYTES} characters")
    return ask


def one_line(what, text, gap, longest):
    """One line of text that can be shown: its words, joined by `gap`."""
    shown = "".join(c for c in gap.join((text or "").split()) if c.isprintable())
    if not shown:
        raise Refusal("empty", f"{what} must not be empty")
    if len(shown) > longest:
        raise Refusal("too_long", f"{what} has at most {longest} characters")
    return shown


def reply(message):
    return {"statusCode": 200, "body": to_json(message).decode()}


def to_json(message):
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


ROUTES = {
    "$connect": on_connect,
    "$disconnect": on_disconnect,
    "join": on_message(join),
    "look": on_message(look),
}
