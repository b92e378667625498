"""The probe on planted cases: a concept that turned, noise alone, too few labels."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from training_line import DAYS, START, Line

from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, Head, State
from ferryman.monitoring.probe import ProbeFinding
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.spec.monitoring import ProbeSpec
from ferryman.spec.windows import Window, format_time
from ferryman.steps.contract import StepContext, run_step
from ferryman.steps.decide_retrain import Params
from ferryman.steps.retrain_probe import probe_retrain

Hours = Callable[..., pd.DataFrame]
CUTOFF = START + timedelta(days=DAYS)
SPEC = ProbeSpec(margin=0.02)


def with_rain(hours: pd.DataFrame, chance: np.ndarray) -> pd.DataFrame:
    drawn = np.random.default_rng(1).random(len(hours))
    return hours.assign(millimetres=np.where(drawn < chance, 1.5, 0.0))


def turned(hours: pd.DataFrame) -> pd.DataFrame:
    """Until the sixth day damp air brings rain, from then on dry air."""
    way = np.where(hours["observed_at"] < pd.Timestamp(START) + pd.Timedelta(days=6), 0.15, -0.15)
    damp = hours["humidity"].fillna(60.0) - 60
    return with_rain(hours, (1 / (1 + np.exp(-way * damp))).to_numpy())


def released(line: Line, cutoff: datetime) -> Head:
    """The champion that was trained as of a cut-off."""
    made = line.run("train", "evaluate", "package", "register", cutoff=format_time(cutoff))
    register, train = made["register"].outputs, made["train"].outputs
    candidate = Candidate(
        version=int(str(register["version"])),
        digest=str(register["digest"]),
        bundle=str(register["bundle"]),
        cutoff=str(train["cutoff"]),
        sequence=1,
        run_key=str(register["run_key"]),
        train_dataset=str(train["train_dataset"]),
        eval_dataset=str(train["eval_dataset"]),
    )
    ledger = Ledger(line.settings.ledger_url)
    op = ledger.open_op(PROMOTE, "rain", candidate, "test", "test")
    for state, evidence in (
        (State.REGISTERED, {}),
        (State.GATED, {"outcome": "passed", "candidate": {"log_loss": 0.5}}),
        (State.STAGED, {}),
    ):
        base = {"base_epoch": 0} if state is State.GATED else {}
        ledger.advance(op.op_id, state, evidence, **base)
    ledger.commit(op.op_id, 0)
    head = ledger.head("rain")
    assert head is not None
    return head


def request(line: Line, **results: StepResult) -> StepRequest:
    return StepRequest(
        model="rain",
        step="decide_retrain",
        run_id="night",
        run_uri=str(line.settings.runs_root / "rain" / "monitoring" / "night"),
        window=Window(start=CUTOFF - timedelta(days=1), end=CUTOFF),
        spec_digest=line.model.digest,
        results=results,
    )


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
    asking = Line(line.settings, line.model.model_copy(update={"spec": spec}))
    few = probe(asking, head)
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
    monitor = line.model.spec.monitor.model_copy(
        update={
            "retrain": line.model.spec.monitor.retrain.model_copy(
                update={"probe": ProbeSpec(margin=0.3)}
            )
        }
    )
    spec = line.model.spec.model_copy(update={"monitor": monitor})
    quality = {"text": "log_loss 0.9", "value": 0.9, "low": 0.8, "high": 1.0, "calibration": None}
    told = StepResult(
        model="rain",
        step="monitor",
        request_digest="0" * 64,
        verdict="done",
        text="",
        outputs={
            "champion": {
                "version": head.version,
                "epoch": head.epoch,
                "cutoff": head.order_key.cutoff,
                "gate_value": 0.5,
            },
            "champion_quality": quality,
            "drifted": [],
        },
    )
    model = line.model.model_copy(update={"spec": spec})
    decided = run_step(request(line, monitor=told), model, line.settings)
    assert decided.outputs["retrain"] is turn
    assert decided.outputs["probe"] == ("helps" if turn else "useless")
    assert decided.metrics["cpu_seconds"] is not None
    again = run_step(request(line, monitor=told), model, line.settings)
    assert again == decided
