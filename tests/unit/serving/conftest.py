"""The small real bundles and free ports, for this folder's tests."""

import pytest
from logged_entries import FinishedHere
from small_bundles import (
    _small_bundles,
    _task_bundles,
    free_ports,
    make_bundle,
    make_task_bundle,
)

from ferryman.serving.log import writer

__all__ = ["_small_bundles", "_task_bundles", "free_ports", "make_bundle", "make_task_bundle"]


@pytest.fixture(autouse=True)
def _journals_are_finished_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for every log that is closed would take most of the time of these tests."""
    monkeypatch.setattr(writer, "Child", FinishedHere)
