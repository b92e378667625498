"""Latency of answers by version and variant, from the prediction log.

A request has one latency, however many rows it has. A bound on a percentile is broken where more
requests are slower than chance allows: with a p95 at the bound, 5 of 100 are slower, give or take a
binomial's spread. What was refused or failed was never logged: errors and how busy a server is are
counted by the server itself (/metrics), not here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from scipy import stats

from ferryman.spec.monitoring import OperationsSpec

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Operations:
    """What a version did as a variant.

    requests, rows: of its answers; p50, p95, p99: seconds, None where no latency was logged;
    errors: None, for the log holds answers only; share: mean propensity, the probability with
    which the variant was drawn (None in old files); slow: the bounds that are shown to be broken;
    outcome: `not_enough_requests` where bounds are declared and cannot be judged.
    """

    version: int
    variant: str
    requests: int
    rows: int
    p50: float | None
    p95: float | None
    p99: float | None
    share: float | None
    outcome: Literal["ok", "slow", "not_enough_requests"]
    text: str
    slow: tuple[str, ...] = ()
    errors: int | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return asdict(self)


def measure_operations(answers: Any, spec: OperationsSpec) -> list[Operations]:
    """Each version and variant of a table of answers, by version.

    `answers`: request_id, logged_at, version, variant, latency in seconds, propensity; a variant
    that is not told is null. What a repeated request id answered at another time is another one.
    """
    if not answers.num_rows:
        return []
    answers = answers.set_column(
        answers.schema.get_field_index("variant"), "variant", pc.fill_null(answers["variant"], "")
    )
    keys = ["version", "variant", "request_id", "logged_at"]
    requests = answers.group_by(keys).aggregate(
        [("latency", "max"), ("propensity", "mean"), ("request_id", "count")]
    )
    found = []
    pairs = requests.group_by(["version", "variant"]).aggregate([]).to_pylist()
    for pair in sorted(pairs, key=lambda one: (one["version"], one["variant"])):
        own = pc.and_(
            pc.equal(requests["version"], pair["version"]),
            pc.equal(requests["variant"], pair["variant"]),
        )
        found.append(_measured(requests.filter(own), pair["version"], pair["variant"], spec))
    return found


def _measured(requests: Any, version: int, variant: str, spec: OperationsSpec) -> Operations:
    latency = pc.drop_null(requests["latency_max"]).to_numpy()
    latency = latency[np.isfinite(latency)]
    figures: dict[str, float | None] = dict.fromkeys(PERCENTILES)
    if len(latency):
        values = np.quantile(latency, list(PERCENTILES.values()), method="inverted_cdf")
        figures = dict(zip(PERCENTILES, map(float, values), strict=True))
    bounds = _bounds(spec)
    enough = len(latency) >= spec.min_requests
    slow = tuple(
        name
        for name, bound in bounds.items()
        if enough and _broken(latency, PERCENTILES[name], bound, spec.significance)
    )
    outcome: Literal["ok", "slow", "not_enough_requests"] = "slow" if slow else "ok"
    if bounds and not enough:
        outcome = "not_enough_requests"
    share = pc.mean(requests["propensity_mean"]).as_py()
    return Operations(
        version=version,
        variant=variant,
        requests=requests.num_rows,
        rows=int(pc.sum(requests["request_id_count"]).as_py()),
        p50=figures["p50"],
        p95=figures["p95"],
        p99=figures["p99"],
        share=share,
        outcome=outcome,
        slow=slow,
        text=_text(version, variant, len(latency), figures, bounds, slow, spec.min_requests),
    )


def _bounds(spec: OperationsSpec) -> dict[str, timedelta]:
    declared: Mapping[str, timedelta | None] = {name: getattr(spec, name) for name in PERCENTILES}
    return {name: bound for name, bound in declared.items() if bound is not None}


def _broken(
    latency: "np.ndarray[Any, np.dtype[np.float64]]",
    rank: float,
    bound: timedelta,
    significance: float,
) -> bool:
    """Whether more requests are slower than the bound than its percentile and chance allow."""
    slower = int((latency > bound.total_seconds()).sum())
    return bool(stats.binom.sf(slower - 1, len(latency), 1 - rank) < significance)


def _text(  # noqa: PLR0913, PLR0917 - what was found, in words
    version: int,
    variant: str,
    measured: int,
    figures: Mapping[str, float | None],
    bounds: Mapping[str, timedelta],
    slow: tuple[str, ...],
    least: int,
) -> str:
    named = f"version {version}" + (f" as {variant}" if variant else "")
    shown = ", ".join(
        f"{name} {value * 1000:.1f} ms" for name, value in figures.items() if value is not None
    )
    if not shown:
        return f"{named}: no latency was logged"
    told = f"{named}: {shown} of {measured} requests"
    if bounds and measured < least:
        return f"{told}; not enough requests to judge (n={measured} < {least})"
    if slow:
        broken = ", ".join(
            f"{name} is above {bounds[name] / timedelta(milliseconds=1):g} ms" for name in slow
        )
        return f"{told}; {broken}, beyond chance"
    return told
