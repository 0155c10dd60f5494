"""The outbox: what was committed is pushed, through crashes of this side and outages of the other."""

import tempfile
import unittest
from pathlib import Path

from .running import Backend, GatewayStandIn, free_port, until


class OutboxTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.database = Path(folder.name) / "notify.db"

    def gateway(self, port=0):
        gateway = GatewayStandIn(port)
        self.addCleanup(gateway.stop)
        return gateway

    def backend(self, gateway_port):
        backend = Backend(self.database, gateway_port)
        self.addCleanup(backend.kill)
        return backend

    def place(self, backend, user="ada"):
        status, answer = backend.call("POST", "/api/orders", {"item": "rope", "quantity": 1}, backend.sign_in(user))
        self.assertEqual(status, 201)
        return answer["order"]["id"]

    def unsent(self, backend):
        return backend.rows("SELECT * FROM outbox WHERE sent_ms IS NULL")

    def test_a_crash_between_commit_and_push_loses_nothing(self):
        port = free_port()  # where no gateway is
        first = self.backend(port)
        order = self.place(first)
        [stored] = self.unsent(first)
        first.kill()

        gateway = self.gateway(port)
        second = self.backend(port)
        until("the push", lambda: not self.unsent(second))
        [(path, key, message)] = gateway.tries
        self.assertEqual((path, key), ("/live/@users/ada", stored["push_id"]))
        self.assertEqual((message["update"]["id"], message["update"]["order"]["id"]), (stored["id"], order))

        # And it is not pushed by the next one: what is pushed there is another one.
        second.kill()
        third = self.backend(port)
        self.place(third)
        until("the next push", lambda: len(gateway.tries) > 1)
        self.assertNotEqual(gateway.tries[1][1], key)
        self.assertEqual(len(gateway.tries), 2)

    def test_a_crash_between_push_and_its_answer_pushes_once_by_its_key(self):
        gateway = self.gateway()
        gateway.answering.clear()
        first = self.backend(gateway.port)
        self.place(first)
        until("the push", lambda: gateway.tries)
        first.kill()
        gateway.answering.set()

        second = self.backend(gateway.port)
        until("the second push", lambda: not self.unsent(second))
        self.assertEqual(len(gateway.tries), 2)
        self.assertEqual(gateway.tries[0], gateway.tries[1], "the same key, target and message")
        self.assertEqual(len(gateway.sent()), 1)

    def test_an_outage_delays_pushes_and_keeps_their_order(self):
        gateway = self.gateway()
        gateway.answers = [503, 429, 500]
        backend = self.backend(gateway.port)
        orders = [self.place(backend), self.place(backend, "grace"), self.place(backend)]
        until("all pushes", lambda: not self.unsent(backend))
        self.assertEqual([message["update"]["order"]["id"] for message in gateway.sent()], orders)
        self.assertEqual(len(gateway.tries), 6)
        self.assertEqual(len({key for _, key, _ in gateway.tries[:4]}), 1, "the first one four times")
        [first, *others] = backend.rows("SELECT tries, connections FROM outbox ORDER BY id")
        self.assertEqual(first, {"tries": 4, "connections": 2})
        self.assertEqual(others, [{"tries": 1, "connections": 2}] * 2)

    def test_a_push_that_can_never_go_out_holds_up_no_other(self):
        gateway = self.gateway()
        gateway.answers = [413]
        backend = self.backend(gateway.port)
        self.place(backend)
        self.place(backend)
        until("the second push", lambda: len(backend.rows("SELECT * FROM outbox WHERE sent_ms IS NOT NULL")) == 1)
        [refused, sent] = backend.rows("SELECT refused, sent_ms FROM outbox ORDER BY id")
        self.assertIn("413", refused["refused"])
        self.assertIsNone(sent["refused"])
        self.assertEqual(len(gateway.tries), 2)

    def test_a_second_backend_on_the_same_file_does_not_start(self):
        gateway = self.gateway()
        self.backend(gateway.port)
        with self.assertRaisesRegex(AssertionError, "another backend works with"):
            self.backend(gateway.port)
