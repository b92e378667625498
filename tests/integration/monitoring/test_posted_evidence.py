"""Labels that clients post count in a rollout's evidence at once, and in a report by kind."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from exposed_world import ExposedWorld, key

from ferryman.serving.labels.label_files import pack_labels
from ferryman.serving.labels.label_journal import LabelJournal
from ferryman.serving.labels.posted_rows import PostedRow
from ferryman.serving.log.finish import finish
from ferryman.spec.model import DeclaredModel
from ferryman.steps.labelled_answers import labelled_losses


@pytest.fixture
def world(tmp_path: Path, rain: DeclaredModel) -> ExposedWorld:
    return ExposedWorld(tmp_path / "home", rain)


def receive(world: ExposedWorld, rows: list[PostedRow], moment: datetime) -> None:
    """Keep rows as a server that had them at a moment."""
    root = world.settings.predictions_root
    journal = LabelJournal(root)
    frame = pack_labels("rain", "binary", rows, round(moment.timestamp() * 1e6), None)
    asyncio.run(journal.keep(frame, len(rows)))
    journal.close()
    assert journal.roll(at_once=True)
    assert finish(root).problems == []


def row(event: int, label: bool | None, *, by_request: bool = False) -> PostedRow:
    name = (None, f"request-{event}") if by_request else (key(event), None)
    return PostedRow(*name, None, label, None)


def test_posted_labels_are_evidence_from_the_moment_they_came(world: ExposedWorld) -> None:
    world.log(range(6), [0.9, 0.2, 0.9, 0.2, 0.9, 0.2])
    world.log(range(6, 8), [0.9, 0.9], "challenger")
    world.publish(lambda event: event % 2 == 0, [0, 1])
    before = datetime.now(UTC)
    receive(world, [row(2, True), row(6, False), row(7, True, by_request=True)], before)
    receive(world, [row(3, True)], before + timedelta(hours=1))

    def answers(until: datetime) -> dict[str, int]:
        found = labelled_losses(world.settings, world.connections, world.model, world.op, until)
        return dict(found.labelled)

    assert answers(before - timedelta(seconds=30)) == {"champion": 2, "candidate": 0}
    assert answers(before + timedelta(minutes=1)) == {"champion": 3, "candidate": 2}
    assert answers(before + timedelta(hours=2)) == {"champion": 4, "candidate": 2}
    receive(world, [row(6, None)], before + timedelta(hours=2))  # taken back
    assert answers(before + timedelta(hours=3)) == {"champion": 4, "candidate": 1}
