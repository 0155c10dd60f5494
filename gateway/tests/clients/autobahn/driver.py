"""Autobahn's WebSocket cases against an endpoint that echoes text and binary messages.

usage: driver.py PACKAGE URL [--cases 1.*,2.*] [--exclude 9.*] [--verbose]

In:  PACKAGE, the unpacked PyPI package `autobahntestsuite`; URL, the endpoint.
Out: a line per group, the ids of what failed, and last "N passed, M failed, K unimplemented";
     exit 0 when nothing failed. "Non-strict" and "informational" count as passed, as in the
     suite's own reports; cases of an extension that the endpoint did not negotiate as
     unimplemented.

The cases run one after the other, each on a connection of its own. The `autobahn` library does
the WebSocket work; this file gives the cases the interface that they were written for.
"""

import argparse
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    connectWS,
)
from suite import load
from twisted.internet import reactor

CONNECT_WITHIN_S = 10
CLOSE_WITHIN_S = 5
# An endpoint that is not there need not be asked five hundred times.
MOST_REFUSED = 5
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
GOOD_CLOSE = ("OK", "INFORMATIONAL", "FAILED BY CLIENT")


def to_bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else text


class Result:
    """How one case went."""

    def __init__(self, behavior, good_close, text):
        self.behavior = behavior if good_close or behavior not in GOOD else "BAD CLOSE"
        self.text = text

    @property
    def unimplemented(self):
        return self.behavior == "UNIMPLEMENTED"

    @property
    def passed(self):
        return self.behavior in GOOD


class CaseConnection(WebSocketClientProtocol):
    """One connection, for one case: the methods and fields that the case's code uses."""

    def __init__(self, id, case):
        super().__init__()
        self.id = id
        # Compression cases compare the payload itself, all others latin-1 text.
        self.raw = id.startswith(("12.", "13."))
        self.connectionWasOpen = False
        self.rxFrameStats, self.txFrameStats = Counter(), Counter()
        self.createWirelog = False
        self.runCase = case(self)

    # What a case calls: the library's methods, with text for bytes.

    def enableWirelog(self, on):
        pass

    def continueLater(self, delay, function, tag=None):
        self._later(delay, function)

    def killAfter(self, delay):
        self._later(delay, self._fail_connection)

    def closeAfter(self, delay):
        self._later(delay, self.sendClose)

    def _later(self, delay, function):
        def unless_closed():
            if self.state != self.STATE_CLOSED:
                function()

        reactor.callLater(delay, unless_closed)

    def sendFrame(
        self, opcode, payload=b"", fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False
    ):
        super().sendFrame(
            opcode, to_bytes(payload), fin, rsv, to_bytes(mask), payload_len, chopsize, sync
        )

    def sendMessage(self, payload, isBinary=False, fragmentSize=None, sync=False, doNotCompress=False):
        super().sendMessage(to_bytes(payload), isBinary, fragmentSize, sync, doNotCompress)

    def sendMessageFrameData(self, payload, sync=False):
        return super().sendMessageFrameData(to_bytes(payload), sync)

    def sendMessageFrame(self, payload, sync=False):
        return super().sendMessageFrame(to_bytes(payload), sync)

    def sendPing(self, payload=None):
        super().sendPing(to_bytes(payload))

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        super().sendCloseFrame(code, to_bytes(reasonUtf8), isReply)

    # Frames are counted for the case that compares the counts.

    def logRxOctets(self, data):
        pass

    def logTxOctets(self, data, sync):
        pass

    def logRxFrame(self, header, payload):
        self.rxFrameStats[header.opcode] += 1

    def logTxFrame(self, header, payload, repeat, chop, sync):
        self.txFrameStats[header.opcode] += 1

    # What happens to the connection goes to the case.

    def onOpen(self):
        self.connectionWasOpen = True
        self.runCase.onOpen()

    def onMessage(self, payload, isBinary):
        self.runCase.onMessage(payload if self.raw else payload.decode("latin-1"), isBinary)

    def onPong(self, payload):
        self.runCase.onPong(payload.decode("latin-1"))

    def onClose(self, wasClean, code, reason):
        self.runCase.onClose(wasClean, code, reason)

    def connectionLost(self, reason):
        super().connectionLost(reason)
        case = self.runCase
        case.onConnectionLost(self.failedByMe)
        good_close = self.connectionWasOpen and case.behaviorClose in GOOD_CLOSE
        text = f"{case.result}; close {case.behaviorClose}, {self.remoteCloseCode}"
        self.factory.ended(Result(case.behavior, good_close, text))


class Driver(WebSocketClientFactory):
    """Connects once per case, in order, and keeps the results."""

    noisy = False

    def __init__(self, url, cases, verbose):
        super().__init__()
        self.cases = list(cases.items())
        self.verbose = verbose
        self.results = {}
        self.refused = 0
        self.setSessionParameters(url=url, useragent="autobahn cases")
        self.resetProtocolOptions()
        self.setProtocolOptions(
            failByDrop=False,
            openHandshakeTimeout=CONNECT_WITHIN_S,
            closeHandshakeTimeout=CLOSE_WITHIN_S,
        )
        self.logFrames, self.logOctets = True, False

    def buildProtocol(self, address):
        self.begun_at = time.monotonic()
        connection = CaseConnection(*self.cases[len(self.results)])
        connection.factory = self
        return connection

    def ended(self, result):
        id, _ = self.cases[len(self.results)]
        self.results[id] = result
        if self.verbose:
            ms = 1000 * (time.monotonic() - self.begun_at)
            print(f"{id:8} {result.behavior:13} {ms:6.0f} ms  {result.text}", flush=True)

    def clientConnectionLost(self, connector, reason):
        self._next(connector)

    def clientConnectionFailed(self, connector, reason):
        self.begun_at = time.monotonic()
        self.refused += 1
        self.ended(Result("FAILED", False, f"connect: {reason.getErrorMessage()}"))
        self._next(connector)

    def _next(self, connector):
        if len(self.results) < len(self.cases) and self.refused < MOST_REFUSED:
            reactor.callLater(0, connector.connect)
        else:
            reactor.stop()


def matches(patterns, id):
    """Whether a comma separated list of ids, `*` for anything, has this one."""
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), id)
        for pattern in patterns.split(",")
    )


def report(results, todo, group_names):
    """Prints what came out; whether nothing failed."""
    groups = defaultdict(Counter)
    # The run ends early where the endpoint takes no connections.
    not_run = Result("NOT RUN", False, "")
    results = {id: results.get(id, not_run) for id in todo}
    for id, result in results.items():
        groups[id.partition(".")[0]][result.behavior] += 1
    for number, counts in groups.items():
        counted = "  ".join(f"{behavior} {count}" for behavior, count in sorted(counts.items()))
        print(f"{number:>3} {group_names.get(number, ''):28} {counted}")
    unimplemented = sum(result.unimplemented for result in results.values())
    passed = sum(result.passed for result in results.values())
    failed = {id: r for id, r in results.items() if not r.passed and not r.unimplemented}
    for id, result in failed.items():
        if result is not not_run:
            print(f"{id} {result.behavior}: {result.text[:500]}")
    print(f"{passed} passed, {len(failed)} failed, {unimplemented} unimplemented")
    return not failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("package")
    parser.add_argument("url")
    parser.add_argument("--cases", default="*")
    parser.add_argument("--exclude", default="")
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cases, group_names = load(asked.package, scratch)
        todo = {
            id: case
            for id, case in cases.items()
            if matches(asked.cases, id) and not matches(asked.exclude, id)
        }
        if not todo:
            sys.exit(f"no case is named {asked.cases}")
        driver = Driver(asked.url, todo, asked.verbose)
        connectWS(driver, timeout=CONNECT_WITHIN_S)
        reactor.run()
    sys.exit(0 if report(driver.results, todo, group_names) else 1)


main()
