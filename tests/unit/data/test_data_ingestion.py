"""A window's features and labels: typed, keyed, and without a glance at the future."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from ferryman.data.windows.ingestion import Ingestion
from ferryman.errors import DataRejected, GateRefused, SpecError
from ferryman.spec.windows import Window, day_window

if TYPE_CHECKING:
    from conftest import World

# A correct features query but for its FROM.
SELECT = "SELECT began AS event_time, line, distance, 1.0 AS temp, began AS known"


def at(day: int, hour: int = 0, minute: int = 0, year: int = 2013) -> dt.datetime:
    return dt.datetime(year, 1, day, hour, minute, tzinfo=dt.UTC)


def test_the_features_of_a_window(world: "World") -> None:
    features = world.build(5).features
    assert features.to_pylist() == [
        {
            "entity_key": "A|2013-01-05T06:30:00Z",
            "event_time": at(5, 6, 30),
            "line": "A",
            "distance": 50,
            "temp": 5 + 6 / 24,
        },
        {
            "entity_key": "B|2013-01-05T18:30:00Z",
            "event_time": at(5, 18, 30),
            "line": "B",
            "distance": 50,
            "temp": 5 + 18 / 24,
        },
    ]
    assert features.schema.types[2:] == [pa.string(), pa.int64(), pa.float64()]


def test_a_column_known_later_does_not_exist_for_features(world: "World") -> None:
    world.features_sql = (
        "SELECT began AS event_time, line,\n  distance,\n"
        "  trips.delay AS temp, began AS known FROM trips"
    )
    with pytest.raises(SpecError) as caught:
        world.build(5)
    assert f"{world.folder / 'features.sql'}:3:9: column 'delay' of source 'trips'" in str(
        caught.value
    )
    assert "known only after the event" in caught.value.text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "expression",
    ["delay", "DELAY", '"delay"', "(SELECT max(t.delay) FROM trips t WHERE t.line = trips.line)"],
)
def test_no_way_of_writing_reaches_it(world: "World", expression: str) -> None:
    world.features_sql = SELECT.replace("1.0 AS", f"{expression} AS") + " FROM trips"
    with pytest.raises(SpecError, match=r"features\.sql:1:\d+: column 'delay'"):
        world.build(5)


@pytest.mark.parametrize(
    ("above", "line"),
    [
        ("-- it's a comment\n\n  -- another; one\n", 5),
        ("/* one\n two */\n", 4),
        ("\n\n", 4),
    ],
)
def test_comments_above_the_query_do_not_move_its_lines(
    world: "World", above: str, line: int
) -> None:
    world.features_sql = above + (
        "SELECT began AS event_time, line, distance, -- so\n"
        "  delay AS temp, began AS known\nFROM trips"
    )
    with pytest.raises(SpecError, match=rf"features\.sql:{line}:3: column 'delay'"):
        world.build(5)


def test_a_star_does_not_bring_it_either(world: "World") -> None:
    world.features_sql = "SELECT * , began AS event_time, 1.0 AS temp, began AS known FROM trips"
    with pytest.raises(SpecError, match="a column 'began' that is declared nowhere"):
        world.build(5)


def test_history_holds_outcomes_known_at_the_window_s_start(world: "World") -> None:
    world.features_sql = """
    SELECT trips.began AS event_time, trips.line, count(h.delay) AS distance,
           epoch(max(h.began)) AS temp, max(h.began) AS known
    FROM trips, trips_history AS h GROUP BY ALL
    """
    # Of the 7 days before the 10th, the trips of the 9th are not yet known.
    first = world.build(10).features.to_pylist()[0]
    assert first["distance"] == 12
    assert first["temp"] == at(8, 18, 30).timestamp()


def test_an_outcome_known_exactly_at_the_start_is_history(world: "World") -> None:
    world.trips.append({"began": at(9), "line": "N", "distance": 1, "delay": 1.0})
    world.trips.append({"began": at(9, 0, 1), "line": "N", "distance": 1, "delay": 1.0})
    world.features_sql = """
    SELECT trips.began AS event_time, trips.line, trips.distance,
           (SELECT count(*) FROM trips_history WHERE line = 'N')::DOUBLE AS temp,
           trips.began AS known
    FROM trips
    """
    assert world.build(10).features.column("temp").to_pylist() == [1.0, 1.0]


def test_the_lookback_of_another_source_ends_with_the_window(world: "World") -> None:
    world.features_sql = """
    SELECT trips.began AS event_time, trips.line, trips.distance, trips.began AS known,
           epoch((SELECT {}(hour) FROM weather)) AS temp FROM trips
    """
    text = world.features_sql
    for function, expected in (("min", at(9, 18)), ("max", at(10, 23))):
        world.features_sql = text.format(function)
        assert world.build(10).features.column("temp")[0].as_py() == expected.timestamp()


def test_a_value_known_after_its_event_is_refused(world: "World") -> None:
    world.features_sql = world.features_sql.replace("ASOF LEFT JOIN", "LEFT JOIN").replace(
        "<= trips.began", "= date_trunc('hour', trips.began) + INTERVAL 1 HOUR"
    )
    with pytest.raises(GateRefused, match=r"^suspiciously good: ") as caught:
        world.build(5)
    assert (
        "feature 'temp' of row 1 (A|2013-01-05T06:30:00Z) became known at 2013-01-05T07:00:00Z, "
        "after the event at 2013-01-05T06:30:00Z; 2 rows are like this, by column 'known'"
    ) in caught.value.text


def test_a_late_value_may_be_accepted_by_somebody_with_a_reason(world: "World") -> None:
    clean = world.build(5)
    world.features_sql = world.features_sql.replace(
        "weather.hour AS known", "'2014-01-01'::TIMESTAMPTZ AS known"
    )
    ingestion = Ingestion(
        world.model(), world.sources(), world.engine, accepted="the archive stamps them so"
    )
    built = ingestion.build(day_window(at(5)))
    assert built.features.equals(clean.features)
    entry = ingestion.entry(built, reason="r", actor="ada", code="c", parents=[])
    (override,) = entry.overrides
    assert override.startswith("feature 'temp' of row 1 (A|2013-01-05T06:30:00Z) became known at ")
    assert override.endswith("by column 'known'; accepted by ada: the archive stamps them so")
    assert ingestion.entry(clean, reason="r", actor="ada", code="c", parents=[]).overrides == []


def test_a_late_time_of_a_value_that_is_null_is_no_leak(world: "World") -> None:
    world.features_sql = """
    SELECT began AS event_time, line, distance, CAST(NULL AS DOUBLE) AS temp,
           began + INTERVAL 1 DAY AS known FROM trips
    """
    assert world.build(5).features.column("temp").null_count == 2


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (
            "SELECT began AS event_time, line, distance, began AS known FROM trips",
            "no column 'temp'",
        ),
        (f"{SELECT}, 1 AS more FROM trips", "a column 'more' that is declared nowhere"),
        (
            "SELECT began AS event_time, line, distance, 1.0 AS tmp, began AS known FROM trips",
            "no column 'temp'; did you mean its column 'tmp'?",
        ),
        (
            SELECT.replace("distance", "'x' AS distance") + " FROM trips",
            "column 'distance' is string, and is declared integer",
        ),
        (
            SELECT.replace("distance", "1.5 AS distance") + " FROM trips",
            "column 'distance' is decimal128(2, 1), and is declared integer",
        ),
        (
            SELECT.replace("began AS e", "began::TIMESTAMP AS e") + " FROM trips",
            "column 'event_time' is timestamp[us], and must be a time with a zone",
        ),
        (f"{SELECT} FROM trip", "features.sql:1: Catalog Error"),
        (f"{SELECT}\nFORM trips", "features.sql:2: Parser Error"),
        (f"{SELECT} FROM trips; SELECT 1", "exactly one SELECT"),
        ("CREATE TABLE t (a INT)", "exactly one SELECT"),
        ("COPY (SELECT 1) TO 'x.csv'", "exactly one SELECT"),
        ("", "exactly one SELECT"),
        (f"{SELECT} FROM read_csv('/etc/passwd')", "disabled"),
        (f"{SELECT} FROM '/etc/passwd'", "does not exist"),
        (f"{SELECT} FROM 'flights.parquet'", "disabled"),
        (f"{SELECT} FROM trips USING SAMPLE 10%", "a sample gives another answer"),
        (f"{SELECT} FROM trips WHERE\n random() < 2", "features.sql:2: random() gives another"),
        (f"{SELECT} FROM trips WHERE began < now()", "now() gives another answer"),
        (f"{SELECT} FROM trips WHERE began < CURRENT_TIMESTAMP", "gives another answer"),
        (f"{SELECT} FROM table_of_python", "Catalog Error"),
    ],
)
def test_wrong_queries(world: "World", sql: str, words: str) -> None:
    table_of_python = pa.table({"at": [at(5)]})
    world.features_sql = sql
    with pytest.raises(SpecError) as caught:
        world.build(5)
    assert words in caught.value.text
    assert str(world.folder / "features.sql") in caught.value.text
    assert table_of_python.num_rows == 1


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (f"{SELECT} FROM trips WHERE false", "the query gives no row for"),
        (
            f"{SELECT} FROM trips, range(2)",
            "2 events stand more than once, the first 2 times (rows 1 and 2): 'A|",
        ),
        (
            SELECT.replace("began AS e", "began - INTERVAL 1 DAY AS e") + " FROM trips",
            "2 rows have 'event_time' outside of",
        ),
        (
            SELECT.replace("line", "NULL::VARCHAR AS line") + " FROM trips",
            "'line' is null in 2 rows",
        ),
        (SELECT.replace("1.0 AS", "'inf'::DOUBLE AS") + " FROM trips", "'temp' is infinite in 2"),
        (SELECT.replace("1.0 AS", "CAST(line AS DOUBLE) AS") + " FROM trips", "Could not convert"),
        (SELECT.replace("distance", "2::HUGEINT ** 70 AS distance") + " FROM trips", "distance"),
    ],
)
def test_wrong_rows(world: "World", sql: str, words: str) -> None:
    world.features_sql = sql
    with pytest.raises((DataRejected, SpecError)) as caught:
        world.build(5)
    assert words in caught.value.text


def test_nan_is_null(world: "World") -> None:
    world.features_sql = SELECT.replace("1.0 AS", "'nan'::DOUBLE AS") + " FROM trips"
    assert world.build(5).features.column("temp").null_count == 2


def test_sums_of_integers_fit_an_integer_feature(world: "World") -> None:
    world.features_sql = (
        SELECT.replace("distance", "sum(distance) OVER () AS distance") + " FROM trips"
    )
    assert world.build(5).features.column("distance").to_pylist() == [100, 100]


def test_a_window_without_events_is_refused(world: "World") -> None:
    with pytest.raises(DataRejected, match=r"source 'trips' has no row in \[2013-01-25"):
        world.build(25)


def test_a_replayed_window_has_the_asked_times(world: "World") -> None:
    world.declaration["data"]["replay"] = {"year": 2013}
    lived, again = world.build(5), world.build(5, year=2026)
    assert again.features.column("event_time").to_pylist() == [
        at(5, 6, 30, 2026),
        at(5, 18, 30, 2026),
    ]
    assert again.features.column("entity_key")[0].as_py() == "A|2026-01-05T06:30:00Z"
    assert again.features.drop_columns(["entity_key", "event_time"]).equals(
        lived.features.drop_columns(["entity_key", "event_time"])
    )
    assert again.labels.column("known_at").to_pylist() == [at(5, 6, 30, 2026), at(5, 18, 30, 2026)]
    assert again.read_window == Window(start=at(5), end=at(6))
    assert lived.read_window is None


def test_the_future_cannot_change_a_window(world: "World") -> None:
    """Whatever is recorded after the window, its features and labels stay the same."""
    before = world.build(10)
    for trip in world.trips:
        if trip["began"] >= at(11):
            trip.update(distance=999, delay=999.0)
        elif trip["began"] >= at(10):
            trip.update(delay=999.0)  # outcomes of the window's own events come later too
    for hour in world.weather:
        if hour["hour"] >= at(11):
            hour["temp"] = -99.0
    after = world.build(10)
    assert after.features.equals(before.features)
    assert after.labels.equals(before.labels)


def test_the_entry_says_what_was_read(world: "World") -> None:
    ingestion = world.ingestion()
    built = ingestion.build(Window(start=at(5), end=at(6)))
    entry = ingestion.entry(built, reason="r", actor="a", code="c", parents=["p"])
    assert set(entry.sources) == {"trips", "weather"}
    assert set(entry.queries) == {"features.sql", "labels.sql"}
    profile: Any = entry.profile
    assert profile["distance"]["count"] == 2
    assert (entry.reason, entry.actor, entry.code_version, entry.parents) == ("r", "a", "c", ["p"])
