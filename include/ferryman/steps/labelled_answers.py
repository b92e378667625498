"""What labels say of a candidate and the champion beside it: the losses of a rollout's answers.

A request is drawn for one arm as a whole, and an entity keeps its arm. So what is compared is not a
row but a draw: the mean loss of the rows of one entity in one arm, or of a request of several rows.
A batch of five hundred rows is one observation; five hundred would make chance look like proof.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.evaluation.row_losses import compared_metric, row_losses
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Op
from ferryman.monitoring.labels import first_predictions, last_labels, with_labels
from ferryman.rollout.always_valid import compare_arms, compare_pairs
from ferryman.rollout.evidence import Finding
from ferryman.rollout.label_evidence import judge_labels
from ferryman.runtime.connections import Connections
from ferryman.runtime.data_store import open_data_store
from ferryman.runtime.prediction_places import prediction_places
from ferryman.runtime.score_column import score_array
from ferryman.serving.models.labels import CANDIDATE, CHAMPION, FALLBACK
from ferryman.settings import Settings
from ferryman.spec.metrics import MetricName
from ferryman.spec.model import DeclaredModel, ModelSpec
from ferryman.spec.rollout import LabelsSpec
from ferryman.spec.windows import Window
from ferryman.steps.exposed_rows import (
    ExposureSpans,
    drawn_rows,
    exposed_rows,
    exposure_of,
    fallback_rows,
)
from ferryman.steps.join_labels import refuse_older_labels
from ferryman.steps.posted_labels import posted_until
from ferryman.training.labels import encode_labels

Floats = npt.NDArray[np.float64]
_EVENT_TIME = r"\|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"


@dataclass(frozen=True)
class LabelledAnswers:
    """The losses of labelled draws, in the order in which their labels became known.

    losses: of `metric`, see evaluation.row_losses; is_candidate: whose; propensity: the probability
    with which the arm that answered was drawn; entities: a number for whom a draw was about, since
    an entity may change arms where the share changes. Of a shadow (`paired`) losses are
    differences, candidate minus champion, on the same rows. `answered` and `labelled` count rows by
    champion, candidate and (answered only) fallback: answers of the champion where the candidate
    failed, which are no success of either and are not compared. A row is an event: what was
    answered again counts once.
    """

    metric: MetricName
    losses: Floats
    is_candidate: npt.NDArray[np.bool_]
    propensity: Floats
    entities: npt.NDArray[np.int64]
    answered: Mapping[str, int]
    labelled: Mapping[str, int]
    paired: bool = False

    @property
    def digest(self) -> str:
        """What changes when an answer, a label or its correction comes."""
        found = hashlib.sha256(f"{self.metric} {self.paired} {dict(self.answered)}".encode())
        for column in (self.losses, self.is_candidate, self.propensity):
            found.update(column.tobytes())
        return found.hexdigest()


def labelled_losses(  # noqa: PLR0913 - where everything is, whose exposure, known by when
    settings: Settings,
    connections: Connections,
    model: DeclaredModel,
    op: Op,
    until: datetime,
    *,
    ledger: Ledger | None = None,
) -> LabelledAnswers:
    """The labelled answers of an operation's exposure up to now, with the labels known at `until`.

    Labels are posted ones and those of the published snapshots, joined as `join_labels` does.
    Raises DependencyUnavailable (exit 6) where the log, the ledger or the data store is away,
    DataRejected (exit 3) where labels are of an older declaration.
    """
    spec = model.spec
    usual = spec.gates.champion.metric
    metric = compared_metric(spec.train.task, spec.rollout.labels.metric, usual)
    exposure = exposure_of(ledger or Ledger(settings.ledger_url), op)
    if exposure is None:
        return _of_nothing(metric)
    rows = exposed_rows(prediction_places(settings, connections), spec, exposure)
    champion, candidate = drawn_rows(rows, exposure)
    store = SnapshotStore(open_data_store(settings, connections))
    asked = pa.concat_tables([champion, candidate])
    posted = posted_until(settings, connections, model, asked, until)
    labels = _labels(store, model, asked["event_time"], until, posted)
    if exposure.paired:
        found = _paired(spec, metric, champion, candidate, labels)
    else:
        found = _arms(spec, metric, asked, labels, exposure)
    fallback = first_predictions(fallback_rows(rows)).num_rows
    return LabelledAnswers(
        **{**vars(found), "answered": {**found.answered, FALLBACK: fallback}},
    )


def label_finding(answers: LabelledAnswers, labels: LabelsSpec) -> Finding:
    """What the test says that may be looked at any time: passed, failed or undecided."""
    if answers.paired:
        interval = compare_pairs(
            answers.losses, significance=labels.significance, entities=answers.entities
        )
    else:
        interval = compare_arms(
            answers.losses,
            answers.is_candidate,
            answers.propensity,
            significance=labels.significance,
            entities=answers.entities,
        )
    return judge_labels(interval, labels)


def _of_nothing(metric: MetricName) -> LabelledAnswers:
    none, empty = {CHAMPION: 0, CANDIDATE: 0}, np.zeros(0)
    return LabelledAnswers(
        metric=metric,
        losses=empty,
        is_candidate=empty.astype(bool),
        propensity=empty,
        entities=empty.astype(np.int64),
        answered={**none, FALLBACK: 0},
        labelled=none,
    )


def _labels(
    store: SnapshotStore, model: DeclaredModel, times: Any, until: datetime, posted: Any
) -> Any:
    """The label rows known at a moment: posted ones, and those of the windows that can tell of
    events of these times.
    """
    newest = store.newest(model.name) if len(times) else None
    oldest = pc.min(times).as_py()
    tables = [] if posted is None else [posted]
    if newest is not None and oldest < newest.window.end:
        span = Window(start=oldest, end=newest.window.end)
        for snapshot in store.published(model.name, span):
            labels = store.read_labels(snapshot)
            refuse_older_labels(labels, model, snapshot.window)
            known = pc.less_equal(labels["known_at"], pa.scalar(until))
            tables.append(labels.filter(pc.fill_null(known, False)))
    return last_labels(pa.concat_tables(tables)) if tables else None


def _arms(
    spec: ModelSpec, metric: MetricName, asked: Any, labels: Any, exposure: ExposureSpans
) -> LabelledAnswers:
    events = first_predictions(asked)
    is_candidate = pc.equal(events["variant"], exposure.variant)
    answered = _by_arm(is_candidate)
    if labels is None:
        return _counted(_of_nothing(metric), answered)
    joined = with_labels(events.append_column("is_candidate", is_candidate), labels)
    joined = joined.filter(pc.is_valid(joined["label"]))
    if not joined.num_rows:
        return _counted(_of_nothing(metric), answered)
    losses = _losses(spec, metric, joined, joined["score"])
    arms = joined["is_candidate"].to_numpy().astype(bool)
    chances = joined["propensity"].to_numpy()
    units = _units(joined, asked)
    # One entity may have been drawn anew where the share changed.
    drawn = (joined[name].cast(pa.string()) for name in ("is_candidate", "propensity"))
    means, firsts = _means(pc.binary_join_element_wise(units, *drawn, " "), losses, joined)
    kept = np.isfinite(losses)
    return LabelledAnswers(
        metric=metric,
        losses=means,
        is_candidate=arms[firsts],
        propensity=chances[firsts],
        entities=_numbers(units)[firsts],
        answered=answered,
        labelled=_by_arm(pa.array(arms[kept])),
    )


def _paired(
    spec: ModelSpec, metric: MetricName, champion: Any, shadow: Any, labels: Any
) -> LabelledAnswers:
    """Both answers to each event: the champion's first, and the shadow's to the same request."""
    events = first_predictions(champion)
    shadows = first_predictions(_by_row(shadow))
    places = pc.index_in(_row_names(events), value_set=shadows["entity_key"].combine_chunks())
    both = events.append_column("shadow", shadows["score"].take(places))
    both = both.filter(pc.is_valid(both["shadow"]))
    answered = {CHAMPION: events.num_rows, CANDIDATE: both.num_rows}
    if labels is None or not both.num_rows:
        return _counted(_of_nothing(metric), answered, paired=True)
    joined = with_labels(both, labels)
    joined = joined.filter(pc.is_valid(joined["label"]))
    if not joined.num_rows:
        return _counted(_of_nothing(metric), answered, paired=True)
    worse = _losses(spec, metric, joined, joined["shadow"])
    worse = worse - _losses(spec, metric, joined, joined["score"])
    means, _ = _means(_units(joined, champion), worse, joined)
    count = int(np.isfinite(worse).sum())
    return LabelledAnswers(
        metric=metric,
        losses=means,
        is_candidate=np.ones(len(means), dtype=bool),
        propensity=np.ones(len(means)),
        entities=np.arange(len(means)),
        answered=answered,
        labelled={CHAMPION: count, CANDIDATE: count},
        paired=True,
    )


def _losses(spec: ModelSpec, metric: MetricName, joined: Any, scores: Any) -> Floats:
    truth = encode_labels(joined["label"].to_pandas(), spec.train)
    return row_losses(spec.train.task, metric, truth, score_array(scores))


def _units(joined: Any, asked: Any) -> Any:
    """What was drawn for each row: its entity, or its request where that has several rows.

    The entity is the key without the time of the event, as the server joins them; see
    serving.log.rows.
    """
    sizes = pc.value_counts(asked["request_id"])
    places = pc.index_in(joined["request_id"], value_set=sizes.field("values"))
    alone = pc.equal(sizes.field("counts").take(places), 1)
    entity = pc.replace_substring_regex(joined["entity_key"], _EVENT_TIME, "")
    return pc.binary_join_element_wise(
        pc.if_else(alone, "entity", "request"), pc.if_else(alone, entity, joined["request_id"]), " "
    )


def _means(units: Any, losses: Floats, joined: Any) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Each unit's mean loss in the order of its first label, and a row of each; NaN left out.

    Ties go by the event and its key, so that the order of the log does not matter.
    """
    order = pc.sort_indices(
        joined, [(name, "ascending") for name in ("known_at", "event_time", "entity_key")]
    ).to_numpy()
    order = order[np.isfinite(losses[order])].astype(np.int64)
    if not len(order):
        return np.zeros(0), order
    _, firsts, places = np.unique(_numbers(units)[order], return_index=True, return_inverse=True)
    means = np.bincount(places, weights=losses[order]) / np.bincount(places)
    by_label = np.argsort(firsts)
    return means[by_label], order[firsts[by_label]]


def _numbers(names: Any) -> npt.NDArray[np.int64]:
    """The same number for the same name."""
    encoded = pa.chunked_array(names).combine_chunks().dictionary_encode()
    numbers: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return numbers


def _by_row(table: Any) -> Any:
    """A table whose entity_key names the request too: rows of the log, not events."""
    place = table.schema.get_field_index("entity_key")
    return table.set_column(place, "entity_key", _row_names(table))


def _row_names(table: Any) -> Any:
    return pc.binary_join_element_wise(table["request_id"], table["entity_key"], "\n")


def _by_arm(is_candidate: Any) -> dict[str, int]:
    candidates = pc.sum(is_candidate).as_py() or 0
    return {CHAMPION: len(is_candidate) - candidates, CANDIDATE: candidates}


def _counted(
    found: LabelledAnswers, answered: dict[str, int], *, paired: bool = False
) -> LabelledAnswers:
    return LabelledAnswers(**{**vars(found), "answered": answered, "paired": paired})
