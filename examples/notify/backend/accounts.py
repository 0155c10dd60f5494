"""Who people are: demo accounts, hashed passwords, sessions of a browser.

In:  a name and a password, or what a cookie holds. Out: the user, or nothing.

Holds always: a password and a session's secret are in the database only as hashes; an unknown
name takes as long as a wrong password.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

SESSION_S = 7 * 24 * 3600

#: For people to try; the sign-in page names them.
DEMO_PASSWORD = "lighthouse"
DEMO_USERS = [("ada", "Ada", "customer"), ("grace", "Grace", "customer"), ("wren", "Wren", "warehouse")]


@dataclass(frozen=True)
class User:
    id: str
    name: str
    role: str


class Accounts:
    def __init__(self, database):
        self._database = database
        self._nobody = hashed(secrets.token_hex())
        with database.write() as write:
            known = {id for (id,) in write.execute("SELECT id FROM users")}
            write.executemany(
                "INSERT INTO users VALUES (?, ?, ?, ?)",
                [(*user, hashed(DEMO_PASSWORD)) for user in DEMO_USERS if user[0] not in known],
            )

    def with_password(self, name, password):
        with self._database.read() as read:
            row = read.execute("SELECT * FROM users WHERE id = ?", (name.strip().lower(),)).fetchone()
        good = matches(password, row["password"] if row else self._nobody)
        return user_of(row) if row and good else None

    def by_id(self, user_id):
        with self._database.read() as read:
            return user_of(read.execute("SELECT * FROM users WHERE id = ?", (user_id,)).fetchone())

    def begin_session(self, user, now_ms):
        """The secret that the browser's cookie is to hold."""
        secret = secrets.token_urlsafe(32)
        with self._database.write() as write:
            write.execute("DELETE FROM sessions WHERE ends_ms <= ?", (now_ms,))
            write.execute(
                "INSERT INTO sessions VALUES (?, ?, ?)", (mark_of(secret), user.id, now_ms + SESSION_S * 1000)
            )
        return secret

    def of_session(self, secret, now_ms):
        with self._database.read() as read:
            return user_of(read.execute(
                "SELECT users.* FROM sessions JOIN users ON users.id = user_id WHERE mark = ? AND ends_ms > ?",
                (mark_of(secret), now_ms),
            ).fetchone())

    def end_session(self, secret):
        with self._database.write() as write:
            write.execute("DELETE FROM sessions WHERE mark = ?", (mark_of(secret),))


def user_of(row):
    return User(row["id"], row["name"], row["role"]) if row else None


def mark_of(secret):
    # Not scrypt: 256 random bits cannot be guessed.
    return hashlib.sha256(secret.encode()).hexdigest()


def hashed(password):
    salt = secrets.token_bytes(16)
    return f"{b64(salt)}${b64(scrypt(password, salt))}"


def matches(password, stored):
    salt, expected = (base64.b64decode(part) for part in stored.split("$"))
    return hmac.compare_digest(scrypt(password, salt), expected)


def scrypt(password, salt):
    return hashlib.scrypt(password.encode(), salt=salt, n=2**15, r=8, p=1, maxmem=64 * 1024 * 1024)


def b64(value):
    return base64.b64encode(value).decode()
