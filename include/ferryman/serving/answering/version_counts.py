"""What the server counts of each version of a model: how many answers, how quick, how many errors.

Bounds grow by a fifteenth of an octave, 4.7 %, so that a quantile that Prometheus reads off them is
within 5 % of the exact one. Counters are kept of the newest versions alone: a replica outlives
many. Samples are written here: the library takes some fifty times as long, in the event loop.
"""

from collections.abc import Mapping

from ferryman.serving.answering.distribution import Distribution

_KEPT = 4  # versions of a model: champion, candidate, and those before them
# Fine from 62.5 us to 1.024 s.
_SECONDS = (
    *(round(0.0000625 * 2 ** (step / 15), 10) for step in range(211)),
    *(2.0, 4.0, 8.0, 16.0, 32.0),
)
_UP_TO = tuple(f'le="{bound}"}} ' for bound in (*_SECONDS, "+Inf"))
_HEAD = """\
# HELP ferryman_version_seconds Seconds to the answers of a version, to be read as quantiles.
# TYPE ferryman_version_seconds histogram
"""
_ERRORS_HEAD = """\
# HELP ferryman_version_errors_total Requests that a version could not answer.
# TYPE ferryman_version_errors_total counter
"""


class VersionCounts:
    """Counters by model and version, since this process began. Of the event loop."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int], Distribution] = {}
        self._errors: dict[tuple[str, int], int] = {}

    def answered(self, model: str, version: int, seconds: float) -> None:
        """Count an answered request."""
        timer = self._seconds.get((model, version))
        if timer is None:
            timer = self._begin(model, version)
        timer.observe(seconds)

    def failed(self, model: str, version: int) -> None:
        """Count a request that a version could not answer."""
        if (model, version) not in self._seconds:
            self._begin(model, version)
        self._errors[model, version] += 1

    def _begin(self, model: str, version: int) -> Distribution:
        """The counters of a version that is new here; the oldest one's are dropped."""
        known = [key for key in self._seconds if key[0] == model]
        for key in known[: max(0, len(known) - _KEPT + 1)]:
            del self._seconds[key], self._errors[key]
        self._errors[model, version] = 0
        timer = self._seconds[model, version] = Distribution(_SECONDS)
        return timer

    def text(self, labels: Mapping[str, str]) -> str:
        """What Prometheus reads; every sample carries `labels`."""
        pieces, errors = [_HEAD], [_ERRORS_HEAD]
        for (model, version), timer in list(self._seconds.items()):
            told = {"model": model, **labels, "version": str(version)}
            own = ",".join(f'{name}="{_escaped(value)}"' for name, value in told.items())
            counts, start = timer.cumulative(), f"ferryman_version_seconds_bucket{{{own},"
            pieces += [f"{start}{up}{n}\n" for up, n in zip(_UP_TO, counts, strict=True)]
            pieces.append(f"ferryman_version_seconds_count{{{own}}} {counts[-1]}\n")
            pieces.append(f"ferryman_version_seconds_sum{{{own}}} {timer.sum}\n")
            number = self._errors[model, version]
            errors.append(f"ferryman_version_errors_total{{{own}}} {number}\n")
        return "".join([*pieces, *errors])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
