"""A champion of `rain` in the ledger, and a night that decides whether to retrain it."""

from datetime import datetime, timedelta
from typing import Any

from training_line import DAYS, START, Line

from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, Head, State
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window, format_time

CUTOFF = START + timedelta(days=DAYS)


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


def request(line: Line, *, params: Any = None, **results: StepResult) -> StepRequest:
    """To decide at the end of the last published day."""
    return StepRequest(
        model="rain",
        step="decide_retrain",
        run_id="night",
        run_uri=str(line.settings.runs_root / "rain" / "monitoring" / "night"),
        window=Window(start=CUTOFF - timedelta(days=1), end=CUTOFF),
        spec_digest=line.model.digest,
        params=params or {},
        results=results,
    )


def told(head: Head, **found: Any) -> StepResult:
    """What `monitor` says of the champion: all is as the gate saw it, but for what is given."""
    quality = {"text": "log_loss 0.5", "value": 0.5, "low": 0.4, "high": 0.6, "calibration": None}
    champion = {
        "version": head.version,
        "epoch": head.epoch,
        "cutoff": head.order_key.cutoff,
        "gate_value": 0.5,
    }
    return StepResult(
        model="rain",
        step="monitor",
        request_digest="0" * 64,
        verdict="done",
        text="",
        outputs={"champion": champion, "champion_quality": quality, "drifted": [], **found},
    )


def asking(line: Line, **retrain: Any) -> DeclaredModel:
    """The model with other rules of when to retrain."""
    spec, monitor = line.model.spec, line.model.spec.monitor
    rules = monitor.retrain.model_copy(update=retrain)
    monitor = monitor.model_copy(update={"retrain": rules})
    return line.model.model_copy(update={"spec": spec.model_copy(update={"monitor": monitor})})
