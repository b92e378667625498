"""A share whose front is gone: given again by its holder it stands, by nobody it ends soon."""

import os
import signal
import time
from typing import Any

from keyed_load import ask_all, keyed_clients
from line_candidates import LINE, LineBundle, make_line, share_of

from ferryman.runtime.traffic import TrafficState


def give(server: Any, bundle: LineBundle) -> TrafficState:
    """A share of half the requests for a minute, or the same one again."""
    state: TrafficState = server.client.expose(LINE, share_of(bundle), str(bundle.folder))
    return state


def kill_front(server: Any, wait_for: Any) -> None:
    """Kill it; returns when its replicas have started and joined another one."""
    front = server.deployer.status().process
    os.kill(int(front), signal.SIGKILL)
    wait_for(lambda: server.deployer.status().process not in ("", front))
    wait_for(lambda: server.deployer.status().state == "ready")


def test_a_share_outlives_its_front_for_its_holder_alone(start_server: Any, wait_for: Any) -> None:
    held, left = start_server(replicas=2), start_server(replicas=2)
    bundles = []
    for server in (held, left):
        root = server.settings.bundles_root
        champion = make_line(root)
        where = {"bundle": str(champion.folder), "digest": champion.digest}
        server.client.load(LINE, version=1, epoch=1, **where)
        bundles.append(make_line(root, 3.0))
        give(server, bundles[-1])
        ask_all(server.endpoint.port, range(200))
    kill_front(held, wait_for)
    assert give(held, bundles[0]).candidate.requests > 50  # what it did before counts
    with keyed_clients(left.endpoint.port, 100) as answers:
        wait_for(lambda: any(one.variant == "canary" for one in answers))
        killed = time.monotonic()
        kill_front(left, wait_for)
        assert left.client.traffic(LINE) is None  # the new front gave none

        def is_over() -> bool:
            return {one.variant for one in answers[-200:]} == {"champion"}

        wait_for(is_over)
        assert time.monotonic() - killed < 45  # of a lease of 60 s
    assert {one.status for one in answers} == {200}
    # The clock ends it at once, and each replica says so when it next looks.
    wait_for(lambda: left.log().count("the share of the canary has ended") == 2)
    after = ask_all(held.endpoint.port, range(200))
    assert {one.variant for one in after} == {"champion", "canary"}
    assert held.client.traffic(LINE).everywhere
