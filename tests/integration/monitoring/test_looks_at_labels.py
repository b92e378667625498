"""What the test says of labelled answers as their labels come: looked at all the way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exposed_world import ExposedWorld, fair_coin
from services.long_tests import seeds

from ferryman.spec.model import DeclaredModel
from ferryman.spec.rollout import LabelsSpec
from ferryman.steps.labelled_answers import LabelledAnswers, label_finding

LABELS = LabelsSpec(min_labels=50)


def looks(answers: LabelledAnswers, every: int = 50) -> list[str]:
    """The outcomes after every so many labels."""
    counts = range(every, len(answers.losses) + 1, every)
    return [
        label_finding(
            replace(
                answers,
                losses=answers.losses[:count],
                is_candidate=answers.is_candidate[:count],
                propensity=answers.propensity[:count],
                entities=answers.entities[:count],
            ),
            LABELS,
        ).outcome
        for count in counts
    ]


def answers_of(world: ExposedWorld, seed: int, blur: float, count: int = 1500) -> LabelledAnswers:
    """The champion gives the true chance; the candidate one that is drawn towards a coin's."""
    labels, chances, drawn = fair_coin(count, seed)
    ours, theirs = np.flatnonzero(drawn), np.flatnonzero(~drawn)
    world.log(theirs.tolist(), chances[theirs].tolist())
    worse = chances[ours] + blur * (1 - 2 * chances[ours])
    world.log(ours.tolist(), worse.tolist(), world.variant)
    world.publish(lambda event: bool(labels[event]), range(count))
    return world.answers()


@pytest.mark.parametrize("seed", seeds(2, 3, 4))
def test_of_two_equal_models_none_is_called_worse(
    tmp_path: Path, rain: DeclaredModel, seed: int
) -> None:
    world = ExposedWorld(tmp_path / "home", rain)
    assert "failed" not in looks(answers_of(world, seed, blur=0.0))


@pytest.mark.parametrize("seed", seeds(2, 3, 4))
def test_a_worse_one_is_found_before_the_labels_end(
    tmp_path: Path, rain: DeclaredModel, seed: int
) -> None:
    world = ExposedWorld(tmp_path / "home", rain)
    found = looks(answers_of(world, seed, blur=0.9))
    assert found[0] == "undecided"
    assert found[-1] == "failed"
    assert "passed" not in found


@pytest.mark.parametrize("seed", seeds(8, 1, 11))
def test_a_batch_is_no_proof(tmp_path: Path, rain: DeclaredModel, seed: int) -> None:
    """Rows of a request are alike; of these seeds, rows taken one by one call the equal worse."""
    random = np.random.default_rng(seed)
    world = ExposedWorld(tmp_path / "home", rain)
    requests, rows = 80, 25
    hard = random.random(requests) < 0.5
    drawn = random.random(requests) < 0.5
    for variant, chosen in ((world.variant, drawn), ("champion", ~drawn)):
        batches = np.flatnonzero(chosen)
        events = [int(batch) * rows + row for batch in batches for row in range(rows)]
        names = [f"batch-{batch}" for batch in batches for _ in range(rows)]
        world.log(events, [0.9] * len(events), variant, requests=names)
    world.publish(lambda event: not hard[event // rows], range(requests * rows))
    found = world.answers()
    assert len(found.losses) == requests
    assert sum(found.labelled.values()) == requests * rows
    assert "failed" not in looks(found, every=10)
