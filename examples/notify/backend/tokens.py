"""Access tokens (RFC 7519, ES256), and what an OpenID provider publishes about its keys.

In:  a user and the time. Out: a token; later, from the token, the claims.

Holds always: the gateway and this backend take the same tokens, by the same issuer, audience and
keys; the private key stays in the database.
"""

import secrets

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ALGORITHM = "ES256"
AUDIENCE = "notify"


class Tokens:
    def __init__(self, database, issuer, lifetime_s, now_ms):
        self._issuer = issuer
        self._lifetime_s = lifetime_s
        with database.write() as write:
            rows = write.execute("SELECT id, pem FROM signing_keys ORDER BY made_ms DESC").fetchall()
            if not rows:
                rows = [(secrets.token_hex(8), new_key())]
                write.execute("INSERT INTO signing_keys VALUES (?, ?, ?)", (*rows[0], now_ms))
        keys = {id: serialization.load_pem_private_key(pem.encode(), None) for id, pem in rows}
        # The newest signs. An older one stays published for as long as its row is there, so that a
        # key is exchanged by adding a row, and taken back by deleting one.
        self._signing = next(iter(keys.items()))
        self._public = {id: key.public_key() for id, key in keys.items()}

    def issue(self, user, now_s, lifetime_s=None):
        """A token and its life in seconds: the usual one, or the shorter one that was asked for."""
        key_id, key = self._signing
        life = min(self._lifetime_s, lifetime_s or self._lifetime_s)
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": user.id,
            "name": user.name,
            "role": user.role,
            "iat": now_s,
            "exp": now_s + life,
        }
        return jwt.encode(claims, key, ALGORITHM, {"kid": key_id}), life

    def claims(self, token):
        """What a good token says; `None` for any other."""
        try:
            key = self._public[jwt.get_unverified_header(token)["kid"]]
            return jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=AUDIENCE,
                options={"require": ["exp", "iat", "sub"]},
            )
        except (jwt.InvalidTokenError, KeyError):
            return None

    def discovery(self):
        """OpenID Connect Discovery 1.0, section 3: as much as a verifier of tokens needs."""
        return {
            "issuer": self._issuer,
            "jwks_uri": f"{self._issuer}/.well-known/jwks.json",
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
        }

    def key_set(self):
        """RFC 7517."""
        return {"keys": [
            {**ECAlgorithm.to_jwk(key, as_dict=True), "kid": id, "alg": ALGORITHM, "use": "sig"}
            for id, key in self._public.items()
        ]}


def new_key():
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
