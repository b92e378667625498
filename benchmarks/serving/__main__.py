"""`python -m benchmarks.serving [--rounds N] [--seconds S]`: our server against three others.

All serve the model `digits` (64 whole numbers, ten probabilities), one worker, on loopback, loaded
in turn by `wrk` (Debian package of that name). Rates are of one run and one machine: what counts is
their ratios.

ferryman  this project's server: front and one replica, every check, routing, metrics, the log
bare      uvicorn, orjson, onnxruntime and nothing else: the limit
kserve    KServe's ModelServer with onnxruntime, in an environment of its own
mlflow    `mlflow models serve` of the same bundle

records   {"instances": [{"p0": 0, ...}]}: understood by all four
lists     {"instances": [[0, ...]]}: by all but MLflow, whose signature has names
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.contenders import Contender, bare, ferryman, free_port, kserve, mlflow
from benchmarks.serving.preparing import kserve_python, train, write_bodies
from ferryman.runtime.bundle import read_manifest
from ferryman.runtime.endpoints import Endpoint
from ferryman.serving.client import ServingClient

CONNECTIONS = (1, 8, 32)
ROWS = (1, 64)
FORMS = ("records", "lists")
_SCRIPT = Path(__file__).resolve().parent / "post.lua"


class Figures(NamedTuple):
    """What one load gave: requests a second, CPU of all processes a request, latencies in us."""

    rate: float
    cpu: float
    p50: float
    p99: float
    failed: int


Case = tuple[str, int, int]  # form, rows, connections
Results = dict[tuple[Case, str], list[Figures]]


def load(server: Contender, body: Path, connections: int, seconds: int) -> Figures:
    """One load of so many connections, each with one request at a time."""
    before = server.cpu_seconds()
    said = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT)),
            *(server.url, "--", str(body)),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    cpu = server.cpu_seconds() - before
    got = json.loads(said.strip().splitlines()[-1])
    requests = max(got["requests"], 1)
    rate = got["requests"] / got["microseconds"] * 1e6
    return Figures(rate, cpu / requests * 1e6, got["p50"], got["p99"], got["failed"])


def release(server: Contender, home: Path, bundle: Path) -> None:
    """Let our server serve the bundle."""
    port, admin = (int(server.env[f"FERRYMAN_SERVING_{name}PORT"]) for name in ("", "ADMIN_"))
    endpoint = Endpoint("main", "127.0.0.1", port, admin, home / "serving")
    digest = read_manifest(bundle).digest
    with server, ServingClient(endpoint) as client:
        client.load("digits", version=1, epoch=1, bundle=str(bundle), digest=digest)


def measure(
    servers: Sequence[Contender], bodies: dict[tuple[str, int], Path], given: argparse.Namespace
) -> Results:
    """Every case on every server in turn, round by round, so that a busy minute hits all."""
    results: Results = defaultdict(list)
    cases = [(form, rows, each) for form in FORMS for rows in ROWS for each in CONNECTIONS]
    for server in servers:  # warm
        for form in server.forms:
            load(server, bodies[form, 1], 1, 1)
    for number in range(given.rounds):
        for case in cases:
            form, rows, connections = case
            for server in servers:
                if form in server.forms:
                    figures = load(server, bodies[form, rows], connections, given.seconds)
                    results[case, server.name].append(figures)
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
    return results


def median(figures: Sequence[Figures], name: str) -> float:
    return statistics.median(getattr(each, name) for each in figures)


def show(results: Results) -> None:
    """One line a case and server."""
    print(
        f"{'form':8} {'rows':>4} {'conn':>4} {'server':9} {'req/s':>9} {'CPU us':>8} "
        f"{'p50 us':>8} {'p99 us':>8} {'failed':>6}"
    )
    for ((form, rows, connections), name), figures in results.items():
        rate, cpu, p50, p99 = (median(figures, each) for each in ("rate", "cpu", "p50", "p99"))
        failed = sum(each.failed for each in figures)
        print(
            f"{form:8} {rows:4} {connections:4} {name:9} {rate:9.0f} {cpu:8.1f} "
            f"{p50:8.0f} {p99:8.0f} {failed:6}"
        )


def show_goals(results: Results, servers: Sequence[Contender]) -> None:
    """The ratios that this server was built for."""
    print(f"\n{'goal, 1 row, 32 connections':34} {'wanted':>7} {'rate':>7} {'CPU':>7}")
    for form in FORMS:
        case = (form, 1, 32)
        own = results[case, "ferryman"]
        for name, wanted in (("mlflow", 15.0), ("kserve", 4.0), ("bare", 0.4)):
            other = results.get((case, name))
            if other:
                rate = median(own, "rate") / median(other, "rate")
                cpu = median(other, "cpu") / median(own, "cpu")
                print(f"{f'{form}: times {name}':34} {wanted:>7} {rate:7.2f} {cpu:7.2f}")
        ratio = median(own, "p99") / median(results[case, "kserve"], "p99")
        print(f"{f'{form}: p99, share of that of kserve':34} {'<= 1':>7} {ratio:7.2f}")
    print("ferryman is to be ready within 2 s, with 120 MB")
    for server in servers:
        print(
            f"{server.name:9} ready after {server.start_seconds:.2f} s with "
            f"{server.start_memory}; after the load {server.memory()}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--home", type=Path, help="FERRYMAN_HOME with a trained `digits`")
    cache = Path.home() / ".cache" / "ferryman" / "kserve"
    parser.add_argument("--kserve", type=Path, default=cache, help="folder of KServe's environment")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder, ExitStack() as running:
        work = Path(folder)
        bundle = train(given.home or work / "home")
        home = work / "serving-home"
        shutil.copytree(bundle.parent.parent, home / "bundles")
        own = home / "bundles" / "digits" / bundle.name
        ours = ferryman(home, work, (free_port(), free_port()))
        release(ours, home, own)  # then start anew: what is measured is a start with a model
        others = [
            bare(own, work),
            kserve(own, work, kserve_python(given.kserve)),
            mlflow(own, work),
        ]
        servers = [running.enter_context(server) for server in (ours, *others)]
        bodies = write_bodies(own, work)
        results = measure(servers, bodies, given)
        show(results)
        show_goals(results, servers)


if __name__ == "__main__":
    main()
