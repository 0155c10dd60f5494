"""The REST api and the gateway's calls: what is taken, and what is refused with which words."""

import http.client
import tempfile
import unittest
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from .running import Backend, GatewayStandIn, until

TAB = "0123456789ab"


class ApiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.gateway = GatewayStandIn()
        cls.addClassCleanup(cls.gateway.stop)
        cls.backend = Backend(Path(folder.name) / "notify.db", cls.gateway.port)
        cls.addClassCleanup(cls.backend.kill)
        cls.ada, cls.grace, cls.wren = map(cls.backend.sign_in, ("ada", "grace", "wren"))

    def refused(self, status, message, *call):
        self.assertEqual(self.backend.call(*call), (status, {"message": message}))

    def place(self, headers=None, **order):
        status, answer = self.backend.call(
            "POST", "/api/orders", {"item": "oar", "quantity": 1, **order}, headers or self.ada)
        self.assertIn(status, (200, 201), answer)
        return answer["order"]

    def test_a_sign_in_needs_the_right_password(self):
        for body in ({"name": "ada", "password": "Lighthouse"}, {"name": "nobody", "password": "lighthouse"}):
            self.refused(401, "name or password is wrong", "POST", "/api/session", body)
            self.assertIsNone(self.backend.headers["Set-Cookie"])
        self.refused(400, "password: expected text of 1 to 200 characters", "POST", "/api/session", {"name": "ada"})

    def test_passwords_and_sessions_are_stored_as_hashes(self):
        self.backend.call("POST", "/api/session", {"name": "ada", "password": "lighthouse"})
        cookie = self.backend.headers["Set-Cookie"]
        self.assertIn("HttpOnly", cookie)
        self.assertIn("SameSite=strict", cookie)
        secret = cookie.split(";")[0].split("=")[1]
        stored = str(self.backend.rows("SELECT * FROM sessions")) + str(self.backend.rows("SELECT * FROM users"))
        self.assertNotIn(secret, stored)
        self.assertNotIn("lighthouse", stored)

    def test_a_session_gives_tokens_for_its_user_until_it_is_ended(self):
        self.refused(401, "not signed in", "POST", "/api/token", {"user": "ada"})
        self.backend.call("POST", "/api/session", {"name": "ada", "password": "lighthouse"})
        cookie = {"Cookie": self.backend.headers["Set-Cookie"].split(";")[0]}
        secret = cookie["Cookie"].split("=")[1]
        status, answer = self.backend.call("POST", "/api/token", {"user": "ada", "lifetime_s": 7}, cookie)
        self.assertEqual((status, answer["expires_in"]), (200, 7))
        self.assertEqual(self.backend.call("POST", "/api/token", {"user": "ada", "lifetime_s": 9999}, cookie)[1]["expires_in"], 300)
        self.refused(400, "lifetime_s: expected a number from 1", "POST", "/api/token", {"user": "ada", "lifetime_s": 0}, cookie)
        # The cookie of one under another one's name.
        self.refused(401, "not signed in", "POST", "/api/token", {"user": "grace"}, {"Cookie": f"notify_grace={secret}"})
        self.assertEqual(self.backend.call("DELETE", "/api/session/ada", None, cookie), (204, None))
        self.refused(401, "not signed in", "POST", "/api/token", {"user": "ada"}, cookie)

    def test_tokens_are_checked_by_the_published_keys(self):
        _, discovery = self.backend.call("GET", "/.well-known/openid-configuration")
        self.assertEqual(discovery["issuer"], f"http://127.0.0.1:{self.backend.port}")
        self.assertEqual(discovery["jwks_uri"], f"{discovery['issuer']}/.well-known/jwks.json")
        _, keys = self.backend.call("GET", "/.well-known/jwks.json")
        self.assertNotIn("d", keys["keys"][0], "the private part")
        token = self.ada["Authorization"].removeprefix("Bearer ")
        key = jwt.PyJWK(keys["keys"][0])
        claims = jwt.decode(token, key, algorithms=["ES256"], audience="notify", issuer=discovery["issuer"])
        self.assertEqual((claims["sub"], claims["role"]), ("ada", "customer"))

        head = {"kid": jwt.get_unverified_header(token)["kid"]}
        others = ec.generate_private_key(ec.SECP256R1())
        for bad in (
            "",
            "nonsense",
            token[:-8] + "AAAAAAAA",
            jwt.encode(claims, others, "ES256", head),
            jwt.encode(claims, None, "none", head),
            jwt.encode(claims, "x" * 32, "HS256", head),
        ):
            with self.subTest(token=bad):
                self.refused(
                    401, "a good access token is missing: Authorization: Bearer",
                    "GET", "/api/orders", None, {"Authorization": f"Bearer {bad}"})

    def test_a_role_sees_only_its_own_part(self):
        self.refused(403, "only for the warehouse", "GET", "/api/warehouse/orders", None, self.ada)
        self.refused(403, "only for the customer", "GET", "/api/orders", None, self.wren)
        order = self.place()["id"]
        self.refused(403, "only for the warehouse", "POST", f"/api/warehouse/orders/{order}/state", {"state": "packed"}, self.ada)
        _, hers = self.backend.call("GET", "/api/orders", None, self.grace)
        self.assertNotIn(order, [each["id"] for each in hers["orders"]])

    def test_an_order_that_cannot_be_is_refused(self):
        items = "item: expected one of lantern, rope, oar, chart, kettle, bell"
        quantity = "quantity: expected a number from 1 to 20"
        for body, message in (
            ({"item": "anchor", "quantity": 1}, items),
            ({"quantity": 1}, items),
            ({"item": "oar", "quantity": 0}, quantity),
            ({"item": "oar", "quantity": 21}, quantity),
            ({"item": "oar", "quantity": "2"}, quantity),
            ({"item": "oar", "quantity": True}, quantity),
        ):
            with self.subTest(body=body):
                self.refused(400, message, "POST", "/api/orders", body, self.ada)
        for body in (b"", b"{", b"[]", b"\xff"):
            with self.subTest(body=body):
                self.refused(400, "expected a JSON object", "POST", "/api/orders", body, self.ada)
        self.refused(413, "the body is over 16384 bytes", "POST", "/api/orders", b" " * 16385, self.ada)
        self.refused(415, "Content-Type: expected application/json", "POST", "/api/orders", b"{}", {**self.ada, "Content-Type": "text/plain"})
        self.refused(404, "not found", "GET", "/api/nothing")
        self.refused(405, "method not allowed", "DELETE", "/api/orders")

    def test_an_order_that_is_placed_twice_under_one_key_is_one(self):
        first = self.place({**self.ada, "Idempotency-Key": "once"}, quantity=3)
        self.assertEqual(self.place({**self.ada, "Idempotency-Key": "once"}, quantity=3), first)
        self.assertNotEqual(self.place({**self.grace, "Idempotency-Key": "once"})["id"], first["id"])
        [told] = self.backend.rows(f"SELECT count(*) AS times FROM outbox WHERE order_id = {first['id']}")
        self.assertEqual(told["times"], 1)

    def test_states_follow_one_another(self):
        order = self.place()["id"]
        path = f"/api/warehouse/orders/{order}/state"
        self.refused(409, f"order {order} is placed, it cannot become shipped", "POST", path, {"state": "shipped"}, self.wren)
        self.refused(
            400, "state: expected one of placed, packed, shipped, delivered, cancelled",
            "POST", path, {"state": "lost"}, self.wren)
        self.refused(404, "there is no order 999", "POST", "/api/warehouse/orders/999/state", {"state": "packed"}, self.wren)
        for state in ("packed", "shipped", "delivered"):
            status, answer = self.backend.call("POST", path, {"state": state}, self.wren)
            self.assertEqual((status, answer["order"]["state"]), (200, state))
        self.refused(409, f"order {order} is delivered, it cannot become cancelled", "POST", path, {"state": "cancelled"}, self.wren)
        told = self.backend.rows(f"SELECT state FROM outbox WHERE order_id = {order} ORDER BY id")
        self.assertEqual([each["state"] for each in told], ["placed", "packed", "shipped", "delivered"])

    def test_only_the_gateway_may_speak_for_users(self):
        for headers in ({}, {"gateway-secret": "another"}):
            self.refused(403, "only the gateway calls this", "POST", "/gateway", {"after": 0}, {"Tidegate-Principal-Id": "ada", **headers})
        self.assertEqual(self.backend.as_gateway("nobody", "since", {})[0], 403)

    def test_a_connect_answers_the_subprotocol_and_joins_the_warehouse(self):
        status, _ = self.backend.as_gateway("ada", "$connect", b"", "CONNECT", **{"Sec-WebSocket-Protocol": "notify"})
        self.assertEqual((status, self.backend.headers["Sec-WebSocket-Protocol"]), (200, "notify"))
        self.assertIsNone(self.backend.headers["Tidegate-Join"])
        status, _ = self.backend.as_gateway("wren", "$connect", b"", "CONNECT")
        self.assertEqual((status, self.backend.headers["Tidegate-Join"]), (200, "warehouse"))
        self.assertIsNone(self.backend.headers["Sec-WebSocket-Protocol"])

    def test_receipts_count_once_for_each_tab_and_only_for_ones_own(self):
        order = self.place()
        path = "/api/warehouse/orders"
        receipt = {"tab": TAB, "ids": [order["update"]]}
        for user, tab in (("ada", TAB), ("ada", TAB), ("ada", TAB + "2"), ("grace", TAB + "3")):
            status, answer = self.backend.as_gateway(user, "received", {**receipt, "tab": tab})
            self.assertEqual((status, answer), (200, {"type": "noted", "ids": receipt["ids"]}))

        def delivery():
            _, answer = self.backend.call("GET", path, None, self.wren)
            [seen] = [each for each in answer["orders"] if each["id"] == order["id"]]
            return seen["deliveries"][0]

        sent = until("the push", lambda: (seen := delivery())["sent"] and seen)
        self.assertEqual((sent["connections"], sent["tabs"]), (2, 2))
        for bad, message in (
            ({"tab": "?", "ids": [1]}, "tab: expected 8 to 40 of 0-9 a-z"),
            ({"tab": TAB, "ids": []}, "ids: expected a list of 1 to 100 numbers of updates"),
            ({"tab": TAB, "ids": ["1"]}, "ids: expected a list of 1 to 100 numbers of updates"),
        ):
            self.assertEqual(self.backend.as_gateway("ada", "received", bad), (400, {"type": "error", "message": message}))

    def test_who_asks_gets_what_was_missed_in_pages(self):
        def missed(**asked):
            status, answer = self.backend.as_gateway("grace", "since", asked)
            self.assertEqual((status, answer["type"]), (200, "missed"))
            return [each["id"] for each in answer["updates"]], answer["cursor"]

        first, *_ = numbers = [self.place(self.grace)["update"] for _ in range(103)]
        last = numbers[-1]
        ids, cursor = missed(after=first - 1, cursor=first - 1)
        self.assertEqual((ids, cursor), (numbers[:100], numbers[99]))
        self.assertEqual(missed(after=first - 1, cursor=cursor), (numbers[100:], None))
        # No tab has any of them: they are missed, whatever the page says that it has seen.
        self.assertEqual(missed(after=last, cursor=first - 1)[0], numbers[:100])
        self.backend.as_gateway("grace", "received", {"tab": TAB, "ids": numbers[:100]})
        self.assertEqual(missed(after=last, cursor=first - 1), (numbers[100:], None))
        self.backend.as_gateway("grace", "received", {"tab": TAB, "ids": numbers[100:]})
        self.assertEqual(missed(after=last, cursor=first - 1), ([], None))
        # A tab that has seen less than another one asks by number.
        self.assertEqual(missed(after=numbers[101], cursor=first - 1), ([last], None))
        status, answer = self.backend.as_gateway("grace", "since", {"after": -1})
        self.assertEqual((status, answer["type"]), (400, "error"))

    def test_a_page_reaches_nothing_but_its_own_place_and_the_gateway(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.backend.port)
        self.addCleanup(connection.close)
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        self.assertEqual(answer.status, 200)
        policy = answer.headers["Content-Security-Policy"]
        self.assertIn("default-src 'self'", policy)
        self.assertIn(f"ws://*:{self.gateway.port}", policy)
