"""Real days of flights: ingested, checked, published, and the same again when repeated."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.runtime.files import read_json
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.windows import day_window

if TYPE_CHECKING:
    from conftest import Installation


def ids(results: list[Any]) -> list[str]:
    return [entry["id"] for entry in results[0].outputs["snapshots"]]


def test_a_backfill_makes_seven_snapshots_and_a_second_one_none(
    installation: "Installation",
) -> None:
    first = installation.run("ingest", "2013-02-01", 7)
    assert first[0].metrics["new_snapshots"] == 7
    store = SnapshotStore(LocalObjectStore(installation.settings.data_root))
    published = store.published("flights")
    assert [s.window.start.day for s in published] == [1, 2, 3, 4, 5, 6, 7]
    assert [s.id for s in published] == ids(first)
    before = installation.data_files()

    second = installation.run("ingest", "2013-02-01", 7)
    one_by_one = [installation.run("ingest", f"2013-02-0{day}") for day in (7, 3, 1)]

    assert second[0].metrics["new_snapshots"] == 0
    assert ids(second) == ids(first)
    assert [ids(day)[0] for day in one_by_one] == [ids(first)[6], ids(first)[2], ids(first)[0]]
    assert installation.data_files() == before
    assert all(len(store.history("flights", s.window)) == 1 for s in published)


def test_what_a_snapshot_of_a_real_day_holds(installation: "Installation") -> None:
    ingested, validated = installation.run("ingest", "2013-02-05")
    (entry,) = ingested.outputs["snapshots"]
    assert (entry["rows"], entry["labels"]) == (901, 928)
    report = read_json(installation.settings.root / validated.outputs["report"])
    outcomes = report["windows"][0]["outcomes"]
    assert len(outcomes) > 20
    assert all(outcome["success"] for outcome in outcomes)
    store = SnapshotStore(LocalObjectStore(installation.settings.data_root))
    snapshot = store.get("flights", entry["id"])
    features, labels = store.read_features(snapshot), store.read_labels(snapshot)
    columns = list(installation.model().spec.features.columns)
    assert features.column_names == ["entity_key", "event_time", *columns, "flight"]
    assert snapshot.entry.cutoff == max(features.column("event_time").to_pylist())
    assert set(labels.column("label").to_pylist()) == {True, False, None}
    files = {
        name: [part["name"] for part in use.parts] for name, use in snapshot.entry.sources.items()
    }
    assert len(files["flights"]) == 30, "the day and its four weeks and a day of history"
    assert files["flights"][-1] == "flights/days/flights_2013-02-05.parquet"
    assert files["planes"] == ["planes"]
    assert snapshot.entry.sources["planes"].described == "sql fleet:planes"
    assert set(snapshot.entry.queries) == {"features.sql", "labels.sql"}
    assert snapshot.entry.profile["temp"]["count"] > 850  # type: ignore[index,call-overload]


def test_the_first_and_a_replayed_day(installation: "Installation") -> None:
    first, _ = installation.run("ingest", "2013-01-01")
    assert first.outputs["snapshots"][0]["labels"] == 0  # type: ignore[index,call-overload]
    again, _ = installation.run("ingest", "2026-02-05")
    store = SnapshotStore(LocalObjectStore(installation.settings.data_root))
    current = store.current("flights", day_window(datetime(2026, 2, 5, tzinfo=UTC)))
    assert current is not None
    assert current.entry.read_window == day_window(datetime(2013, 2, 5, tzinfo=UTC))
    key = store.read_features(current).column("entity_key")[0].as_py()
    assert key.endswith("|2026-02-05T00:00:00Z")
    assert again.metrics["rows"] == 901


def test_a_corrected_day_replaces_the_old_one_and_remembers_it(
    installation: "Installation",
) -> None:
    old = ids(installation.run("ingest", "2013-02-05"))[0]

    def correct(table: Any) -> Any:
        import pyarrow.compute as pc

        place = table.column_names.index("distance")
        return table.set_column(place, "distance", pc.add(table.column("distance"), 1))

    installation.rewrite("days/flights_2013-02-05.parquet", correct)
    new = ids(installation.run("ingest", "2013-02-05"))[0]
    assert new != old
    store = SnapshotStore(LocalObjectStore(installation.settings.data_root))
    window = day_window(datetime(2013, 2, 5, tzinfo=UTC))
    history = store.history("flights", window)
    assert [(entry.id, entry.parent) for entry in history] == [(old, None), (new, old)]
    entry = store.get("flights", new).entry
    assert entry.parents == [old]
    assert entry.change.startswith(
        "source flights changed: flights/days/flights_2013-02-05.parquet"
    )
    assert entry.reason == "ingest"
    assert history[-1].change == entry.change
    assert store.read_features(store.get("flights", old)).num_rows == 901


def test_csv_of_a_day_gives_the_same_features_as_parquet(installation: "Installation") -> None:
    installation.run("ingest", "2013-01-02")
    store = SnapshotStore(LocalObjectStore(installation.settings.data_root))
    window = day_window(datetime(2013, 1, 2, tzinfo=UTC))
    parquet = store.current("flights", window)
    assert parquet is not None
    installation.use_csv("2013-01-01", "2013-01-02")
    (result, _) = installation.run("ingest", "2013-01-02")
    assert ids([result]) == [parquet.id]


def test_datasets_of_real_days(installation: "Installation") -> None:
    installation.run("ingest", "2013-01-20", 14)
    declared = installation.model().spec
    train = declared.train.model_copy(
        update={
            "window": declared.data.label.known_after * 7,
            "holdout": declared.data.label.known_after * 3,
        }
    )
    spec = declared.model_copy(update={"train": train})
    cutoff = datetime(2013, 2, 1, tzinfo=UTC)
    store = DatasetStore(LocalObjectStore(installation.settings.data_root))
    training, evaluation = store.split(spec, cutoff)
    assert training.event_window.end == evaluation.event_window.start
    frame = store.load(training.id, "flights")
    assert len(frame) == training.rows > 4_000
    assert frame["event_time"].max() < training.event_window.end
    assert 0.05 < frame["label"].mean() < 0.6
    assert not frame.select_dtypes("str").isna().any().any()
    assert len(evaluation.label_snapshot_ids) == 3
