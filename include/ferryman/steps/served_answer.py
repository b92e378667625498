"""Asks the server a question whose answer is known, by the way that every client goes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ferryman.errors import DataRejected, IntegrityBroken
from ferryman.ledger.records import Head
from ferryman.runtime.bundle import GOLDEN, Golden
from ferryman.runtime.endpoints import Endpoint
from ferryman.runtime.files import read_json
from ferryman.serving.client import Predictions, ServingClient
from ferryman.serving.models.labels import CHAMPION

_TRIED = 5  # golden rows; some are there to be odd, and a strict server may refuse them


def check_answer(endpoint: Endpoint, head: Head, bundle: Path) -> str:
    """Let the public port answer a golden row of what should be served; says who answered.

    The champion is asked by its label, for a candidate may have a share beside it.
    A version that was released since may answer, too. Raises IntegrityBroken (exit 7) for an answer
    by an older version, or other than was recorded; DependencyUnavailable (exit 6) without one.
    """
    try:
        golden = Golden.model_validate(read_json(bundle / GOLDEN))
    except (OSError, ValueError) as error:
        raise IntegrityBroken(f"{bundle}: no readable {GOLDEN}: {error}") from error
    with ServingClient(endpoint) as client:
        row, answer = _ask(client, head.model, golden)
    who = f"version {answer.version} (epoch {answer.epoch})"
    if answer.epoch > head.epoch:
        return f"{who}, released since, answers"
    if (answer.version, answer.epoch) != (head.version, head.epoch):
        raise IntegrityBroken(
            f"{head.model}: {who} answers at {endpoint.url}, not version {head.version} (epoch "
            f"{head.epoch})",
            remedy="Run `ferryman reconcile`; see whether another server has this port.",
        )
    if not _near(answer.scores[0], golden.outputs[row], golden.tolerance):
        raise IntegrityBroken(
            f"{head.model}: {who} answers golden row {row} with {answer.scores[0]}, recorded was "
            f"{golden.outputs[row]}"
        )
    return f"{who} answers as recorded"


def _ask(client: ServingClient, model: str, golden: Golden) -> tuple[int, Predictions]:
    refused: DataRejected | None = None
    for row, content in enumerate(golden.rows[:_TRIED]):
        try:
            return row, client.predict(model, [content], label=CHAMPION)
        except DataRejected as error:
            refused = error
    raise refused or IntegrityBroken(f"{model}: its bundle has no golden rows")


def _near(answer: Any, recorded: float | Sequence[float], tolerance: float) -> bool:
    """Both a number, or both a list of one a class; as the server's own replay compares."""
    given = answer if isinstance(answer, list) else [answer]
    expected = recorded if isinstance(recorded, list) else [recorded]
    return len(given) == len(expected) and all(
        math.isclose(one, other, rel_tol=0, abs_tol=tolerance)
        for one, other in zip(given, expected, strict=True)
    )
