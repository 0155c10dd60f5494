"""Pushes through the gateway's management API.

In:  who is to get which message. Out: how many connections it went to, or why it did not go.
"""

from urllib.parse import quote

import httpx

TIMEOUT_S = 5


class Away(Exception):
    """It may work later: the gateway is not there, too slow, busy or not set up yet."""


class Never(Exception):
    """It will be the same the next time."""


class Gateway:
    def __init__(self, stage):
        self._stage = stage
        # What the environment says about proxies is for elsewhere.
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)

    async def to_user(self, principal_id, message, push_id):
        return await self._post(f"@users/{quote(principal_id, safe='')}", message, {"Idempotency-Key": push_id})

    async def to_group(self, group, message):
        return await self._post(f"@groups/{group}", message, {})

    async def close(self):
        await self._client.aclose()

    async def _post(self, target, message, headers):
        try:
            answer = await self._client.post(f"{self._stage}/{target}", content=message, headers=headers)
        except httpx.TransportError as error:
            raise Away(f"{type(error).__name__}: {error}") from error
        if answer.status_code in (400, 413):
            raise Never(f"{answer.status_code} {answer.text[:200]}")
        try:
            answer.raise_for_status()
            return int(answer.json()["recipients"])
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
            raise Away(f"answered {answer.status_code}") from error
