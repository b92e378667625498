"""`python -m ferryman.serving`: the serving process, in the foreground."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ferryman.errors import FerrymanError
from ferryman.serving.server import run
from ferryman.settings import Settings, load_settings


def main(arguments: Sequence[str] = ()) -> int:
    """Serve until TERM or INT; the exit code is that of the error tree."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        run(_settings(arguments))
    except FerrymanError as error:
        logging.getLogger(__name__).error("%s", error)
        return int(error.exit_code)
    return 0


def _settings(arguments: Sequence[str]) -> Settings:
    """The environment's settings, where the command line does not say otherwise."""
    parser = argparse.ArgumentParser(prog="python -m ferryman.serving")
    parser.add_argument("--home", type=Path, help="folder of all state")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port of predictions")
    parser.add_argument("--admin-port", type=int, help="port of administration")
    given = parser.parse_args(arguments)
    names = {
        "home": given.home,
        "serving_host": given.host,
        "serving_port": given.port,
        "serving_admin_port": given.admin_port,
    }
    chosen: dict[str, Any] = {name: value for name, value in names.items() if value is not None}
    return Settings(**chosen) if chosen else load_settings()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
