"""What the environment says.

In: variables of the environment. Out: `Settings`, or every problem at once.
"""

import re
from dataclasses import dataclass
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent


class BadSettings(Exception):
    """A text for the operator, one line for each problem."""


@dataclass(frozen=True)
class Settings:
    page_port: int
    gateway_port: int
    #: The stage that pushes go to.
    gateway: str
    #: What `iss` says; the gateway's `issuer` must equal it to the letter.
    issuer: str
    database: Path
    #: How long an access token is good, seconds.
    token_s: int
    #: What the gateway shows as the header `gateway-secret`.
    gateway_secret: str

    @classmethod
    def of(cls, environment):
        problems = []

        def number(name, default, least, most):
            text = environment.get(name, str(default))
            if re.fullmatch("[0-9]{1,9}", text) and least <= int(text) <= most:
                return int(text)
            problems.append(f"{name} is {text!r}, expected a number from {least} to {most}")
            return default

        def url(name, default):
            text = environment.get(name, default)
            if not re.fullmatch(r"https?://[^\s?#]+[^\s?#/]", text):
                problems.append(f"{name} is {text!r}, expected an http:// or https:// url without a slash at its end")
            return text

        page_port = number("PAGE_PORT", 3000, 1, 65535)
        gateway_port = number("GATEWAY_PORT", 8080, 1, 65535)
        settings = cls(
            page_port=page_port,
            gateway_port=gateway_port,
            gateway=url("NOTIFY_GATEWAY", f"http://127.0.0.1:{gateway_port}/live"),
            issuer=url("NOTIFY_ISSUER", f"http://127.0.0.1:{page_port}"),
            database=Path(environment.get("NOTIFY_DB") or EXAMPLE / "notify.db"),
            token_s=number("NOTIFY_TOKEN_S", 300, 1, 86400),
            gateway_secret=environment.get("NOTIFY_GATEWAY_SECRET") or "of-this-machine-only",
        )
        if not settings.database.parent.is_dir():
            problems.append(f"NOTIFY_DB is {str(settings.database)!r}, and its folder is not there")
        if problems:
            raise BadSettings("\n".join(problems))
        return settings
