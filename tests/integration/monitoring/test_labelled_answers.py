"""Labelled answers of an exposure: which answers are compared, by which label, how often."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from exposed_world import TODAY, TOMORROW, ExposedWorld, fair_coin, key

from ferryman.errors import DataRejected, DependencyUnavailable
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import DAY
from ferryman.steps.exposed_rows import exposed_rows, exposure_of


@pytest.fixture
def world(tmp_path: Path, rain: DeclaredModel) -> ExposedWorld:
    return ExposedWorld(tmp_path / "home", rain)


def even(event: int) -> bool:
    return event % 2 == 0


def test_losses_are_those_of_a_join_by_hand(world: ExposedWorld) -> None:
    labels, scores, drawn = fair_coin(400, seed=1)
    ours, theirs = np.flatnonzero(drawn), np.flatnonzero(~drawn)
    shuffled = np.random.default_rng(2).permutation(theirs)  # a log is in no order
    world.log(shuffled.tolist(), scores[shuffled].tolist())
    world.log(ours.tolist(), scores[ours].tolist(), "challenger")
    told = [event for event in range(400) if event % 10]
    world.publish(lambda event: None if event % 7 == 0 else bool(labels[event]), told)
    found = world.answers()

    frame = pd.DataFrame({"event": range(400), "score": scores, "label": labels, "ours": drawn})
    frame = frame[(frame.event % 10 != 0) & (frame.event % 7 != 0)]
    truth = np.where(frame.label, frame.score, 1 - frame.score)
    assert found.losses == pytest.approx(-np.log(truth))
    assert found.is_candidate.tolist() == frame.ours.tolist()
    assert set(found.propensity) == {0.5}
    assert found.answered == {"champion": len(theirs), "candidate": len(ours), "fallback": 0}
    assert found.labelled == {"champion": int((~frame.ours).sum()), "candidate": frame.ours.sum()}
    assert len(set(found.entities)) == len(frame)


def test_only_answers_that_were_drawn_count(world: ExposedWorld) -> None:
    events = list(range(8))
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    world.log([0], [0.5])
    world.log([1], [0.5], "challenger")
    world.log([2], [0.5], propensity=1.0)  # no share stood
    world.log([3], [0.5], "challenger", propensity=1.0)  # the path named it
    world.log([4], [0.5], logged=long_ago)
    world.log([5], [0.5], "canary")  # of an earlier operation
    world.log([6], [None])
    world.share(0)
    world.log([7], [0.5], "challenger")
    world.publish(even, events)
    found = world.answers()
    assert found.answered == {"champion": 1, "candidate": 1, "fallback": 0}
    assert found.is_candidate.tolist() == [False, True]


def test_a_share_that_was_taken_back_and_given_again_is_one_exposure(world: ExposedWorld) -> None:
    world.log([0], [0.5], "challenger")
    world.share(0)
    world.log([1], [0.5], "challenger")
    world.share(0.7, stage=1)
    world.log([2], [0.5], "challenger", propensity=0.7)
    world.publish(even, [0, 1, 2])
    found = world.answers()
    assert found.propensity.tolist() == [0.5, 0.7]
    world.release()
    world.log([3], [0.5], "challenger", propensity=0.7)
    assert world.answers().digest == found.digest


def test_where_the_candidate_failed_is_told_and_not_compared(world: ExposedWorld) -> None:
    world.log([0, 1], [0.9, 0.9])
    world.log([2, 3, 3], [0.9] * 3, "fallback")
    world.publish(even, range(4))
    found = world.answers()
    assert found.answered == {"champion": 2, "candidate": 0, "fallback": 2}
    assert found.labelled == {"champion": 2, "candidate": 0}
    assert not found.is_candidate.any()


def test_an_event_that_was_answered_again_counts_once_by_its_first_answer(
    world: ExposedWorld,
) -> None:
    world.log([0], [0.9])
    world.log([0, 0], [0.4, 0.3], "challenger")
    world.publish(even, [0])
    found = world.answers()
    assert found.losses == pytest.approx([-np.log(0.9)])
    assert found.answered == {"champion": 1, "candidate": 0, "fallback": 0}


def test_labels_count_as_they_are_known_at_the_moment(world: ExposedWorld) -> None:
    world.log(range(4), [0.9] * 4)
    world.publish(even, [2, 0])
    later = TOMORROW.shifted(DAY)
    world.publish(lambda _: True, [1, 0], window=later)  # one is late, one a correction
    first = world.answers(later.start - timedelta(seconds=1))
    assert first.losses == pytest.approx([-np.log(0.9)] * 2)
    last = world.answers()
    # In the order in which they became known: 2, then 1, then the correction of 0.
    assert last.labelled == {"champion": 3, "candidate": 0}
    assert last.losses == pytest.approx([-np.log(0.9)] * 3)
    assert first.digest != last.digest
    assert world.answers().digest == last.digest


def test_a_request_of_many_rows_is_one_draw(world: ExposedWorld) -> None:
    world.log(range(100), [0.9] * 100, requests=["batch"] * 100)
    world.log([100, 101], [0.6, 0.6], "challenger")
    world.publish(even, range(102))
    found = world.answers()
    assert found.losses == pytest.approx(
        [-(np.log(0.9) + np.log(0.1)) / 2, -np.log(0.6), -np.log(0.4)]
    )
    assert found.is_candidate.tolist() == [False, True, True]
    assert found.labelled == {"champion": 100, "candidate": 2}


def test_an_entity_keeps_its_arm_and_counts_as_one_draw_a_share(world: ExposedWorld) -> None:
    stations = ["north"] * 3 + ["south"]
    world.log(range(4), [0.9] * 4, stations=stations)
    world.share(0.8, stage=1)
    world.log([4, 5], [0.6] * 2, "challenger", propensity=0.8, stations=["north", "south"])
    world.publish(even, range(6), stations=[*stations, "north", "south"])
    found = world.answers()
    assert found.losses == pytest.approx(
        [-(2 * np.log(0.9) + np.log(0.1)) / 3, -np.log(0.1), -np.log(0.6), -np.log(0.4)]
    )
    assert found.propensity.tolist() == [0.5, 0.5, 0.8, 0.8]
    assert found.entities[0] == found.entities[2]
    assert found.entities[1] == found.entities[3]
    assert len(set(found.entities)) == 2


def test_a_shadow_is_compared_on_the_same_rows(tmp_path: Path, rain: DeclaredModel) -> None:
    world = ExposedWorld(tmp_path / "home", rain, strategy="shadow")
    world.log(range(5), [0.9] * 5, propensity=1.0)
    world.log([0, 1, 2], [0.6, 0.6, None], "shadow", propensity=1.0)
    world.log([4], [0.6], "shadow", propensity=1.0, requests=["another"])
    world.publish(even, range(5))
    found = world.answers()
    assert found.paired
    assert found.losses == pytest.approx([np.log(0.9 / 0.6), np.log(0.1 / 0.4)])
    assert found.answered == {"champion": 5, "candidate": 2, "fallback": 0}
    assert found.labelled == {"champion": 2, "candidate": 2}


def redeclared(model: DeclaredModel, task: str, *classes: str) -> DeclaredModel:
    train = model.spec.train.model_copy(update={"task": task, "classes": list(classes)})
    return model.model_copy(update={"spec": model.spec.model_copy(update={"train": train})})


def test_classes_are_compared_by_the_probability_of_the_true_one(
    tmp_path: Path, rain: DeclaredModel
) -> None:
    model = redeclared(rain, "multiclass", "dry", "wet", "snow")
    world = ExposedWorld(tmp_path / "home", model)
    world.log([0, 1], [[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    world.log([2], [[0.2, 0.6, 0.2]], "challenger")
    world.publish(lambda event: ("dry", "dry", "wet")[event], range(3))
    found = world.answers()
    assert found.metric == "log_loss"
    assert found.losses == pytest.approx(-np.log([0.7, 0.1, 0.6]))
    # What was logged for other classes cannot be compared, and is no error.
    world.model = redeclared(model, "multiclass", "dry", "wet", "hail", "snow")
    assert len(world.answers().losses) == 0
    world.model = redeclared(model, "multiclass", "snow", "dry", "wet")
    assert world.answers().losses == pytest.approx(found.losses)


def test_numbers_are_compared_by_the_declared_metric(tmp_path: Path, rain: DeclaredModel) -> None:
    model = redeclared(rain, "regression")
    world = ExposedWorld(tmp_path / "home", model, labels={"metric": "mae"})
    world.log([0, 1], [3.0, 5.0])
    world.log([2], [7.5], "challenger")
    world.publish(lambda event: (1.0, 5.5, 10.0)[event], range(3))
    assert world.answers().losses == pytest.approx([2.0, 0.5, 2.5])


def test_labels_of_an_older_declaration_are_refused(world: ExposedWorld) -> None:
    world.log([0], [0.5])
    world.publish(even, [0], kind=pa.float64())
    with pytest.raises(DataRejected, match=r"of type double.*Ingest it again"):
        world.answers()


class MergedWhileRead(LocalObjectStore):
    """A place whose files are listed, and gone when they are opened."""

    def open(self, key: str) -> None:  # noqa: ARG002 - the signature of a place
        return None


def test_a_log_that_changes_while_it_is_read_is_no_lost_race(world: ExposedWorld) -> None:
    world.log([0], [0.5])
    spans = exposure_of(world.ledger, world.op)
    assert spans is not None
    place = MergedWhileRead(world.settings.predictions_root)
    with pytest.raises(DependencyUnavailable, match="changed 5 times while it was read"):
        exposed_rows([place], world.model.spec, spans)


def test_without_labels_or_answers_there_is_nothing(world: ExposedWorld) -> None:
    nothing = world.answers()
    assert (len(nothing.losses), nothing.answered["champion"]) == (0, 0)
    world.log([0], [0.5])
    assert world.answers().answered == {"champion": 1, "candidate": 0, "fallback": 0}
    world.publish(even, [9])
    assert len(world.answers().losses) == 0
    # What happened long before any label that could tell of it costs no reading.
    assert key(0).endswith("2024-01-10T00:00:00Z")
    assert TODAY.end == TOMORROW.start
