"""A candidate is tried in a process of its own, with so much memory and time and no more."""

import asyncio
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from greedy_bundle import make_greedy_bundle

from ferryman.errors import DependencyUnavailable, IntegrityBroken
from ferryman.runtime.bundle import GOLDEN, SIGNATURE, seal
from ferryman.runtime.files import write_json
from ferryman.serving.front.trial import Trial

MIB = 2**20


def _copy_of(root: Path, model: str, folder: Path, digest: str) -> None:
    shutil.copytree(folder, root / "models" / model / digest)


def _try(root: Path, model: str, digest: str, **limits: Any) -> None:
    async def live() -> None:
        await Trial(root, **limits).run(model, digest)

    asyncio.run(live())


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """No process of a trial may be left, however it went."""
    yield
    assert [one.pid for one in psutil.process_iter(["cmdline"]) if _is_trial_of_ours(one)] == []


def _is_trial_of_ours(one: psutil.Process) -> bool:
    words = one.info["cmdline"] or []
    return "try" in words and str(os.getpid()) in words


def test_a_good_candidate_passes(tmp_path: Path, make_bundle: Any) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    _copy_of(tmp_path, "tiny", bundle.folder, bundle.digest)
    _try(tmp_path, "tiny", bundle.digest)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [(3 * MIB, r"it used \d+ MiB"), (10_000 * MIB, r"Failed to allocate memory .* 41943040000")],
    ids=["a run of sixteen rows", "all at once"],
)
def test_one_that_eats_memory_is_ended_and_named(tmp_path: Path, numbers: int, told: str) -> None:
    digest = make_greedy_bundle(tmp_path / "made", numbers)
    _copy_of(tmp_path, "line", tmp_path / "made", digest)
    with pytest.raises(IntegrityBroken, match=r"more than the 160 MiB of memory.*" + told):
        _try(tmp_path, "line", digest, memory=160 * MIB)


def test_one_that_is_too_slow_is_ended(tmp_path: Path, make_bundle: Any) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    _copy_of(tmp_path, "tiny", bundle.folder, bundle.digest)
    with pytest.raises(IntegrityBroken, match=r"did not pass its trial within 0\.05 s"):
        _try(tmp_path, "tiny", bundle.digest, seconds=0.05)


def test_a_wrong_golden_row_is_told_as_it_is(tmp_path: Path, make_bundle: Any) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    folder = tmp_path / "changed"
    shutil.copytree(bundle.folder, folder)
    golden = json.loads((folder / GOLDEN).read_bytes())
    golden["outputs"][3] += 0.01
    write_json(folder / GOLDEN, golden)
    digest = seal(folder, model="tiny", task="binary", framework="sklearn").digest
    _copy_of(tmp_path, "tiny", folder, digest)
    with pytest.raises(
        IntegrityBroken, match=r"golden row 3 scores .* the trained model gave"
    ) as e:
        _try(tmp_path, "tiny", digest)
    assert "train and package again" in e.value.remedy


def test_one_whose_graph_cannot_be_read_is_told(tmp_path: Path, make_bundle: Any) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    folder = tmp_path / "changed"
    shutil.copytree(bundle.folder, folder)
    (folder / SIGNATURE).unlink()
    digest = seal(folder, model="tiny", task="binary", framework="sklearn").digest
    _copy_of(tmp_path, "tiny", folder, digest)
    with pytest.raises(IntegrityBroken, match=r"ended with 1: .*signature\.json"):
        _try(tmp_path, "tiny", digest)


def _children() -> set[int]:
    """The processes of this one; other tests may have left some that have ended."""
    return {child.pid for child in psutil.Process().children()}


def test_a_crash_is_told_with_its_signal(tmp_path: Path, make_bundle: Any) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    _copy_of(tmp_path, "tiny", bundle.folder, bundle.digest)

    async def live() -> None:
        others = _children()
        running = asyncio.ensure_future(Trial(tmp_path).run("tiny", bundle.digest))
        while not (found := _children() - others):
            await asyncio.sleep(0.005)
        os.kill(found.pop(), signal.SIGSEGV)
        with pytest.raises(IntegrityBroken, match=r"ended by SIGSEGV"):
            await running

    asyncio.run(live())


def test_a_trial_that_is_given_up_leaves_no_process(tmp_path: Path, make_bundle: Any) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    _copy_of(tmp_path, "tiny", bundle.folder, bundle.digest)

    async def live() -> None:
        others = _children()
        running = asyncio.ensure_future(Trial(tmp_path).run("tiny", bundle.digest))
        while not _children() - others:
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert _children() - others == set()

    asyncio.run(live())


def test_a_trial_ends_with_its_front(start_server: Any, make_bundle: Any, wait_for: Any) -> None:
    server = start_server(replicas=1)
    good = make_bundle(server.settings.bundles_root)
    server.load(good, 1)
    server.client.check("tiny", str(good.folder), good.digest)
    front = psutil.Process(int(server.deployer.status().process))
    threading.Thread(target=_check_and_lose, args=(server, good), daemon=True).start()

    held: list[psutil.Process] = []

    def hold() -> bool:
        for one in front.children():
            # One that ends while it is looked at is followed by another.
            with suppress(psutil.NoSuchProcess):
                # By its niceness: from then on its end is seen to.
                if "try" in one.cmdline() and one.nice() > 0:
                    one.suspend()  # a stopped one cannot see to its own end
                    held.append(one)
        return bool(held)

    wait_for(hold)
    trial = held[0]
    front.kill()
    wait_for(lambda: not trial.is_running() or trial.status() == psutil.STATUS_ZOMBIE)
    # The replica starts another front: it is there before all are ended.
    wait_for(lambda: server.deployer.status().process not in {"", str(front.pid)})


def _check_and_lose(server: Any, bundle: Any) -> None:
    """Try again and again, until the front is away."""
    with pytest.raises(DependencyUnavailable):
        while True:
            server.client.check("tiny", str(bundle.folder), bundle.digest)
