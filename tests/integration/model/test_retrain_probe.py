"""The probe on planted cases: a concept that turned, noise alone, too few labels."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from retrain_night import CUTOFF, asking, released, request, told
from training_line import DAYS, START, Line

from ferryman.ledger.records import Head
from ferryman.monitoring.probe import ProbeFinding
from ferryman.spec.monitoring import ProbeSpec
from ferryman.steps.contract import StepContext, run_step
from ferryman.steps.decide_retrain import Params
from ferryman.steps.retrain_probe import probe_retrain

Hours = Callable[..., pd.DataFrame]
SPEC = ProbeSpec(margin=0.02)


def with_rain(hours: pd.DataFrame, chance: np.ndarray) -> pd.DataFrame:
    drawn = np.random.default_rng(1).random(len(hours))
    return hours.assign(millimetres=np.where(drawn < chance, 1.5, 0.0))


def turned(hours: pd.DataFrame) -> pd.DataFrame:
    """Until the sixth day damp air brings rain, from then on dry air."""
    way = np.where(hours["observed_at"] < pd.Timestamp(START) + pd.Timedelta(days=6), 0.15, -0.15)
    damp = hours["humidity"].fillna(60.0) - 60
    return with_rain(hours, (1 / (1 + np.exp(-way * damp))).to_numpy())


def probe(line: Line, head: Head, spec: ProbeSpec = SPEC) -> ProbeFinding:
    context = StepContext(
        request=request(line),
        model=line.model,
        settings=line.settings,
        params=Params(),
        connections=None,  # type: ignore[arg-type] # the data lies below the installation's home
    )
    return probe_retrain(context, spec, head, CUTOFF)


def test_a_concept_that_turned_is_worth_a_retrain_which_is_found_out_once(
    make_line: Callable[..., Line], rain_hours: Hours
) -> None:
    line = make_line(turned(rain_hours(DAYS)))
    head = released(line, START + timedelta(days=13))
    found = probe(line, head)
    assert found.outcome == "helps"
    assert found.low is not None and found.low > 0.2
    assert (found.rows, found.train_rows) == (7 * 96, found.known_rows)
    assert found.cpu_seconds > 0
    assert probe(line, head) == found  # to the second that it took: it was not done again
    [kept] = (line.settings.monitoring_root / "rain" / "probes").iterdir()
    kept.unlink()  # as a probe that was killed
    again = probe(line, head)
    assert (again.estimate, again.low, again.high) == (found.estimate, found.low, found.high)
    few = probe(line, head, ProbeSpec(rows=300))
    assert (few.outcome, few.rows, few.train_rows) == ("helps", 300, 300)
    assert few.text.endswith(f"learned from 300 of {found.known_rows}")


def test_where_only_noise_changed_it_would_not_help(
    make_line: Callable[..., Line], rain_hours: Hours
) -> None:
    hours = rain_hours(DAYS)
    line = make_line(with_rain(hours, np.full(len(hours), 0.4)))
    head = released(line, START + timedelta(days=20))
    found = probe(line, head, ProbeSpec(margin=0.1))
    assert found.outcome == "useless", found.text
    # Of a sample, that is not believed.
    assert probe(line, head, ProbeSpec(margin=0.1, rows=500)).outcome == "undecided"


def test_too_few_labels_and_a_bundle_that_is_broken_are_undecided(line: Line) -> None:
    head = released(line, START + timedelta(days=20))
    gates = line.model.spec.gates.model_copy(update={"min_rows": 5000})
    spec = line.model.spec.model_copy(update={"gates": gates})
    strict = Line(line.settings, line.model.model_copy(update={"spec": spec}))
    few = probe(strict, head)
    assert (few.outcome, few.low, few.rows) == ("undecided", None, 0)
    assert few.text == "not enough labels (672 eval rows, gates.min_rows is 5000)"
    broken = probe(line, head._replace(digest="0" * 64))
    assert broken.outcome == "undecided" and "digest" in broken.text


@pytest.mark.parametrize("turn", [True, False])
def test_the_night_decides_by_the_probe(
    make_line: Callable[..., Line], rain_hours: Hours, turn: bool
) -> None:
    hours = rain_hours(DAYS)
    plain = with_rain(hours, np.full(len(hours), 0.4))
    line = make_line(turned(hours) if turn else plain)
    head = released(line, START + timedelta(days=13))
    model = asking(line, probe=ProbeSpec(margin=0.3))
    quality = {"text": "log_loss 0.9", "value": 0.9, "low": 0.8, "high": 1.0, "calibration": None}
    monitor = told(head, champion_quality=quality)
    decided = run_step(request(line, monitor=monitor), model, line.settings)
    assert decided.outputs["retrain"] is turn
    assert decided.outputs["probe"] == ("helps" if turn else "useless")
    assert decided.metrics["cpu_seconds"] is not None
    again = run_step(request(line, monitor=monitor), model, line.settings)
    assert again == decided
