"""What cleaning makes of a source's rows, and which of them it counts."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from ferryman.data.rows.cleaning import QUARANTINE, RowsRejected
from ferryman.data.rows.judgement import Judgement
from ferryman.data.sources.memory_source import MemorySource
from ferryman.data.sources.source import SourceRows
from ferryman.data.windows.readings import Readings
from ferryman.errors import DataRejected
from ferryman.spec.sources import FilesSourceSpec
from ferryman.spec.windows import DAY, Window, day_window

TIME = pa.timestamp("us", "UTC")
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
FIRST, SECOND = day_window(START), day_window(START + DAY)


def at(hour: float) -> dt.datetime:
    return START + dt.timedelta(hours=hour)


def source(column: dict[str, Any], values: list[Any], *, share: float = 0.9,
           hours: list[Any] | None = None, **more: Any) -> MemorySource:  # fmt: skip
    """Rows of one column `v`, an hour apart unless told otherwise."""
    spec = FilesSourceSpec.model_validate(
        {
            "kind": "files",
            "path": "rows.parquet",
            "event_time": "at",
            "columns": {"at": {"type": "timestamp"}, "v": column},
            **more,
        }
    )
    moments = [at(hour) for hour in range(len(values))] if hours is None else hours
    table = pa.table({"at": pa.array(moments, TIME), "v": pa.array(values)})
    return MemorySource("rows", spec, table, max_rejected=share)


def cleaned(made: MemorySource, span: Window = FIRST, required: Window | None = FIRST) -> Any:
    read = made.read(span, required)
    return read.table.column("v").to_pylist(), dict(read.cleaning.counts), read.cleaning


NUMBER = {"type": "number", "min": 0, "max": 9}


@pytest.mark.parametrize(
    ("column", "values", "left", "counts", "fates"),
    [
        (NUMBER, [1.0, -1.0, 9.5, 9.0], [1.0, 9.0], {"is below 0": 1, "is above 9": 1}, (2, 0)),
        ({**NUMBER, "invalid": "clip"}, [-1.0, 4.0, 12.0], [0.0, 4.0, 9.0],
         {"is below 0": 1, "is above 9": 1}, (0, 2)),
        ({**NUMBER, "invalid": "clip"}, [float("inf"), 4.0], [4.0], {"is no finite number": 1},
         (1, 0)),
        ({**NUMBER, "invalid": "null", "nullable": True}, [-1.0, None, float("inf")],
         [None, None, None], {"is below 0": 1, "is no finite number": 1}, (0, 2)),
        ({**NUMBER, "invalid": "null", "fill": 5}, [-1.0, None, 3.0], [5.0, 5.0, 3.0],
         {"is below 0": 1, "is null, filled with 5": 1}, (0, 2)),
        ({"type": "integer", "min": 1, "max": 2**53, "invalid": "clip"}, [2**53 + 1, 0],
         [2**53, 1], {"is above 9007199254740992": 1, "is below 1": 1}, (0, 2)),
        ({"type": "category", "values": ["a"]}, ["a", "A", "a "], ["a"],
         {"is none of the declared values": 2}, (2, 0)),
        ({"type": "category", "fill": "?"}, ["a", None], ["a", "?"],
         {"is null, filled with ?": 1}, (0, 1)),
        ({"type": "boolean", "fill": False}, [None, True], [False, True],
         {"is null, filled with False": 1}, (0, 1)),
        ({"type": "text"}, ["a", None], ["a"],
         {"is null, and the column is not nullable": 1}, (1, 0)),
        ({"type": "text", "nullable": True}, ["a", None], ["a", None], {}, (0, 0)),
    ],
)  # fmt: skip
def test_rules_of_a_column(
    column: dict[str, Any],
    values: list[Any],
    left: list[Any],
    counts: dict[str, int],
    fates: tuple[int, int],
) -> None:
    found, reasons, cleaning = cleaned(source(column, values, share=1.0))
    assert found == left
    assert reasons == {f"column 'v': {reason}": count for reason, count in counts.items()}
    assert (cleaning.dropped, cleaning.changed) == fates
    assert cleaning.quarantine.num_rows == sum(counts.values())
    assert cleaning.quarantine.schema == QUARANTINE


def test_a_row_without_a_time_is_always_dropped_and_counted() -> None:
    made = source({"type": "integer"}, [1, 2, 3], hours=[at(1), None, at(30)])
    for span in (FIRST, SECOND):
        _, reasons, cleaning = cleaned(made, span, span)
        assert list(reasons.values()) == [1]
        assert "belongs to no window" in next(iter(reasons))
        assert (cleaning.rows, cleaning.dropped) == (2, 1)


def test_only_the_required_part_is_judged() -> None:
    made = source(NUMBER, [-1.0, -1.0, 1.0, -1.0], hours=[at(1), at(2), at(3), at(30)], share=0.5)
    both = Window(start=FIRST.start, end=SECOND.end)
    with pytest.raises(RowsRejected, match=r"row 4: -1\.0 is below 0 \(1 of 1 rows are bad"):
        made.read(both, SECOND)
    with pytest.raises(RowsRejected, match=r"2 rows, the first in row 1: .*\(2 of 3 rows"):
        made.read(both, FIRST)
    later = day_window(SECOND.end)
    read = made.read(both, later)  # neither day: dropped all the same, and not counted
    assert read.table.column("v").to_pylist() == [1.0]
    assert (read.cleaning.rows, read.cleaning.dropped, dict(read.cleaning.counts)) == (0, 0, {})


def test_the_declared_share_is_itself_allowed() -> None:
    values = [-1.0] * 29 + [1.0] * 71  # 0.29 * 100 is less than 29 in floating point
    hours = [START + dt.timedelta(minutes=n) for n in range(100)]
    assert cleaned(source(NUMBER, values, hours=hours, share=0.29))[2].dropped == 29
    with pytest.raises(RowsRejected):
        cleaned(source(NUMBER, [*values, -1.0], hours=[*hours, at(5)], share=0.29))


@pytest.mark.parametrize(("keep", "left"), [("first", [1, 2, 4]), ("last", [1, 3, 4])])
def test_duplicates_are_told_apart_and_counted(keep: str, left: list[int]) -> None:
    moments = [at(0), at(0), at(1), at(1), at(2)]
    made = source({"type": "integer"}, [1, 1, 2, 3, 4], hours=moments, key=["at"], keep=keep)
    found, reasons, cleaning = cleaned(made)
    assert found == left
    assert sorted(reasons.values()) == [1, 1]
    assert cleaning.dropped == 2
    lines = cleaning.quarantine.to_pylist()
    assert [line["place"] for line in lines] == (
        ["row 2", "row 4"] if keep == "first" else ["row 1", "row 3"]
    )
    assert "cell by cell" in lines[0]["reason"]
    assert "differs" in lines[1]["reason"]


def test_a_bad_row_is_no_duplicate_of_a_good_one() -> None:
    made = source(NUMBER, [-1.0, 2.0], hours=[at(0), at(0)], key=["at"])
    found, reasons, _ = cleaned(made)
    assert found == [2.0]
    assert reasons == {"column 'v': is below 0": 1}


WIND = {"type": "number", "nullable": True, "outliers": {"method": "iqr", "min_rows": 8}}


def test_outliers_are_judged_by_values_as_they_were_delivered() -> None:
    """Filled, clipped and dropped cells neither fall nor move the fences."""
    values = [float(v % 7) for v in range(21)] + [None, 500.0]
    column = {**WIND, "nullable": False, "fill": 900.0, "max": 1000}
    found, reasons, _ = cleaned(source(column, values))
    assert reasons == {
        "column 'v': is null, filled with 900": 1,
        "column 'v': is an outlier (iqr, 3)": 1,
    }
    assert found[-1] == 900.0
    assert 500.0 not in found


def test_an_outlier_is_moved_to_a_whole_number_inside_its_fence() -> None:
    column = {"type": "integer", "outliers": {"method": "zscore", "factor": 2, "action": "clip"}}
    values = [10, 11, 12] * 7 + [90, -70]
    hours = [START + dt.timedelta(minutes=n) for n in range(len(values))]
    column["outliers"]["min_rows"] = 8  # type: ignore[index]
    found, _, cleaning = cleaned(source(column, values, hours=hours))
    mean, spread = pa.array(values), pa.compute.stddev(pa.array(values)).as_py()
    middle = pa.compute.mean(mean).as_py()
    assert found[-2] == int(middle + 2 * spread)
    assert found[-1] == -int(-(middle - 2 * spread))
    assert cleaning.changed == 2


def test_a_day_is_cleaned_alike_with_whatever_it_is_read() -> None:
    """Half a day of lookback, or the neighbouring days, change nothing about a day's rows."""
    values: list[float | None] = [1.0, 2.0, 3.0, 4.0] * 18
    values[3], values[30], values[60] = 80.0, 90.0, 100.0
    values[12:24] = [value * 30 for value in values[12:24] if value]  # a stormy afternoon
    made = source(WIND, values, key=["v"], keep="last")
    alone = {
        day.start: made.read(day).table.to_pylist()
        for day in (FIRST, SECOND, day_window(SECOND.end))
    }
    assert len({len(rows) for rows in alone.values()}) > 1
    readings = Readings({"rows": made})
    for start, end in ((0, 72), (12, 48), (18, 50), (30, 31)):
        reach = Window(start=at(start), end=at(end))
        rows = readings.rows(made, reach, reach, Judgement(reach), counted=False).to_pylist()
        assert rows == [
            row for day in alone.values() for row in day if reach.start <= row["at"] < reach.end
        ]


def test_columns_of_another_type_are_rejected_whatever_the_share() -> None:
    with pytest.raises(DataRejected, match="'v' is stored as string, but is declared number"):
        cleaned(source(NUMBER, ["a", "b"], share=0.999))


def test_the_account_adds_up_and_a_lookup_is_read_once() -> None:
    spec = FilesSourceSpec.model_validate(
        {
            "kind": "files",
            "path": "planes.csv",
            "columns": {"v": {**NUMBER, "invalid": "clip"}},
        }
    )

    class Counting(MemorySource):
        reads = 0

        def read(
            self,
            span: Window | None,
            required: Window | None = None,
            judgement: Judgement | None = None,
        ) -> SourceRows:
            self.reads += 1
            return super().read(span, required, judgement)

    table = pa.table({"v": [1.0, 10.0, 11.0]})
    made = Counting("planes", spec, table, max_rejected=0.9)
    readings = Readings({"planes": made})
    for counted in (True, False):
        assert readings.rows(made, FIRST, FIRST, Judgement(FIRST), counted=counted).num_rows == 3
    use = readings.uses()["planes"]
    assert made.reads == 1
    assert use.described == "files source root:planes.csv"
    assert (use.dropped, use.changed, use.counts) == (0, 2, {"column 'v': is above 9": 2})
    assert readings.quarantine().column("place").to_pylist() == ["row 2", "row 3"]
