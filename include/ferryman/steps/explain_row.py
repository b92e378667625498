"""Explains one answer of the version that serves: what each feature of the row adds to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferryman.data.versions.dataset import DatasetStore
from ferryman.errors import SpecError
from ferryman.evaluation.explanation import Explanation, explain
from ferryman.ledger.ledger import Ledger
from ferryman.packaging.onnx_scorer import OnnxScorer
from ferryman.runtime.bundle import SIGNATURE, FeatureColumn, Signature
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.data_store import open_data_store
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.files import read_json
from ferryman.settings import Settings
from ferryman.spec.mistakes import nearest

Value = float | int | str | None


@dataclass(frozen=True)
class ExplainedRow:
    """The explanation of one row by the version that serves."""

    model: str
    version: int
    epoch: int
    row: Mapping[str, Value]
    explanation: Explanation


def explain_row(settings: Settings, model: str, row: Mapping[str, object]) -> ExplainedRow:
    """Explain the answer to a row of feature values; further values of it are ignored.

    The background is a sample of the rows that the version was trained on. Raises SpecError (exit
    2) where nothing serves, or the row does not fit the model, IntegrityBroken (exit 7) where the
    bundle is not the released one.
    """
    import pandas as pd

    ledger = Ledger(settings.ledger_url)
    head = ledger.head(model)
    op = ledger.released(model, head.digest) if head else None
    if head is None or op is None:
        raise SpecError(f"{model!r} serves no version yet", remedy="Release one first.")
    bundle = Path(head.bundle)
    verify_signed(bundle, digest=head.digest, public_key=settings.signing_public_key)
    signature = Signature.model_validate(read_json(bundle / SIGNATURE))
    known = _checked(row, signature)
    store = DatasetStore(open_data_store(settings, DeclaredConnections(settings)))
    background = store.load(op.candidate.train_dataset, model)
    columns = {name: pd.Series([value]) for name, value in known.items()}
    found = explain(
        OnnxScorer(bundle).score,
        pd.DataFrame(columns),
        background,
        list(known),
        classes=signature.classes,
        unit="value" if signature.task == "regression" else "probability",
    )
    return ExplainedRow(model, head.version, head.epoch, known, found)


def _checked(row: Mapping[str, object], signature: Signature) -> dict[str, Value]:
    """The features in order; null where the row says so, SpecError (exit 2) for what is wrong."""
    names = [column.name for column in signature.features]
    missing = [name for name in names if name not in row]
    if missing:
        others = [name for name in row if name not in names]
        meant = nearest(missing[0], others)
        hint = f"; is it {meant!r}?" if meant else ""
        raise SpecError(
            f"the row has no {missing[0]!r}{hint}",
            remedy=f"Give every feature, null where it is unknown: {', '.join(names)}.",
        )
    return {column.name: _value(row[column.name], column) for column in signature.features}


def _value(value: object, column: FeatureColumn) -> Value:
    wanted = str if column.type == "category" else (int, float)
    if value is None and column.nullable:
        return "" if column.type == "category" else float("nan")
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise SpecError(
            f"feature {column.name!r} is {value!r:.60}, not "
            f"{'text' if column.type == 'category' else 'a number'}",
            remedy="Correct the row.",
        )
    return value if isinstance(value, str) else float(value)
