"""The SQLite file: schema, transactions, and the one process that may work with it.

Holds always: a transaction is whole or not there, also after a crash; nobody but the file's owner
reads it (it has the key that signs tokens); a second backend on the same file does not start, for
there must be one outbox.
"""

import fcntl
import os
import sqlite3
from contextlib import contextmanager

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY,              -- the `sub` of tokens, the gateway's principal id
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('customer', 'warehouse')),
    password TEXT NOT NULL            -- salt and scrypt hash
) STRICT;

CREATE TABLE IF NOT EXISTS sessions (
    mark TEXT PRIMARY KEY,            -- SHA-256 of what the cookie holds
    user_id TEXT NOT NULL REFERENCES users (id),
    ends_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS signing_keys (
    id TEXT PRIMARY KEY,
    pem TEXT NOT NULL,
    made_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL REFERENCES users (id),
    item TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    state TEXT NOT NULL,
    request_key TEXT,                 -- the page's Idempotency-Key: pressed twice, it is one order
    UNIQUE (user_id, request_key)
) STRICT;

-- Each change of an order, as it is told to its customer. Written with the change.
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    push_id TEXT NOT NULL UNIQUE,     -- the Idempotency-Key of every try
    user_id TEXT NOT NULL REFERENCES users (id),
    order_id INTEGER NOT NULL REFERENCES orders (id),
    state TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    sent_ms INTEGER,                  -- when the gateway took it
    connections INTEGER,              -- how many it then went to
    refused TEXT                      -- why the gateway will never take it
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (id) WHERE sent_ms IS NULL AND refused IS NULL;
CREATE INDEX IF NOT EXISTS outbox_of_user ON outbox (user_id, id);
CREATE INDEX IF NOT EXISTS outbox_of_order ON outbox (order_id, id);

-- Which tabs have said that they have an update.
CREATE TABLE IF NOT EXISTS receipts (
    update_id INTEGER NOT NULL REFERENCES outbox (id),
    tab TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (update_id, tab)
) STRICT, WITHOUT ROWID;

-- The first order is no. 1001.
INSERT INTO sqlite_sequence (name, seq) SELECT 'orders', 1000
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'orders');
"""


class InUse(Exception):
    """Another process has the file."""


class Database:
    def __init__(self, path):
        self._path = path
        # Made before SQLite would, so that its mode is right from the start; SQLite gives the
        # files beside it the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        # Goes with the process, however that ends.
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise InUse(f"another backend works with {path}; NOTIFY_DB names another file") from None
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)

    @contextmanager
    def write(self):
        """A transaction that is committed at the end, or undone by an exception."""
        with self._connection() as connection:
            # At once: one that begins as a reader could find another writer in its way later.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def read(self):
        """One moment's view, however many statements look at it."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def _connection(self):
        # One each time: calls come from many threads, and opening a local file is cheap.
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            # Whoever is told of a change must not lose it to a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
        finally:
            connection.close()
