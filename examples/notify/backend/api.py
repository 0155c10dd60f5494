"""The REST api.

    POST   /api/session                      name, password: signs this browser in
    GET    /api/sessions                     who is signed in in this browser
    DELETE /api/session/{user}               signs out
    POST   /api/token                        user: an access token for a signed-in one
    GET    /api/catalogue
    GET    /api/orders, POST /api/orders     a customer's own
    GET    /api/warehouse/orders             everybody's, with how their updates fared
    POST   /api/warehouse/orders/{id}/state  moves an order on

A browser may be signed in as several people, each in a cookie of their own, so that a customer's
tab and the warehouse's can stand side by side. A cookie is good for one thing: getting an access
token; everything else wants `Authorization: Bearer`.

Holds always: a refusal is JSON, `{"message": …}`, and says what would be right.
"""

import json
import re
import time
from functools import wraps

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .accounts import SESSION_S
from .orders import CATALOGUE, MOST, Refused

MOST_BODY_BYTES = 16 * 1024
COOKIE = "notify_"


def answer(status, body, headers=None):
    return JSONResponse(body, status, {"Cache-Control": "no-store", **(headers or {})})


class Api:
    def __init__(self, accounts, tokens, orders, outbox, secure):
        self._accounts = accounts
        self._tokens = tokens
        self._orders = orders
        self._outbox = outbox
        self._secure = secure

    def routes(self):
        return [
            Route("/api/session", blocking(self.sign_in), methods=["POST"]),
            Route("/api/sessions", blocking(self.sessions), methods=["GET"]),
            Route("/api/session/{user}", blocking(self.sign_out), methods=["DELETE"]),
            Route("/api/token", blocking(self.token), methods=["POST"]),
            Route("/api/catalogue", blocking(self.catalogue), methods=["GET"]),
            Route("/api/orders", blocking(self.my_orders), methods=["GET"]),
            Route("/api/orders", blocking(self.place), methods=["POST"]),
            Route("/api/warehouse/orders", blocking(self.all_orders), methods=["GET"]),
            Route("/api/warehouse/orders/{id:int}/state", blocking(self.move), methods=["POST"]),
        ]

    def sign_in(self, request, body):
        name, password = text(body, "name", 100), text(body, "password", 200)
        user = self._accounts.with_password(name, password)
        if user is None:
            raise Refused(401, "name or password is wrong")
        secret = self._accounts.begin_session(user, now_ms())
        response = answer(200, {"user": shown(user)})
        response.set_cookie(
            COOKIE + user.id, secret, SESSION_S, path="/api", httponly=True, samesite="strict", secure=self._secure
        )
        return response

    def sessions(self, request, body):
        names = [name.removeprefix(COOKIE) for name in request.cookies if name.startswith(COOKIE)]
        users = [user for name in names if (user := self._signed_in(request, name))]
        return answer(200, {"users": [shown(user) for user in users]})

    def sign_out(self, request, body):
        name = request.path_params["user"]
        if self._signed_in(request, name):
            self._accounts.end_session(request.cookies[COOKIE + name])
        response = Response(status_code=204)
        if COOKIE + name in request.cookies:
            response.delete_cookie(COOKIE + name, path="/api", httponly=True, samesite="strict", secure=self._secure)
        return response

    def token(self, request, body):
        """`lifetime_s` may ask for a shorter life than the usual one, never for a longer one."""
        user = self._signed_in(request, text(body, "user", 100))
        if user is None:
            raise Refused(401, "not signed in")
        life = body.get("lifetime_s")
        if life is not None and (type(life) is not int or life < 1):
            raise Refused(400, "lifetime_s: expected a number from 1")
        token, life = self._tokens.issue(user, int(time.time()), life)
        return answer(200, {"token": token, "expires_in": life, "user": shown(user)})

    def catalogue(self, request, body):
        items = [{"id": id, "name": name, "cents": cents} for id, (name, cents) in CATALOGUE.items()]
        return answer(200, {"items": items, "most": MOST})

    def my_orders(self, request, body):
        orders, last = self._orders.of_user(self._bearer(request, "customer"))
        return answer(200, {"orders": orders, "last_update": last})

    def place(self, request, body):
        user_id = self._bearer(request, "customer")
        key = request.headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= 255:
            raise Refused(400, "Idempotency-Key: expected 1 to 255 characters")
        order, new = self._orders.place(user_id, body.get("item"), body.get("quantity"), key, now_ms())
        self._outbox.wake(order["id"])
        return answer(201 if new else 200, {"order": order})

    def all_orders(self, request, body):
        self._bearer(request, "warehouse")
        return answer(200, {"orders": self._orders.all()})

    def move(self, request, body):
        self._bearer(request, "warehouse")
        order = self._orders.move(request.path_params["id"], body.get("state"), now_ms())
        self._outbox.wake(order["id"])
        return answer(200, {"order": self._orders.for_warehouse(order["id"])})

    def _signed_in(self, request, name):
        secret = request.cookies.get(COOKIE + name)
        user = self._accounts.of_session(secret, now_ms()) if secret else None
        return user if user and user.id == name else None

    def _bearer(self, request, role):
        """The id of the user whose access token this is."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        claims = self._tokens.claims(token) if kind.lower() == "bearer" else None
        if claims is None:
            raise Refused(401, "a good access token is missing: Authorization: Bearer")
        if claims["role"] != role:
            raise Refused(403, f"only for the {role}")
        return claims["sub"]


def blocking(handler):
    """A handler that gets the body as JSON and may wait for the database, in a thread of its own."""

    @wraps(handler)
    async def endpoint(request):
        try:
            body = await json_body(request)
            return await run_in_threadpool(handler, request, body)
        except Refused as refused:
            headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else None
            return answer(refused.status, {"message": str(refused)}, headers)

    return endpoint


async def json_body(request):
    if request.method in ("GET", "DELETE"):
        return {}
    # A form of another site can send anything but this, without asking the browser's leave.
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Refused(415, "Content-Type: expected application/json")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY_BYTES:
            raise Refused(413, f"the body is over {MOST_BODY_BYTES} bytes")
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused(400, "expected a JSON object")
    return value


def text(body, name, most):
    value = body.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= most or re.search("[\x00\ud800-\udfff]", value):
        raise Refused(400, f"{name}: expected text of 1 to {most} characters")
    return value


def shown(user):
    return {"id": user.id, "name": user.name, "role": user.role}


def now_ms():
    return int(time.time() * 1000)
