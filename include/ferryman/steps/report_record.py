"""What a report and a model card say of a training beside its figures: data, code, cost."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ferryman.data.versions.dataset_catalogue import DatasetCatalogue, DatasetEntry
from ferryman.evaluation.document import Block, Cell, Facts, Section, Table, Text
from ferryman.runtime.timings import run_timings
from ferryman.spec.durations import format_duration
from ferryman.spec.evaluation import ThresholdSpec
from ferryman.spec.windows import format_time
from ferryman.steps.contract import StepContext


def about_section(context: StepContext) -> Section:
    """What the model is, who answers for it, and what it is for, as far as it is declared."""
    spec = context.spec
    items: list[tuple[str, Cell]] = [
        ("Model", f"{spec.name}, version {context.earlier('register').outputs['version']}"),
        ("Owner", f"{spec.owner.team} ({spec.owner.contact})"),
        ("Intended use", f"{spec.description} Nothing else was declared or looked at."),
        ("Answer", _answer(context)),
        ("Framework", f"{spec.train.framework}, {spec.train.pipeline}"),
        ("Features", len(spec.features.columns)),
        (
            "Label",
            f"{spec.data.label.name}, known {format_duration(spec.data.label.known_after)} "
            "after the event",
        ),
    ]
    return Section("Model", [Facts(items)])


def data_section(context: StepContext) -> Section:
    """Which rows trained and which evaluated, named by their datasets."""
    trained = context.earlier("train").outputs
    catalogue = DatasetCatalogue(context.data_store)
    rows: list[Sequence[Cell]] = []
    split: list[tuple[str, Cell]] = []
    for purpose in ("train", "eval"):
        entry = catalogue.entry(context.spec.name, str(trained[f"{purpose}_dataset"]))
        if entry is not None:
            rows.append(_dataset_row(purpose, entry))
            split += _split_facts(entry)
    head = ("Dataset", "Id", "Events", "Known before", "Rows", "Windows", "Label")
    blocks: list[Block] = [Table(head, rows)]
    if split:
        blocks.append(Facts(split))
    return Section("Data", blocks)


def lineage_section(context: StepContext) -> Section:
    """What the model was made from and under which names it is kept."""
    outputs = {name: result.outputs for name, result in context.request.results.items()}
    trained, registered = outputs["train"], outputs["register"]
    named: Mapping[str, Any] = {
        "Run": context.request.run_id,
        "Reason": trained.get("reason"),
        "Code": trained.get("code_version"),
        "Model folder's digest": context.model.digest,
        "Run key": trained.get("run_key"),
        "Training dataset": trained.get("train_dataset"),
        "Evaluation dataset": trained.get("eval_dataset"),
        "MLflow run": trained.get("mlflow_run_id"),
        "Registered version": registered.get("version"),
        "Bundle digest": registered.get("digest"),
        "Taken from an equal run": trained.get("same_as"),
    }
    items = [(name, str(value)) for name, value in named.items() if value not in (None, "")]
    accepted = trained.get("accepted_leakage")
    if isinstance(accepted, dict):
        items.append(("Leakage accepted", f"by {accepted['actor']}: {accepted['reason']}"))
    return Section("Lineage", [Facts(items)])


def parameters_section(context: StepContext) -> Section:
    """What the pipeline was given, and the search that found it, where there was one."""
    trained, train = context.earlier("train").outputs, context.spec.train
    params, trial = trained.get("params"), trained.get("trial")
    given: Mapping[str, JsonValue] = params if isinstance(params, dict) else dict(train.params)
    items: list[tuple[str, Cell]] = [(name, _cell(value)) for name, value in given.items()]
    items.append(("seed", str(trained.get("seed", train.seed))))
    blocks: list[Block] = [Facts(items)]
    if isinstance(trial, dict) and trial:
        blocks.append(Text("Found by the declared search; the holdout was not part of it."))
        blocks.append(Facts([(name, _cell(value)) for name, value in trial.items()]))
    return Section("Parameters", blocks)


def cost_section(context: StepContext) -> Section:
    """Seconds of the run's finished steps."""
    rows: list[Sequence[Cell]] = [
        (step, round(timing.seconds, 2), round(timing.cpu_seconds, 2))
        for step, timing in run_timings(Path(context.request.run_uri)).items()
        if step != context.request.step
    ]
    fit = context.earlier("train").metrics.get("fit_seconds")
    blocks: list[Block] = [Table(("Step", "Seconds", "CPU seconds"), rows)]
    if fit is not None:
        blocks.append(Text(f"The fit itself took {fit:.2f} s.", "quiet"))
    return Section("Cost", blocks)


def bounds_section(context: StepContext) -> Section:
    """What the gate will ask; this page is written before it judges."""
    gates = context.spec.gates
    rows: list[Sequence[Cell]] = [(name, _bound(bound)) for name, bound in gates.thresholds.items()]
    champion = gates.champion
    wanted = f"{champion.require.replace('_', ' ')}, margin {champion.margin:g}"
    rows.append((f"{champion.metric} against the champion", wanted))
    rows += [
        (f"{gate.metric} on each slice", _slice_bound(gate.min, gate.max, gate.max_worse))
        for gate in gates.slices
    ]
    rows += [
        (f"gap of {gate.metric} between groups of {gate.column}", f"at most {gate.max_gap:g}")
        for gate in gates.fairness
    ]
    note = "The gate judges after this page is written; its verdict stands in the release's ledger."
    return Section("Gate", [Text(note, "quiet"), Table(("What", "Asked"), rows)])


def _answer(context: StepContext) -> str:
    train, label = context.spec.train, context.spec.data.label.name
    if train.task == "multiclass":
        return f"a probability for each of the {len(train.classes)} classes of {label}"
    return f"the probability of {label}" if train.task == "binary" else f"the value of {label}"


def _dataset_row(purpose: str, entry: DatasetEntry) -> Sequence[Cell]:
    name = "training" if purpose == "train" else "evaluation"
    days = str(entry.event_window)
    known = format_time(entry.cutoff)
    return name, entry.id[:12], days, known, entry.rows, entry.windows, entry.label_words or None


def _split_facts(entry: DatasetEntry) -> Iterator[tuple[str, Cell]]:
    split = entry.split
    if split is None:
        return
    if split.group:
        yield "Groups kept apart", ", ".join(split.group)
        yield "Training rows left out, whose group evaluates", split.left_out_rows
    yield "Evaluation rows that equal a training row", split.shared_rows
    yield "Training rows that equal an earlier one", split.repeated_rows


def _bound(bound: ThresholdSpec) -> str:
    return f"at least {bound.min:g}" if bound.min is not None else f"at most {bound.max:g}"


def _slice_bound(least: float | None, most: float | None, worse: float | None) -> str:
    if worse is not None:
        return f"worse than the champion by at most {worse:g}"
    return f"at least {least:g}" if least is not None else f"at most {most:g}"


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
