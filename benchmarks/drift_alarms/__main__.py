"""`python -m benchmarks.drift_alarms [--part P] [--seeds N] [--rows N]`: told when, and of what?

quiet     60 nights of each seed on which nothing changes: alarms over all comparisons; rows are
          independent, or the rows of a day are alike (each column of each day lies 0.3 sd off)
found     a change on the 31st of 45 nights: when it is told, and named
large     one comparison of 100,000 rows a night with a shift too small to matter
flights   the real flights of 2013, each four weeks after four weeks of training, as they are and
          with a planted shift from the middle on
"""

import argparse
from collections.abc import Callable
from multiprocessing import Pool

import numpy as np

from benchmarks.drift_alarms import flights_nights
from benchmarks.drift_alarms.lived_nights import Life, night, train
from benchmarks.drift_alarms.made_nights import (
    Rows,
    World,
    flipped,
    lost,
    new_value,
    shifted,
    turned,
)
from ferryman.monitoring.drift_findings import Finding
from ferryman.spec.monitoring import DriftSpec

NIGHTS, CHANGED, FOLLOWED = 60, 30, 45
TRAINED = 28
CHANGES: dict[str, tuple[Callable[[Rows], None], tuple[str, ...]]] = {
    "shift 0.03 sd": (shifted(0.03), ()),
    "shift 0.1 sd": (shifted(0.1), ()),
    "shift 0.3 sd": (shifted(0.3), ("n2",)),
    "shift 1 sd": (shifted(1.0), ("n2",)),
    "correlation turns": (turned, ("n0 and n1",)),
    "new category, 2 %": (new_value, ("c2",)),
    "nulls, 3 %": (lost, ("n6",)),
    "labels flip": (flipped, ("residuals",)),
}
WORLDS = {"independent": 0.0, "days alike": 0.3}


def live(
    seed: int, rows: int, spread: float, nights: int, change: Callable[[Rows], None] | None = None
) -> list[list[Finding]]:
    """The findings of each night of a model's life; a change begins with the 31st."""
    world = World(np.random.default_rng(seed), rows, spread)
    life = Life(train(TRAINED, world.day))
    world.seen = 0
    return [
        life.live(world.day(change if place >= CHANGED else None), night(place))
        for place in range(nights)
    ]


def quiet(asked: tuple[int, int, str]) -> list[str]:
    seed, rows, world = asked
    found = live(seed, rows, WORLDS[world], NIGHTS)
    return [
        f"night {place} {one.kind} {one.name}"
        for place, findings in enumerate(found)
        for one in findings
        if one.outcome == "alarm"
    ]


def found(asked: tuple[int, int, str, str]) -> tuple[int | None, int]:
    """After how many nights the change is told under its name, and alarms under other names."""
    seed, rows, world, name = asked
    change, names = CHANGES[name]
    told = [
        (place - CHANGED, one.name)
        for place, findings in enumerate(live(seed, rows, WORLDS[world], FOLLOWED, change))
        for one in findings
        if one.outcome == "alarm" and place >= CHANGED
    ]
    own = [place for place, who in told if not names or who in names]
    return (min(own) if own else None), sum(bool(names) and who not in names for _, who in told)


def large(seed: int) -> dict[float, int]:
    """Alarms of the first eight nights of 100,000 rows with a lasting shift of one column."""
    alarms = {}
    for by in (0.0, 0.03, 0.1, 0.3):
        world = World(np.random.default_rng(seed), 100_000)
        life = Life(train(4, world.day), joint=False)
        world.seen = 0
        nights = [life.live(world.day(shifted(by)), night(place)) for place in range(3)]
        alarms[by] = sum(one.outcome == "alarm" for findings in nights for one in findings)
    return alarms


def _print_quiet(pool: "Pool", seeds: int, rows: int) -> None:  # type: ignore[valid-type]
    print(f"\nquiet: alarms on {NIGHTS} nights of {rows} rows x 20 columns, {seeds} seeds")
    print("rows         nights with alarms   seeds with more than 1   most in a seed")
    for world in WORLDS:
        told = pool.map(quiet, [(seed, rows, world) for seed in range(seeds)], chunksize=1)
        counts = [len(one) for one in told]
        print(
            f"{world:12} {sum(counts):6} of {seeds * NIGHTS:<10} {sum(c > 1 for c in counts):12}"
            f" {max(counts):18}   {[text for one in told for text in one][:6]}",
            flush=True,
        )


def _print_found(pool: "Pool", seeds: int, rows: int) -> None:  # type: ignore[valid-type]
    print(f"\nfound: of {seeds} seeds of {rows} rows a night; the night of the change is 0")
    print("rows         change                told   on its night   median night   other alarms")
    for world in WORLDS:
        for name in CHANGES:
            ends = pool.map(found, [(s, rows, world, name) for s in range(seeds)], chunksize=1)
            nights = [place for place, _ in ends if place is not None]
            median = f"{np.median(nights):.0f}" if nights else "-"
            print(
                f"{world:12} {name:20} {len(nights):5} {sum(n == 0 for n in nights):12}"
                f" {median:>14} {sum(others for _, others in ends):14}",
                flush=True,
            )


def _print_large(pool: "Pool", seeds: int) -> None:  # type: ignore[valid-type]
    print(f"\nlarge: alarms on 3 nights of 100,000 rows, {seeds} seeds")
    told = pool.map(large, range(seeds), chunksize=1)
    for by in told[0]:
        print(f"shift {by:4} sd   alarms {sum(one[by] for one in told)}", flush=True)


def flights(asked: tuple[int, float, str | None, float]) -> list[tuple[int, str]]:
    place, effect, column, by = asked
    begin = flights_nights.begins()[place]
    return [
        (after, one.name)
        for after, findings in flights_nights.nights(begin, DriftSpec(effect=effect), column, by)
        for one in findings
        if one.outcome == "alarm"
    ]


def _print_flights(pool: "Pool") -> None:  # type: ignore[valid-type]
    spans = len(flights_nights.begins())
    print(f"\nflights: {spans} times four weeks after four weeks of training, 11 columns")
    print("effect   planted                 alarms on   named   same night   names")
    middle = flights_nights.LIVED // 2
    for effect in (0.15, 0.5):
        for column, by in ((None, 0.0), ("distance", 0.3), ("distance", 1.0), ("temp", 2.0)):
            asked = [(place, effect, column, by) for place in range(spans)]
            told = pool.map(flights, asked, chunksize=1)
            nights = sum(len({after for after, _ in one}) for one in told)
            own = [[n for n, who in one if who == column and n >= middle] for one in told]
            names = sorted({who for one in told for _, who in one})
            planted = f"{column} {by:+} sd" if column else "nothing"
            print(
                f"{effect:6}   {planted:20} {nights:5} of {spans * flights_nights.LIVED}"
                f" {sum(map(bool, own)):6} {sum(middle in one for one in own):10}   {names}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("quiet", "found", "large", "flights"))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    with Pool(asked.processes) as pool:
        if asked.part in (None, "quiet"):
            _print_quiet(pool, asked.seeds, asked.rows)
        if asked.part in (None, "found"):
            _print_found(pool, max(1, asked.seeds // 5), asked.rows)
        if asked.part in (None, "large"):
            _print_large(pool, max(1, asked.seeds // 10))
        if asked.part in (None, "flights"):
            _print_flights(pool)


if __name__ == "__main__":
    main()
