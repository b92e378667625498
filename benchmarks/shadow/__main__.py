"""`python -m benchmarks.shadow [--loads L ...] [--rounds N] [--also-nice]`: what a shadow costs.

One server, one replica, the model `digits`. Each load is measured in rounds of short blocks, in an
order drawn anew for each round: without a shadow, without one again, and with a shadow of all
requests (the same model again). A load is in requests a second, or in per cent of what the client
gets from the server in a closed loop. What counts is the median over blocks of a percentile with a
shadow, to that without; its interval comes from drawing rounds anew. The second kind without a
shadow tells what such a ratio is worth here: it should be 1. The goal for the p95 is 1.05.

Not in it: what a shadow's start takes, and its rows when they become Parquet.
"""

import argparse
import hashlib
import os
import random
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

from benchmarks.serving.contenders import free_port
from benchmarks.serving.preparing import train, write_bodies
from benchmarks.shadow.steady_load import ask_steadily, capacity
from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.runtime.bundle import read_manifest
from ferryman.runtime.endpoints import endpoint_of
from ferryman.runtime.traffic import Traffic, TrafficState
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec

Kind = Literal["without", "without again", "shadow", "shadow, nice only"]
KINDS: tuple[Kind, ...] = ("without", "without again", "shadow")
GOAL = 1.05
PLACES = {"p50": 49, "p95": 94}
_OP = hashlib.sha256(b"benchmark").hexdigest()
_LEASE = 240.0
_WARM_SECONDS = 0.7
_LEAST = 100  # requests of a block
_RESAMPLES = 5000
_SEED = 7


@dataclass
class Server:
    """The running server, and what is asked of it."""

    deployer: ProcessDeployer
    client: ServingClient
    port: int
    bundle: Path
    body: bytes

    def follow(self, kind: Kind) -> None:
        """Have a shadow, or none; returns when it is there."""
        if kind.startswith("without"):
            return
        traffic = Traffic(
            op=_OP,
            variant="shadow",
            version=2,
            digest=read_manifest(self.bundle).digest,
            weight=1.0,
            base_epoch=1,
            fence=1,
            stage=0,
            lease=_LEASE,
        )
        self.client.expose("digits", traffic, str(self.bundle))
        if kind == "shadow, nice only":
            self._unidle()

    def _unidle(self) -> None:
        """Take the shadow's idle policy away from all its threads; its niceness stays."""
        front = psutil.Process(int(self.deployer.status().process))
        shadow = next(one for one in front.children() if "shadow" in one.cmdline()[:4])
        for thread in shadow.threads():
            os.sched_setscheduler(thread.id, os.SCHED_OTHER, os.sched_param(0))

    def leave(self, kind: Kind) -> TrafficState | None:
        """End the shadow; what it did. Its log is finished before this returns."""
        if kind.startswith("without"):
            return None
        state = self.client.traffic("digits")
        self.client.withdraw("digits", 1)
        self.client.flush()
        return state


@dataclass
class Measured:
    """One load: percentiles in seconds by kind, one of each round, and what became of copies."""

    rate: float
    blocks: dict[Kind, dict[str, list[float]]] = field(default_factory=dict)
    states: list[TrafficState] = field(default_factory=list)


def measure(server: Server, kinds: tuple[Kind, ...], rate: float, rounds: int) -> Measured:
    """Rounds of blocks at one rate; each has as many requests as a percentile needs."""
    seconds = max(2.0, _LEAST / rate)
    found = Measured(rate, {kind: {name: [] for name in PLACES} for kind in kinds})
    dice = random.Random(_SEED)  # noqa: S311 - an order, no secret
    for _ in range(rounds):
        for kind in dice.sample(kinds, len(kinds)):
            server.follow(kind)
            ask_steadily(server.port, server.body, rate, _WARM_SECONDS)
            block = ask_steadily(server.port, server.body, rate, seconds)
            state = server.leave(kind)
            found.states += [] if state is None else [state]
            cuts = statistics.quantiles(block, n=100, method="inclusive")
            for name, place in PLACES.items():
                found.blocks[kind][name].append(cuts[place])
            time.sleep(0.2)  # what its end left to do
    return found


def ratio(mine: list[float], others: list[float]) -> tuple[float, float, float]:
    """The ratio of two medians over the same rounds, and its 95 % interval."""
    pairs = np.array([mine, others])
    rounds = pairs.shape[1]
    drawn = np.random.default_rng(_SEED).integers(0, rounds, (_RESAMPLES, rounds))
    medians = np.median(pairs[:, drawn], axis=2)
    low, high = np.quantile(medians[0] / medians[1], [0.025, 0.975])
    told = np.median(pairs, axis=1)
    return float(told[0] / told[1]), float(low), float(high)


def show(found: Measured) -> None:
    """Medians of each kind, and their ratios to those without a shadow."""
    base = found.blocks["without"]
    rounds = len(base["p95"])
    print(f"\n{found.rate:.0f} requests a second, {rounds} blocks of each kind")
    told = "   ".join(f"{name + ' us':>8} {'ratio':>6} {'of 95 %':>15}" for name in PLACES)
    print(f"{'':18} {told}")
    for kind, blocks in found.blocks.items():
        cells = []
        for name, values in blocks.items():
            middle = statistics.median(values) * 1e6
            one, low, high = ratio(values, base[name])
            bounds = f"{low:.3f} - {high:.3f}"
            cells.append(f"{middle:8.0f} {one:6.3f} {bounds:>15}")
        print(f"{kind:18} {'   '.join(cells)}")
    copied, dropped = (
        sum(getattr(one, name) for one in found.states) for name in ("copied", "dropped")
    )
    scored = sum(one.candidate.requests for one in found.states)
    print(f"copied {copied}, dropped {dropped}, scored {scored} until their block ended")
    _, _, high = ratio(found.blocks["shadow"]["p95"], base["p95"])
    print(f"p95 with a shadow: at most {high:.3f} of that without; goal {GOAL}")


def rate_of(load: str, most: float) -> float:
    """Requests a second of a load as it was given."""
    return most * float(load[:-1]) / 100 if load.endswith("%") else float(load)


def run(server: Server, given: argparse.Namespace) -> None:
    """Measure and show each load."""
    kinds: tuple[Kind, ...] = (*KINDS, "shadow, nice only") if given.also_nice else KINDS
    ask_steadily(server.port, server.body, 200.0, 1.0)
    most = capacity(server.port, server.body, 3.0)
    print(f"in a closed loop: {most:.0f} requests a second, client and server on this machine")
    for load in given.loads:
        show(measure(server, kinds, rate_of(load, most), given.rounds))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shadow", description=__doc__)
    parser.add_argument("--loads", nargs="+", default=["10", "50%"], help="10, 50%% and the like")
    parser.add_argument("--rounds", type=int, default=20, help="blocks of each kind, of each load")
    parser.add_argument(
        "--also-nice", action="store_true", help="and with a shadow whose policy is not idle"
    )
    parser.add_argument("--home", type=Path, help="FERRYMAN_HOME with a trained `digits`")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ferryman-bench-") as folder:
        work = Path(folder)
        trained = train(given.home or work / "home")
        settings = Settings(
            home=work / "serving-home",
            serving_port=free_port(),
            serving_admin_port=free_port(),
        )
        bundle = settings.bundles_root / "digits" / trained.name
        shutil.copytree(trained, bundle)
        body = write_bodies(bundle, work)["records", 1].read_bytes()
        declared = ServerSpec()
        deployer = ProcessDeployer(settings, "main", declared)
        deployer.start()
        try:
            endpoint = endpoint_of(settings, "main", declared)
            with ServingClient(endpoint) as client:
                digest = read_manifest(bundle).digest
                client.load("digits", version=1, epoch=1, bundle=str(bundle), digest=digest)
                run(Server(deployer, client, endpoint.port, bundle, body), given)
        finally:
            deployer.stop()


if __name__ == "__main__":
    main()
