"""Starts the backend: `python -m backend`."""

import logging
import os
import sys

import uvicorn

from .database import Database, InUse
from .server import application
from .settings import BadSettings, Settings


def main():
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.of(os.environ)
        database = Database(settings.database)
    except (BadSettings, InUse, OSError) as error:
        print(f"notify: {error}", file=sys.stderr)
        sys.exit(64)
    uvicorn.run(
        application(settings, database),
        host="127.0.0.1",
        port=settings.page_port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


main()
