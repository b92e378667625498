"""`python -m ferryman.serving`: the serving program, in the foreground, until TERM or INT.

front       (default) owns the ports of a server and keeps its replicas alive
replica     answers the connections that a front hands to it
standalone  one replica on a port of its own, without front and administration
fetch       brings released bundles to where `standalone` finds them
try         loads a candidate and replays its golden rows, then ends
shadow      scores copies of requests with a candidate, and answers nobody
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ferryman.errors import FerrymanError
from ferryman.runtime.json_logs import Format, set_up_logs

if TYPE_CHECKING:
    from ferryman.serving.replica.replica import ReplicaOptions

# Each program imports what it needs only: a front carries no onnxruntime, a replica no settings.


def main(arguments: Sequence[str] = ()) -> int:
    """Run one of the programs; the exit code is that of the error tree."""
    names = {
        "front": _front,
        "replica": _replica,
        "standalone": _standalone,
        "fetch": _fetch,
        "try": _try,
        "shadow": _shadow,
    }
    name, *rest = arguments if arguments and arguments[0] in names else ("front", *arguments)
    own = rest[rest.index("--name") + 1 :][:1] if "--name" in rest else []
    # What a trial says last is told by who started it: a sentence, and no JSON.
    usual: Format = "text" if name == "try" or sys.stderr.isatty() else "json"
    set_up_logs(" ".join([name, *own]), usual=usual, private=True)
    try:
        return names[name](rest)
    except FerrymanError as error:
        told = {"exit_code": int(error.exit_code), "remedy": error.remedy}
        logging.getLogger(__name__).error("%s", error.text, extra=told)
        return int(error.exit_code)


def _front(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m ferryman.serving front")
    parser.add_argument("--root", type=Path, help="the server's state; without it, see --server")
    parser.add_argument("--bundles", type=Path, help="where released bundles lie")
    parser.add_argument("--predictions", type=Path, help="where the prediction log goes")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, help="port of predictions")
    parser.add_argument("--admin-port", type=int, help="port of administration")
    parser.add_argument("--replicas", type=int, default=1, help="how many, unless told since")
    parser.add_argument("--threads", type=int, default=1, help="of one replica's arithmetic")
    parser.add_argument("--memory", type=int, default=0, help="bytes that one replica may use")
    parser.add_argument("--public-key", type=Path, help="only bundles signed with its key")
    parser.add_argument("--upload", action="store_true", help="bring the log to its connection")
    parser.add_argument("--no-children", action="store_true", help="replicas join by themselves")
    parser.add_argument("--watched", action="store_true", help="replicas start no new front")
    parser.add_argument("--server", default="main", help="a declared server, if no --root is given")
    parser.add_argument("--home", type=Path, help="folder of all state, if no --root is given")
    given = parser.parse_args(arguments)
    if given.root is None:
        given = parser.parse_args([*_declared(given), *arguments])
    from ferryman.runtime.serving_command import MODULE
    from ferryman.serving.front.front import FrontOptions, run_front

    options = FrontOptions(
        root=given.root.resolve(),
        bundles=given.bundles,
        predictions=given.predictions,
        host=given.host,
        port=given.port,
        admin_port=given.admin_port,
        replicas=given.replicas,
        threads=given.threads,
        memory=given.memory,
        public_key=given.public_key,
        upload=given.upload,
        children=not given.no_children,
        watched=given.watched,
    )
    run_front(options, [sys.executable, "-m", MODULE, "front", *arguments])
    return 0


def _declared(given: argparse.Namespace) -> list[str]:
    """The command line of a declared server, by the environment's settings."""
    from ferryman.runtime.serving_command import front_arguments
    from ferryman.settings import Settings, load_settings
    from ferryman.spec.servers import find_server

    settings = load_settings() if given.home is None else Settings(home=given.home)
    return front_arguments(settings, given.server, find_server(settings.zoo, given.server))


def _replica(arguments: Sequence[str]) -> int:
    parser = _replica_parser("replica")
    parser.add_argument("--channel", type=Path, required=True, help="socket of the front")
    given = parser.parse_args(arguments)
    from ferryman.serving.replica.replica import run_replica

    run_replica(_replica_options(given), given.channel)
    return 0


def _standalone(arguments: Sequence[str]) -> int:
    parser = _replica_parser("standalone")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8600)
    given = parser.parse_args(arguments)
    from ferryman.serving.replica.standalone import run_standalone

    run_standalone(_replica_options(given), given.host, given.port)
    return 0


def _replica_options(given: argparse.Namespace) -> "ReplicaOptions":
    from ferryman.serving.replica.replica import ReplicaOptions

    return ReplicaOptions(
        root=given.root,
        predictions=given.predictions or given.root / "predictions",
        name=given.name,
        threads=given.threads,
        public_key=given.public_key,
        upload=given.upload,
        label_digest=given.label_digest,
    )


def _replica_parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m ferryman.serving {name}")
    parser.add_argument("--root", type=Path, required=True, help="served.json and verified copies")
    needed = name == "replica"
    parser.add_argument("--predictions", type=Path, required=needed, help="the prediction log")
    parser.add_argument("--name", default="r1", help="of this replica, in metrics and logs")
    parser.add_argument("--threads", type=int, default=1, help="of its arithmetic")
    parser.add_argument("--public-key", type=Path, help="only bundles signed with its key")
    parser.add_argument("--upload", action="store_true", help="bring the log to its connection")
    parser.add_argument("--label-digest", default="", help="SHA-256 of the token for labels")
    return parser


def _fetch(arguments: Sequence[str]) -> int:
    from ferryman.serving.models.fetch import main as fetch

    return int(fetch(arguments))


def _try(arguments: Sequence[str]) -> int:
    from ferryman.serving.models.trying import main as try_candidate

    return try_candidate(arguments)


def _shadow(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m ferryman.serving shadow")
    parser.add_argument("--root", type=Path, required=True, help="the server's state")
    parser.add_argument("--predictions", type=Path, required=True, help="the prediction log")
    parser.add_argument("--model", required=True)
    parser.add_argument("--version", type=int, required=True)
    parser.add_argument("--epoch", type=int, required=True, help="that it stands beside")
    parser.add_argument("--digest", required=True)
    parser.add_argument("--path", type=Path, required=True, help="socket that copies come to")
    parser.add_argument("--tie", type=int, required=True, help="descriptor of the front's channel")
    parser.add_argument("--parent", type=int, required=True, help="process id of the front")
    parser.add_argument("--threads", type=int, default=1, help="of its arithmetic")
    parser.add_argument("--memory", type=int, default=0, help="bytes that it may use; 0: any")
    parser.add_argument("--public-key", type=Path, help="only a bundle signed with its key")
    given = parser.parse_args(arguments)
    from ferryman.serving.models.onnx_model import Identity
    from ferryman.serving.shadow.shadow import ShadowOptions, run_shadow

    options = ShadowOptions(
        identity=Identity(given.model, given.version, given.epoch, given.digest),
        root=given.root,
        predictions=given.predictions,
        path=given.path,
        tie=given.tie,
        parent=given.parent,
        threads=given.threads,
        memory=given.memory,
        public_key=given.public_key,
    )
    run_shadow(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
