"""What one key of a declaration promises of another: files exist, names agree, metrics fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ferryman.spec.durations import format_duration
from ferryman.spec.metrics import MEANS_OVER_ROWS, METRICS_OF
from ferryman.spec.mistakes import Location, Mistake, line_of, nearest
from ferryman.spec.model import ModelSpec
from ferryman.spec.servers import FILE_NAME as SERVERS_FILE
from ferryman.spec.servers import load_servers
from ferryman.spec.serving import MAIN
from ferryman.spec.sources import SqlSourceSpec

Found = Iterator[tuple[Location, str]]
# Of fairlearn's rates, those that a binary answer has and no metric of ours is named after.
_BINARY_RATES = ("selection_rate", "false_positive_rate", "false_negative_rate")


def check_references(spec: ModelSpec, file: Path, lines: Mapping[Location, int]) -> list[Mistake]:
    """Every broken promise, with its line."""
    checks: tuple[Callable[[ModelSpec, Path], Found], ...] = (
        _names,
        _files,
        _columns,
        _metrics,
        _framework,
        _classes,
        _slices,
        _serving,
        _rollout,
    )
    return [
        Mistake(file, line_of(location, lines), text)
        for check in checks
        for location, text in check(spec, file.parent)
    ]


def _names(spec: ModelSpec, folder: Path) -> Found:
    if folder.name != spec.name:
        yield ("name",), f"name {spec.name!r} differs from its folder {folder.name!r}"
    label = spec.data.label.name
    if label in spec.features.columns:
        yield ("features", "columns", label), f"feature {label!r} is the label"


def _files(spec: ModelSpec, folder: Path) -> Found:
    baseline = spec.gates.baseline.pipeline
    files: list[tuple[Location, str | None]] = [
        (("features", "sql"), spec.features.sql),
        (("data", "label", "sql"), spec.data.label.sql),
        (("train", "pipeline"), spec.train.pipeline.partition(":")[0]),
        (("gates", "baseline", "pipeline"), baseline.partition(":")[0] if baseline else None),
        (("expectations",), spec.expectations),
        *(
            (("data", "sources", name, "query"), source.query)
            for name, source in spec.data.sources.items()
            if isinstance(source, SqlSourceSpec)
        ),
    ]
    for location, name in files:
        if name is not None and not (folder / name).is_file():
            present = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
            text = f"{_path(location)}: no file {name!r} in {folder}"
            yield location, text + _hint(name, present)


def _columns(spec: ModelSpec, _: Path) -> Found:
    features, named = list(spec.features.columns), [*spec.features.columns, *spec.features.entity]
    wanted: list[tuple[Location, str, Sequence[str]]] = [
        (("train", "group", index), name, named) for index, name in enumerate(spec.train.group)
    ]
    wanted += [
        (("evaluation", "slices", index, "column"), part.column, features)
        for index, part in enumerate(spec.evaluation.slices)
    ]
    wanted += [
        (("gates", "fairness", index, "column"), part.column, features)
        for index, part in enumerate(spec.gates.fairness)
    ]
    for index, test in enumerate(spec.gates.behaviour):
        where: Location = ("gates", "behaviour", index)
        if test.kind == "invariance":
            wanted += [((*where, "columns", n), c, features) for n, c in enumerate(test.columns)]
        elif test.kind == "direction":
            numbers = [n for n, c in spec.features.columns.items() if c.type != "category"]
            wanted.append(((*where, "column"), test.column, numbers))
        else:
            wanted += [((*where, "row", name), name, features) for name in test.row]
    for location, name, legal in wanted:
        if name not in legal:
            kind = "a feature" if legal is features else "a feature of numbers"
            kind = "a feature nor an entity column" if legal is named else kind
            word = "neither " if legal is named else "not "
            yield location, f"{_path(location)}: {name!r} is {word}{kind}{_hint(name, legal)}"


def _metrics(spec: ModelSpec, _: Path) -> Found:
    legal: tuple[str, ...] = METRICS_OF[spec.train.task]
    wanted: list[tuple[Location, str, str]] = [
        (("gates", "thresholds", name), name, "gates.thresholds") for name in spec.gates.thresholds
    ]
    for location, name in (
        (("gates", "champion", "metric"), spec.gates.champion.metric),
        (("monitor", "quality", "metric"), spec.monitor.quality.metric),
        *([(("search", "metric"), spec.search.metric)] if spec.search else []),
        *(
            (("gates", "slices", index, "metric"), part.metric)
            for index, part in enumerate(spec.gates.slices)
        ),
    ):
        wanted.append((location, name, _path(location)))
    rates = _BINARY_RATES if spec.train.task == "binary" else ()
    for index, part in enumerate(spec.gates.fairness):
        if part.metric not in rates:
            location = ("gates", "fairness", index, "metric")
            wanted.append((location, part.metric, _path(location)))
    for location, word, key in wanted:
        if word not in legal:
            text = f"{key}: {word!r} is no metric of a {spec.train.task} task"
            yield location, f"{text}; there are {', '.join(legal)}"


def _framework(spec: ModelSpec, _: Path) -> Found:
    if spec.train.framework != "keras":
        return
    for name, column in spec.features.columns.items():
        if column.type == "category":
            text = f"features.columns.{name}: framework keras takes numbers only"
            yield ("features", "columns", name), f"{text}; encode it in {spec.features.sql}"


def _classes(spec: ModelSpec, _: Path) -> Found:
    for index, test in enumerate(spec.gates.behaviour):
        if test.kind == "invariance":
            continue
        where = ("gates", "behaviour", index)
        if spec.train.task == "multiclass" and test.of_class is None:
            yield where, f"{_path(where)}: of_class is missing: which class is meant?"
        elif test.of_class is not None and test.of_class not in spec.train.classes:
            location = (*where, "of_class")
            hint = _hint(test.of_class, spec.train.classes)
            yield location, f"{_path(location)}: {test.of_class!r} is none of train.classes{hint}"


def _slices(spec: ModelSpec, _: Path) -> Found:
    if spec.gates.slices and not spec.evaluation.slices:
        text = "gates.slices: there is nothing to look at; declare columns in evaluation.slices"
        yield ("gates", "slices"), text


def _hint(name: str, legal: Sequence[str]) -> str:
    meant = nearest(name, legal)
    return f"; did you mean {meant!r}?" if meant else ""


def _path(location: Location) -> str:
    return ".".join(str(part) for part in location if not isinstance(part, int))


def _serving(spec: ModelSpec, folder: Path) -> Found:
    name, kept = spec.serving.server, spec.serving.log.columns
    # Only a model that names another server than the default one depends on the servers' file.
    servers = [MAIN] if name == MAIN else list(load_servers(folder.parent))
    if name not in servers:
        where = folder.parent / SERVERS_FILE
        yield (
            ("serving", "server"),
            f"serving.server: no {name!r} in {where}" + _hint(name, servers),
        )
    for column in [] if kept == "all" else kept:
        if column not in spec.features.columns:
            text = f"serving.log.columns: no feature {column!r}"
            yield ("serving", "log", "columns"), text + _hint(column, list(spec.features.columns))


def _rollout(spec: ModelSpec, _: Path) -> Found:
    metric, location = spec.rollout.labels.metric, ("rollout", "labels", "metric")
    legal = [name for name in METRICS_OF[spec.train.task] if name in MEANS_OVER_ROWS]
    if metric is not None and metric not in legal:
        text = f"{_path(location)}: {metric!r} is no mean over the rows of a {spec.train.task} task"
        yield location, f"{text}; there are {', '.join(legal)}"
    keep, late = spec.serving.log.keep, spec.rollout.labels.late
    if spec.rollout.strategy != "direct" and keep < late:
        text = f"answers are kept for less than rollout.labels.late, {format_duration(late)}"
        yield ("serving", "log", "keep"), f"serving.log.keep: {text}"
    # In the prediction log such a feature stands in the place of the column that tells it.
    hiding = {"variant", "propensity"} & spec.features.columns.keys()
    for name in sorted(hiding) if spec.rollout.strategy != "direct" else []:
        location = ("features", "columns", name)
        text = "a feature of this name hides which variant answered from the prediction log"
        yield location, f"{_path(location)}: {text}; rename it"
