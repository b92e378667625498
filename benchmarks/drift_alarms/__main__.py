"""`python -m benchmarks.drift_alarms [--part P] [--seeds N] [--rows N]`: told when, and of what?

quiet     60 nights of each seed on which nothing changes: alarms over all comparisons; rows are
          independent, or the rows of a day are alike (each column of each day lies 0.3 sd off)
found     a change on the 31st night, and ten nights of it: when it is told, and named
large     100,000 rows a night, with shifts that matter and that do not
flights   the real flights of 2013, each four weeks after four weeks of training, as they are and
          with a planted change from the middle on
"""

import argparse
from collections.abc import Callable, Sequence
from copy import deepcopy
from multiprocessing import Pool

import numpy as np

from benchmarks.drift_alarms import flights_nights
from benchmarks.drift_alarms.flights_nights import NOTHING
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
from ferryman.spec.monitoring import DriftSpec

NIGHTS, CHANGED, FOLLOWED = 60, 30, 10
FRESH = 7000  # the first seed: none that the rules were made with
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


def _begun(seed: int, rows: int, spread: float) -> tuple[World, Life]:
    world = World(np.random.default_rng(seed), rows, spread)
    life = Life(train(TRAINED, world.day))
    world.seen = 0
    return world, life


def quiet(asked: tuple[int, int, str]) -> list[str]:
    seed, rows, name = asked
    world, life = _begun(seed, rows, WORLDS[name])
    found = [life.live(world.day(), night(place)) for place in range(NIGHTS)]
    return [
        f"night {place} {one.kind} {one.name}"
        for place, findings in enumerate(found)
        for one in findings
        if one.outcome == "alarm"
    ]


def found(asked: tuple[int, int, str]) -> dict[str, tuple[int | None, int]]:
    """After how many nights each change is told under its name, and alarms under other names."""
    seed, rows, name = asked
    world, life = _begun(seed, rows, WORLDS[name])
    for place in range(CHANGED):
        life.live(world.day(), night(place))
    ends = {}
    for change, (spoil, names) in CHANGES.items():
        own, parted = deepcopy(world), life.parted()
        told = [
            (place, one.name)
            for place in range(FOLLOWED)
            for one in parted.live(own.day(spoil), night(CHANGED + place))
            if one.outcome == "alarm"
        ]
        named = [place for place, who in told if not names or who in names]
        others = sum(bool(names) and who not in names for _, who in told)
        ends[change] = (min(named) if named else None), others
    return ends


def large(seed: int) -> dict[float, int]:
    """Alarms of the first three nights of 100,000 rows with a lasting shift of one column."""
    world = World(np.random.default_rng(seed), 100_000)
    life = Life(train(4, world.day), joint=False)
    alarms = {}
    for by in (0.0, 0.03, 0.1, 0.3):
        world.seen, own = 0, life.parted()
        nights = [own.live(world.day(shifted(by)), night(place)) for place in range(3)]
        alarms[by] = sum(one.outcome == "alarm" for findings in nights for one in findings)
    return alarms


def _print_quiet(pool: "Pool", seeds: int, rows: int) -> None:  # type: ignore[valid-type]
    print(f"\nquiet: alarms on {NIGHTS} nights of {rows} rows x 20 columns, {seeds} seeds")
    print("rows         nights with alarms   seeds with more than 1   most in a seed")
    for world in WORLDS:
        told = pool.map(quiet, [(FRESH + seed, rows, world) for seed in range(seeds)], chunksize=1)
        counts = [len(one) for one in told]
        print(
            f"{world:12} {sum(counts):6} of {seeds * NIGHTS:<10} {sum(c > 1 for c in counts):12}"
            f" {max(counts):18}   {[text for one in told for text in one][:6]}",
            flush=True,
        )


def _print_found(pool: "Pool", seeds: int, rows: int) -> None:  # type: ignore[valid-type]
    print(
        f"\nfound: {seeds} seeds of {rows} rows a night, {FOLLOWED} nights; 0 is the change's own"
    )
    print("rows         change                told   on its night   median night   other alarms")
    for world in WORLDS:
        asked = [(FRESH + seed, rows, world) for seed in range(seeds)]
        all_ends = pool.map(found, asked, chunksize=1)
        for name in CHANGES:
            ends = [one[name] for one in all_ends]
            print(f"{world:12} {name:20} {_summary(ends)}", flush=True)


def _summary(ends: Sequence[tuple[int | None, int]]) -> str:
    nights = [place for place, _ in ends if place is not None]
    median = f"{np.median(nights):.0f}" if nights else "-"
    others = sum(count for _, count in ends)
    return f"{len(nights):5} {sum(n == 0 for n in nights):14} {median:>14} {others:14}"


def _print_large(pool: "Pool", seeds: int) -> None:  # type: ignore[valid-type]
    print(f"\nlarge: alarms on 3 nights of 100,000 rows, {seeds} seeds")
    told = pool.map(large, [FRESH + seed for seed in range(seeds)], chunksize=1)
    for by in told[0]:
        print(f"shift {by:4} sd   alarms {sum(one[by] for one in told)}", flush=True)


def flights(asked: tuple[int, float]) -> dict[str, list[tuple[int, str]]]:
    place, effect = asked
    begin = flights_nights.begins()[place]
    found = flights_nights.nights(begin, DriftSpec(effect=effect))
    return {
        change: [(after, one.name) for after, one in told if one.outcome == "alarm"]
        for change, told in found.items()
    }


def _print_flights(pool: "Pool") -> None:  # type: ignore[valid-type]
    spans, half = len(flights_nights.begins()), flights_nights.LIVED // 2
    print(f"\nflights: {spans} times four weeks after four weeks of training, 11 columns")
    for effect in (DriftSpec().effect, 0.25):
        lives = pool.map(flights, [(place, effect) for place in range(spans)], chunksize=1)
        quiet_alarms = [one for life in lives for name in ("", NOTHING) for one in life[name]]
        names = sorted({name for _, name in quiet_alarms})
        told = f"{len(quiet_alarms)} alarms on {spans * 2 * half} nights"
        print(f"effect {effect}: as they are, {told}: {', '.join(names) or 'none'}")
        print("  change               told   on its night   median night   other alarms")
        for change, (column, *_) in flights_nights.CHANGES.items():
            ends = []
            for life in lives:
                quiet_names = {name for _, name in life[NOTHING]}
                own = [after for after, name in life[change] if name == column]
                others = {name for _, name in life[change]} - quiet_names - {column}
                ends.append((min(own) if own else None, len(others)))
            print(f"  {change:18} {_summary(ends)}", flush=True)


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
