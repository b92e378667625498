"""What profiles tell over a reference's bins, against the rows themselves."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.column_profile import Profile, merge_profiles, profile_json, read_profile
from ferryman.profiles.comparison import compare_columns, compare_parquet, named_in
from ferryman.profiles.profiled_columns import Names, profile_chunks, profile_parquet
from ferryman.profiles.reference_bins import bins_of, unseen_values
from ferryman.spec.data import FeatureSpec

COLUMNS = {
    "n": FeatureSpec(type="number"),
    "i": FeatureSpec(type="integer"),
    "w": FeatureSpec(type="category"),
}
ROWS = 2_000


def made(seed: int, moved: float = 0.0) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "n": pa.array(random.normal(moved, 1, ROWS), mask=random.random(ROWS) < 0.1),
            "i": random.poisson(3 + moved, ROWS),
            "w": [f"w{n}" for n in np.minimum(random.zipf(1.2 + moved / 5, ROWS), 900)],
        }
    )


def stored(table: pa.Table, named: Names | None = None) -> Profile:
    found = profile_chunks(COLUMNS, lambda name: table[name].chunks, named or {})
    return read_profile(profile_json(found))


REFERENCE = stored(made(1))
DAYS = [made(seed, moved=0.3) for seed in (2, 3, 4)]
PROFILES = [stored(day, named_in(REFERENCE)) for day in DAYS]


def test_numbers_are_counted_day_by_day_within_the_sketches_error() -> None:
    bins = bins_of(REFERENCE["n"])
    for day, told in zip(DAYS, bins.by_day([one["n"] for one in PROFILES]), strict=True):
        values = day["n"].drop_null().to_numpy()
        places = np.searchsorted(bins.edges[1:-1], values, side="right")
        known = [*np.bincount(places, minlength=len(bins.edges) - 1), day["n"].null_count]
        assert told == pytest.approx(known, abs=ROWS / 100)
        assert told.sum() == pytest.approx(ROWS)


def test_the_references_categories_are_counted_exactly_however_rare() -> None:
    reference = REFERENCE["w"]
    assert isinstance(reference, CategoryProfile)
    assert reference.other
    bins = bins_of(reference)
    merged = merge_profiles(PROFILES, named_in(REFERENCE))["w"]
    words = Counter(word for day in DAYS for word in day["w"].to_pylist())
    known = [words[name] for name in bins.names or ()]
    assert bins.count(merged).tolist() == [*known, 3 * ROWS - sum(known), 0]
    assert bins.by_day([one["w"] for one in PROFILES]).sum(axis=0).tolist() == pytest.approx(
        bins.count(merged).tolist()
    )
    # Without their names, rare ones are lost among the others.
    assert bins.count(stored(DAYS[0])["w"])[:-2].sum() < bins.count(PROFILES[0]["w"])[:-2].sum()


def test_a_profile_of_another_kind_fits_no_bin() -> None:
    bins = bins_of(REFERENCE["n"])
    assert not bins.fits(REFERENCE["w"])
    assert bins.count(REFERENCE["w"]).tolist() == [*[0.0] * (len(bins.rows) - 1), ROWS]
    assert bins.by_day([]).shape == (0, len(bins.rows))


def test_values_that_were_never_there_are_told_where_that_is_known() -> None:
    few = CategoryProfile(10, 0, {"a": 6, "b": 4})
    now = CategoryProfile(20, 1, {"a": 9, "c": 6, "": 1}, other=4)
    assert unseen_values(few, now) == (["c"], 10)
    assert unseen_values(CategoryProfile(10, 0, {"a": 6}, other=4), now) == ([], 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_is_compared_as_its_rows_are(tmp_path: Path, threads: int) -> None:
    pq.write_table(DAYS[0], tmp_path / "rows", row_group_size=300)
    told = compare_parquet(tmp_path / "rows", COLUMNS, REFERENCE, threads=threads)
    assert list(told) == list(COLUMNS)
    for name, one in told.items():
        other = compare_columns(REFERENCE[name], PROFILES[0][name])
        assert one.stability == pytest.approx(other.stability, rel=0.02)
        assert one.distance == pytest.approx(other.distance, abs=0.001)
    values = DAYS[0]["i"].to_numpy()
    before = made(1)["i"].to_numpy()
    cut = range(int(max(values.max(), before.max())))
    steps = [abs((values <= at).mean() - (before <= at).mean()) for at in cut]
    assert told["i"].distance == pytest.approx(max(steps))
    assert told["i"].moved == pytest.approx(sum(steps))
    assert told["w"].moved is None


def test_columns_are_shared_out_over_threads(tmp_path: Path) -> None:
    pq.write_table(DAYS[0], tmp_path / "rows", row_group_size=300)
    one, two = (
        profile_json(profile_parquet(tmp_path / "rows", COLUMNS, threads=n)) for n in (1, 2)
    )
    assert one == two
    # What was stored stays as it is, however often it is read and stored again.
    again = profile_json(stored(DAYS[0]))
    assert [again[name]["count"] for name in COLUMNS] == [one[name]["count"] for name in COLUMNS]
    assert len(again["n"]["cells"]) == len(one["n"]["cells"])
