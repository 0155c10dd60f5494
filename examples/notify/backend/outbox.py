"""Sends what stands in the outbox, in its order, until the gateway has taken it.

In:  updates in the database, and orders whose row in the warehouse's view has changed.
Out: pushes to users, each under its own key; the changed rows to the group `warehouse`.

    waiting ──push──► taken: n connections
       ▲  └─ no answer, or not now: again after a pause that doubles, the same key
       └─ a start finds what the last process left

Holds always: an update is pushed after it is committed and never before; updates go out in the
order of their numbers. The gateway remembers a key for a minute; a push that is repeated later than
that arrives twice, and pages drop what they have.
"""

import asyncio
import json
import logging
import random
import time

from .gateway import Away, Never

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 15
WAREHOUSE = "warehouse"

log = logging.getLogger("notify.outbox")


class Outbox:
    def __init__(self, updates, orders, gateway):
        self._updates = updates
        self._orders = orders
        self._gateway = gateway
        self._changed = asyncio.Event()
        self._rows = set()
        # Pages outlive this process at the gateway, and do not know what it forgot to tell them.
        self._anew = True
        self._loop = None

    def start(self):
        """The task that sends; it ends only by being cancelled, or by a fault."""
        self._loop = asyncio.get_running_loop()
        return self._loop.create_task(self._run())

    def wake(self, *order_ids):
        """Something was committed, about these orders. From any thread."""
        self._loop.call_soon_threadsafe(self._note, order_ids)

    def _note(self, order_ids):
        self._rows.update(order_ids)
        self._changed.set()

    async def _run(self):
        failures = 0
        while True:
            self._changed.clear()
            try:
                await self._push_waiting()
                await self._show_warehouse()
            except Away as error:
                # One line for one outage.
                if failures == 0:
                    log.warning("the gateway takes no push, trying again: %s", error)
                failures += 1
                await asyncio.sleep(pause_s(failures))
            else:
                if failures:
                    log.warning("the gateway takes pushes again")
                failures = 0
                await self._changed.wait()

    async def _push_waiting(self):
        while waiting := await asyncio.to_thread(self._updates.next_waiting):
            update, message = waiting
            self._rows.add(update["order_id"])
            try:
                connections = await self._gateway.to_user(update["user_id"], message, update["push_id"])
            except Away:
                await asyncio.to_thread(self._updates.tried, update["id"])
                raise
            except Never as error:
                # Its customer still finds it: a page asks for what it lacks.
                log.error("update %s will not be pushed: the gateway says %s", update["id"], error)
                await asyncio.to_thread(self._updates.refused, update["id"], str(error))
            else:
                await asyncio.to_thread(self._updates.sent, update["id"], connections, int(time.time() * 1000))

    async def _show_warehouse(self):
        if self._anew:
            await self._gateway.to_group(WAREHOUSE, json.dumps({"type": "anew"}))
            self._anew = False
        while self._rows:
            order_id = min(self._rows)
            # Before it is read: what changes from now on is told again.
            self._rows.discard(order_id)
            row = await asyncio.to_thread(self._orders.for_warehouse, order_id)
            try:
                await self._gateway.to_group(WAREHOUSE, json.dumps({"type": "order", "order": row}))
            except Away:
                self._rows.add(order_id)
                raise
            except Never as error:
                log.error("order %s cannot be shown to the warehouse: the gateway says %s", order_id, error)


def pause_s(failures):
    """Doubles from one failure to the next, and is never quite the same."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1)
