"""Puts the parts together: the REST api, the gateway's calls, the keys, the page."""

import asyncio
import time
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .accounts import Accounts
from .api import Api, answer
from .calls import Calls
from .gateway import Gateway
from .orders import Orders, Updates
from .outbox import Outbox
from .settings import EXAMPLE
from .tokens import Tokens

#: How long verifiers may keep the keys, seconds.
KEYS_S = 300


def application(settings, database):
    accounts = Accounts(database)
    orders, updates = Orders(database), Updates(database)
    tokens = Tokens(database, settings.issuer, settings.token_s, int(time.time() * 1000))

    gateway = Gateway(settings.gateway)
    outbox = Outbox(updates, orders, gateway)
    api = Api(accounts, tokens, orders, outbox, settings.issuer.startswith("https:"))
    calls = Calls(settings.gateway_secret, accounts, updates, outbox)

    @asynccontextmanager
    async def lifespan(app):
        sending = outbox.start()
        # A backend that only seems to push must not go on.
        sending.add_done_callback(stop_at_a_fault)
        yield
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await gateway.close()

    async def call(request):
        return await run_in_threadpool(calls.answer, request.headers, await request.body())

    async def healthz(request):
        return PlainTextResponse("ok\n")

    async def where(request):
        return answer(200, {"port": settings.gateway_port})

    async def discovery(request):
        return JSONResponse(tokens.discovery(), headers={"Cache-Control": f"max-age={KEYS_S}"})

    async def keys(request):
        return JSONResponse(tokens.key_set(), headers={"Cache-Control": f"max-age={KEYS_S}"})

    app = Starlette(
        routes=[
            *api.routes(),
            Route("/gateway", call, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/gateway.json", where),
            Route("/.well-known/openid-configuration", discovery),
            Route("/.well-known/jwks.json", keys),
            Mount("/", StaticFiles(directory=EXAMPLE / "page", html=True)),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: refused, Exception: failed},
    )
    return guarded(app, settings.gateway_port)


def stop_at_a_fault(sending):
    if not sending.cancelled():
        raise SystemExit(f"notify: the outbox has ended: {sending.exception()!r}")


async def refused(request, error):
    return answer(error.status_code, {"message": error.detail.lower()}, error.headers)


async def failed(request, error):
    return answer(500, {"message": "the backend failed, its log says why"})


def guarded(app, gateway_port):
    """Adds what keeps a page to itself: its own files, and WebSockets to the gateway."""
    policy = (
        f"default-src 'self'; connect-src 'self' ws://*:{gateway_port} wss://*:{gateway_port}; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    headers = [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]

    async def with_headers(scope, receive, send):
        async def send_on(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        await app(scope, receive, send_on)

    return with_headers
