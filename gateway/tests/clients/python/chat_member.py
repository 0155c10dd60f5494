"""A member of the chat without a page, as a program would be one: `websockets`, and nothing else.

In:  the chat's address (`ws://…?key=…`), a name and a room as arguments; orders as JSON, one a line:
     {"say": text}, or {} to be told only.
Out: for each order a line: what it has seen so far, as JSON.

Holds always: what it says goes out again under the same mark until the chat has taken it; what was
said while it was away it asks for.
"""

import asyncio
import contextlib
import json
import sys

from websockets import ConnectionClosed
from websockets.asyncio.client import connect

URL, NAME, ROOM = sys.argv[1:]


class Member:
    def __init__(self):
        self.socket = None  # while in the room
        self.log, self.seq = None, 0
        self.to_say = {}  # by mark, in order
        self.marks = 0
        self.people = {}
        self.told = {"ends": [], "messages": [], "doubles": [], "others": []}

    async def stay(self):
        """Comes in, and comes back whenever the connection has ended."""
        async for socket in connect(URL, proxy=None):
            heard = set()
            with contextlib.suppress(ConnectionClosed):
                await self.join(socket)
                async for text in socket:
                    event = json.loads(text)
                    if event["type"] == "message":
                        if event["seq"] in heard:
                            self.told["doubles"].append(event["text"])
                        heard.add(event["seq"])
                    await self.hear(socket, event)
            self.socket = None
            self.told["ends"].append(socket.close_code)

    async def send(self, socket, action, **fields):
        await socket.send(json.dumps({"action": action, "room": ROOM, **fields}))

    async def join(self, socket):
        await self.send(socket, "join", name=NAME, ref="join")

    async def look(self, socket):
        await self.send(socket, "look", log=self.log, since=self.seq)

    async def say_next(self):
        """One at a time: the gateway hands on several of them in no particular order."""
        for mark, text in list(self.to_say.items())[:1]:
            await self.send(self.socket, "say", text=text, ref=mark)

    async def hear(self, socket, event):
        match event["type"]:
            case "ok" if event["ref"] == "join":
                await self.look(socket)
            case "ok":
                self.to_say.pop(event["ref"], None)
                await self.say_next()
            case "welcome":
                self.log, first, self.socket = event["log"], self.socket is None, socket
                self.people = {person["id"]: person["name"] for person in event["people"]}
                for message in event["messages"]:
                    self.note(message)
                if first:
                    await self.say_next()
            case "message" if event["seq"] > self.seq + 1:
                await self.look(socket)
            case "message":
                self.note(event)
            case "joined":
                self.people[event["person"]["id"]] = event["person"]["name"]
            case "left":
                self.people.pop(event["person"]["id"], None)
            case "anew":
                await self.join(socket)
            case _:
                self.told["others"].append(event)

    def note(self, message):
        if message["seq"] > self.seq:
            self.seq = message["seq"]
            self.told["messages"].append(message["text"])

    async def say(self, text):
        self.marks += 1
        self.to_say[f"{NAME} {self.marks}"] = text
        if self.socket and len(self.to_say) == 1:
            with contextlib.suppress(ConnectionClosed):  # then `welcome` says it
                await self.say_next()


async def main():
    member = Member()
    staying = asyncio.create_task(member.stay())
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    while not staying.done() and (line := await orders.readline()):
        order = json.loads(line)
        if "say" in order:
            await member.say(order["say"])
        print(json.dumps({**member.told, "people": sorted(member.people.values())}), flush=True)
    staying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await staying


asyncio.run(main())
