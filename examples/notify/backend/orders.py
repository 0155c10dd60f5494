"""Orders: what can be bought, which state follows which, and what is told about it.

Holds always: a change of an order and the update that tells of it are one transaction.
"""

import json
import uuid

CATALOGUE = {
    "lantern": ("Storm lantern, brass", 6400),
    "rope": ("Hemp rope, 20\u00a0m", 2850),
    "oar": ("Ash oar, 2.4\u00a0m", 8900),
    "chart": ("Sea chart, Irish Sea", 3200),
    "kettle": ("Galley kettle, 1.5\u00a0l", 4150),
    "bell": ("Ship's bell, 15\u00a0cm", 7600),
}
MOST = 20

NEXT = {
    "placed": ("packed", "cancelled"),
    "packed": ("shipped", "cancelled"),
    "shipped": ("delivered",),
    "delivered": (),
    "cancelled": (),
}


class Refused(Exception):
    """An order that cannot be: what is wrong, and the HTTP status that says so."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Orders:
    def __init__(self, database):
        self._database = database

    def place(self, user_id, item, quantity, request_key, now_ms):
        """The new order, and whether it is new: a request key that was seen brings the old one."""
        if item not in CATALOGUE:
            raise Refused(400, f"item: expected one of {', '.join(CATALOGUE)}")
        if type(quantity) is not int or not 1 <= quantity <= MOST:
            raise Refused(400, f"quantity: expected a number from 1 to {MOST}")
        with self._database.write() as write:
            known = request_key and write.execute(
                "SELECT id FROM orders WHERE user_id = ? AND request_key = ?", (user_id, request_key)
            ).fetchone()
            if known:
                return order(write, known["id"]), False
            order_id = write.execute(
                "INSERT INTO orders (user_id, item, quantity, cents, state, request_key) VALUES (?, ?, ?, ?, 'placed', ?)",
                (user_id, item, quantity, CATALOGUE[item][1] * quantity, request_key),
            ).lastrowid
            tell(write, user_id, order_id, "placed", now_ms)
            return order(write, order_id), True

    def move(self, order_id, state, now_ms):
        with self._database.write() as write:
            row = write.execute("SELECT user_id, state FROM orders WHERE id = ?", (order_id,)).fetchone()
            if not row:
                raise Refused(404, f"there is no order {order_id}")
            if state not in NEXT:
                raise Refused(400, f"state: expected one of {', '.join(NEXT)}")
            if state not in NEXT[row["state"]]:
                raise Refused(409, f"order {order_id} is {row['state']}, it cannot become {state}")
            write.execute("UPDATE orders SET state = ? WHERE id = ?", (state, order_id))
            tell(write, row["user_id"], order_id, state, now_ms)
            return order(write, order_id)

    def of_user(self, user_id):
        """The user's orders, newest first, and the number of the last update that they show."""
        with self._database.read() as read:
            rows = read.execute("SELECT id FROM orders WHERE user_id = ? ORDER BY id DESC LIMIT 100", (user_id,))
            last = read.execute("SELECT max(id) FROM outbox WHERE user_id = ?", (user_id,)).fetchone()[0]
            return [order(read, id) for (id,) in rows.fetchall()], last or 0

    def all(self):
        with self._database.read() as read:
            rows = read.execute("SELECT id FROM orders ORDER BY id DESC LIMIT 200")
            return [with_deliveries(read, id) for (id,) in rows.fetchall()]

    def for_warehouse(self, order_id):
        with self._database.read() as read:
            return with_deliveries(read, order_id)


class Updates:
    """What was told, to whom, and what came back."""

    PAGE = 100

    def __init__(self, database):
        self._database = database

    def missed(self, user_id, after, cursor):
        """Updates that a page lacks: what follows the last one it has, and, older than that, what
        none of the user's tabs has ever had. A page of them, and where the next one begins."""
        with self._database.read() as read:
            rows = read.execute(
                """SELECT * FROM outbox WHERE user_id = ? AND id > ? AND
                   (id > ? OR NOT EXISTS (SELECT 1 FROM receipts WHERE update_id = outbox.id))
                   ORDER BY id LIMIT ?""",
                (user_id, cursor, after, self.PAGE + 1),
            ).fetchall()
            updates = [update(read, row) for row in rows[: self.PAGE]]
        return updates, updates[-1]["id"] if len(rows) > self.PAGE else None

    def received(self, user_id, tab, ids, now_ms):
        """Notes a tab's receipts for updates that are the user's. The orders that they are about."""
        marks = ", ".join("?" * len(ids))
        with self._database.write() as write:
            rows = write.execute(
                f"SELECT id, order_id FROM outbox WHERE user_id = ? AND id IN ({marks})", (user_id, *ids)
            ).fetchall()
            write.executemany(
                "INSERT OR IGNORE INTO receipts VALUES (?, ?, ?)", [(row["id"], tab, now_ms) for row in rows]
            )
        return {row["order_id"] for row in rows}

    def next_waiting(self):
        """The oldest update that the gateway has not taken, as the outbox sends it."""
        with self._database.read() as read:
            row = read.execute(
                "SELECT * FROM outbox WHERE sent_ms IS NULL AND refused IS NULL ORDER BY id LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            message = json.dumps({"type": "update", "update": update(read, row)})
            return dict(row), message.encode()

    def tried(self, update_id):
        self._set("tries = tries + 1", update_id)

    def sent(self, update_id, connections, now_ms):
        self._set("tries = tries + 1, sent_ms = ?, connections = ?", now_ms, connections, update_id)

    def refused(self, update_id, reason):
        self._set("tries = tries + 1, refused = ?", reason, update_id)

    def _set(self, what, *values):
        with self._database.write() as write:
            write.execute(f"UPDATE outbox SET {what} WHERE id = ?", values)


def tell(write, user_id, order_id, state, now_ms):
    write.execute(
        "INSERT INTO outbox (push_id, user_id, order_id, state, at_ms) VALUES (?, ?, ?, ?, ?)",
        (str(uuid.uuid4()), user_id, order_id, state, now_ms),
    )


def order(read, order_id):
    """An order with its whole way; `update` numbers what it shows, so that a page knows the newer of two."""
    row = read.execute("SELECT * FROM orders WHERE id = ?", (order_id,)).fetchone()
    way = read.execute("SELECT id, state, at_ms FROM outbox WHERE order_id = ? ORDER BY id", (order_id,)).fetchall()
    return {
        "id": row["id"],
        "item": CATALOGUE[row["item"]][0] if row["item"] in CATALOGUE else row["item"],
        "art": row["item"],
        "quantity": row["quantity"],
        "cents": row["cents"],
        "state": row["state"],
        "update": way[-1]["id"],
        "way": [{"state": step["state"], "at": step["at_ms"]} for step in way],
    }


def update(read, row):
    return {"id": row["id"], "state": row["state"], "at": row["at_ms"], "order": order(read, row["order_id"])}


def with_deliveries(read, order_id):
    """An order as the warehouse sees it: whose it is, what may come next, how each update fared."""
    name = read.execute(
        "SELECT users.name FROM orders JOIN users ON users.id = user_id WHERE orders.id = ?", (order_id,)
    ).fetchone()["name"]
    seen = order(read, order_id)
    rows = read.execute(
        """SELECT *, (SELECT count(*) FROM receipts WHERE update_id = outbox.id) AS tabs
           FROM outbox WHERE order_id = ? ORDER BY id""",
        (order_id,),
    )
    deliveries = [
        {
            "id": row["id"],
            "push": row["push_id"],
            "state": row["state"],
            "at": row["at_ms"],
            "tries": row["tries"],
            "sent": row["sent_ms"] is not None,
            "connections": row["connections"],
            "tabs": row["tabs"],
            "refused": row["refused"],
        }
        for row in rows
    ]
    return {**seen, "customer": name, "next": NEXT[seen["state"]], "deliveries": deliveries}
