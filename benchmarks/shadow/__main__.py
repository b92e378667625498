"""`python -m benchmarks.shadow [--rate N] [--seconds S] [--blocks N]`: what a shadow costs users.

One server, the model `digits`, requests at a moderate, steady rate; blocks of some seconds with a
shadow of all requests (the same model again) and without, in turn. Latencies are of one run and one
machine: what counts are their ratios, with a shadow to without. The goal is at most 1.05.
"""

import argparse
import asyncio
import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.serving.contenders import free_port
from benchmarks.serving.preparing import train, write_bodies
from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.runtime.bundle import read_manifest
from ferryman.runtime.endpoints import endpoint_of
from ferryman.runtime.traffic import Traffic, TrafficState
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec

CONNECTIONS = 4
GOAL = 1.05
_OP = hashlib.sha256(b"benchmark").hexdigest()
_FAR = 240.0


async def ask_steadily(port: int, body: bytes, rate: float, seconds: float) -> list[float]:
    """Latencies in seconds of requests that are sent at their time, on a few connections."""
    head = (
        "POST /v1/models/digits:predict HTTP/1.1\r\nhost: benchmark\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    began = time.perf_counter()

    async def one(number: int) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        found = []
        for turn in range(number, int(rate * seconds), CONNECTIONS):
            await asyncio.sleep(max(began + turn / rate - time.perf_counter(), 0))
            sent = time.perf_counter()
            writer.write(request)
            told = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in told.split(b"\r\n", 1)[0]:
                raise RuntimeError(f"a request failed: {told!r}")
            fields = dict(line.split(b": ", 1) for line in told.split(b"\r\n")[1:] if line)
            await reader.readexactly(int(fields[b"content-length"]))
            found.append(time.perf_counter() - sent)
        writer.close()
        return found

    return [each for some in await asyncio.gather(*map(one, range(CONNECTIONS))) for each in some]


def measure(
    client: ServingClient, port: int, bundle: Path, body: bytes, given: argparse.Namespace
) -> tuple[dict[bool, list[list[float]]], list[TrafficState]]:
    """Latencies of each block, with (True) and without a shadow, and what became of the copies."""
    traffic = Traffic(
        op=_OP,
        variant="shadow",
        version=2,
        digest=read_manifest(bundle).digest,
        weight=1.0,
        base_epoch=1,
        fence=1,
        stage=0,
        lease=_FAR,
    )
    found: dict[bool, list[list[float]]] = {True: [], False: []}
    states = []
    for number in range(2 * given.blocks):
        shadowed = bool(number % 2)
        if shadowed:
            client.expose("digits", traffic, str(bundle))
        asyncio.run(ask_steadily(port, body, given.rate, 0.5))  # warm
        found[shadowed].append(asyncio.run(ask_steadily(port, body, given.rate, given.seconds)))
        if shadowed:
            state = client.traffic("digits")
            states += [state] if state is not None else []
            client.withdraw("digits", 1)
            client.flush()  # its log is finished before the others are measured
    return found, states


def show(found: dict[bool, list[list[float]]], states: Sequence[TrafficState]) -> None:
    """The percentiles of each kind, over blocks, and their ratios."""

    print(f"{'':16} {'p50 us':>8} {'p95 us':>8}")
    told = {}
    for shadowed, name in ((False, "without"), (True, "with a shadow")):
        cuts = [statistics.quantiles(block, n=100) for block in found[shadowed]]
        told[shadowed] = [statistics.median(cut[place] for cut in cuts) for place in (49, 94)]
        print(f"{name:16} " + " ".join(f"{value * 1e6:8.0f}" for value in told[shadowed]))
    ratios = [mine / other for mine, other in zip(told[True], told[False], strict=True)]
    print(f"{'ratio':16} " + " ".join(f"{ratio:8.3f}" for ratio in ratios) + f"  goal <= {GOAL}")
    copied, dropped = (sum(getattr(one, name) for one in states) for name in ("copied", "dropped"))
    scored = sum(one.candidate.requests for one in states)
    print(f"copied {copied}, dropped {dropped}, scored {scored}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shadow", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a block")
    parser.add_argument("--blocks", type=int, default=5, help="of each kind")
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
        server = ServerSpec()
        deployer = ProcessDeployer(settings, "main", server)
        deployer.start()
        try:
            endpoint = endpoint_of(settings, "main", server)
            with ServingClient(endpoint) as client:
                digest = read_manifest(bundle).digest
                client.load("digits", version=1, epoch=1, bundle=str(bundle), digest=digest)
                show(*measure(client, endpoint.port, bundle, body, given))
        finally:
            deployer.stop()


if __name__ == "__main__":
    main()
