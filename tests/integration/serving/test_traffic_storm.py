"""Controllers that all believe to be the one, releases and dying replicas: no wrong answer."""

import os
import random
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest
from keyed_load import keyed_clients
from line_candidates import LINE, LineBundle, make_line, share_of
from services.long_tests import seeds

from ferryman.errors import FerrymanError
from ferryman.serving.client import ServingClient

_SECONDS = 5.0
_FIRST = 7  # version of the first candidate; each has one of its own


class _World:
    """A server, and what all controllers know of it."""

    def __init__(self, server: Any) -> None:
        self.server = server
        root = server.settings.bundles_root
        self.champion = make_line(root)
        self.candidates = [make_line(root, slope) for slope in (3.0, 4.0, 5.0)]
        self.epoch = self.fence = 0
        self.lock = threading.Lock()
        self.seen: Counter[str] = Counter()
        with ServingClient(server.endpoint) as client:
            self.release(client, self.champion, 1)

    def release(self, client: ServingClient, bundle: LineBundle, version: int) -> None:
        """Serve a bundle at the next epoch."""
        with self.lock:
            epoch = self.epoch + 1
            where = {"bundle": str(bundle.folder), "digest": bundle.digest}
            client.load(LINE, version=version, epoch=epoch, **where)
            self.epoch = epoch

    def control(self, seed: int, until: float) -> None:
        """Do as it comes, often with a fence or an epoch of yesterday."""
        dice = random.Random(seed)  # noqa: S311
        with ServingClient(self.server.endpoint) as client:
            while time.monotonic() < until:
                with self.lock:
                    self.fence += 1
                    fence, epoch = max(1, self.fence - dice.choice((0, 0, 0, 1, 2))), self.epoch
                try:
                    self.seen[self._act(client, dice, fence, epoch)] += 1
                except FerrymanError as error:
                    self.seen[type(error).__name__] += 1

    def _act(self, client: ServingClient, dice: random.Random, fence: int, epoch: int) -> str:
        chosen, what = dice.randrange(3), dice.random()
        bundle = self.candidates[chosen]
        if what < 0.65:
            told = {"weight": dice.choice((0.1, 0.5, 0.9)), "stage": dice.randrange(2)}
            told |= {"lease": dice.choice((0.2, 1.0, 5.0)), "op": dice.choice(("5e", "5f")) * 32}
            traffic = share_of(
                bundle, version=_FIRST + chosen, base_epoch=epoch, fence=fence, **told
            )
            client.expose(LINE, traffic, str(bundle.folder))
            return "exposed"
        if what < 0.8:
            client.withdraw(LINE, fence)
            return "withdrawn"
        if what < 0.96:
            client.traffic(LINE)
            return "told"
        if what < 0.99:
            self.release(client, bundle, _FIRST + chosen)
            return "released"
        os.kill(dice.choice(list(self.server.pids().values())), signal.SIGTERM)
        time.sleep(0.5)
        return "ended a replica"


@pytest.mark.parametrize("seed", seeds(3, 14, 92))
def test_no_controller_makes_a_wrong_answer(start_server: Any, wait_for: Any, seed: int) -> None:
    server = start_server(replicas=2)
    world = _World(server)
    until = time.monotonic() + _SECONDS
    with keyed_clients(server.endpoint.port, 100) as answers:
        controllers = [
            threading.Thread(target=world.control, args=(3 * seed + number, until))
            for number in range(3)
        ]
        for controller in controllers:
            controller.start()
        for controller in controllers:
            controller.join()
        with ServingClient(server.endpoint) as client:
            client.withdraw(LINE, world.fence + 1)
            assert client.traffic(LINE) is None
        after = len(answers)
        wait_for(lambda: len(answers) > after + 200)
    assert {one.status for one in answers} == {200}
    slopes = {1: 2.0, _FIRST: 3.0, _FIRST + 1: 4.0, _FIRST + 2: 5.0}
    assert [one for one in answers if one.score != slopes[int(one.version)]] == []
    assert {one.variant for one in answers[after + 4 :]} == {"champion"}
    assert "canary" in {one.variant for one in answers}
    assert world.seen["exposed"] and world.seen["Superseded"], world.seen
    assert world.seen.keys() <= {
        *("exposed", "withdrawn", "told", "released", "ended a replica"),
        *("Superseded", "DependencyUnavailable"),
    }
    assert "Traceback" not in server.log()
