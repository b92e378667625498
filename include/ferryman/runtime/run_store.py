"""Results of steps on disk: <run>/<step>/result.json, written once, read by digest."""

import hashlib
import re
from pathlib import Path

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.messages import StepRequest, StepResult

RESULT = "result.json"
ERROR = "error.json"
DATA_DOCS, DOCS_INDEX = "data_docs", "index.html"
REPORT_PAGE, CARD_PAGE = "report.html", "card.html"


def run_folder(runs_root: Path, model: str, pipeline: str, run_id: str) -> Path:
    """The folder of one run; any run id gives a legal, unique name of its own."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", run_id)[:80].strip(".") or "run"
    suffix = hashlib.sha256(run_id.encode()).hexdigest()[:10]
    return runs_root / model / pipeline / f"{readable}-{suffix}"


def data_docs_folder(run: Path) -> Path:
    """Where a run's validation leaves its Data Docs, pages of HTML that begin at DOCS_INDEX."""
    return run / "validate" / DATA_DOCS


def report_folder(run: Path) -> Path:
    """Where a training leaves its pages: REPORT_PAGE, and the model's card as CARD_PAGE."""
    return run / "report"


def step_folder(request: StepRequest) -> Path:
    """Where a step keeps its result and its artifacts; its workers and stages have one each."""
    worker, stage = request.params.get("worker"), request.params.get("stage")
    number = f"-{stage + 1}" if isinstance(stage, int) else ""
    folder = Path(request.run_uri) / f"{request.step}{number}"
    return folder / f"worker-{worker}" if isinstance(worker, int) else folder


def finished_result(request: StepRequest) -> StepResult | None:
    """The result of this very request, if it has been done before; None otherwise."""
    file = step_folder(request) / RESULT
    if not file.is_file():
        return None
    result = read_result(file)
    return result if result.request_digest == request.digest else None


def read_result(file: Path) -> StepResult:
    """A stored result; IntegrityBroken (exit 7) where it cannot be read."""
    try:
        return StepResult.model_validate(read_json(file))
    except ValueError as error:
        raise IntegrityBroken(f"{file}: not a step result: {error}") from error


def run_results(run: Path) -> dict[str, StepResult]:
    """Every stored result of a run, by step; empty where the run has none yet."""
    return {file.parent.name: read_result(file) for file in sorted(run.glob(f"*/{RESULT}"))}


def store_result(request: StepRequest, result: StepResult) -> None:
    """Write a result; from then on the same request returns it."""
    write_json(step_folder(request) / RESULT, result.model_dump(mode="json"))
    (step_folder(request) / ERROR).unlink(missing_ok=True)


def store_error(request: StepRequest, exit_code: int, text: str) -> None:
    """Write why a step failed, for pages and for people; the next success removes it."""
    write_json(step_folder(request) / ERROR, {"exit_code": exit_code, "text": text})
