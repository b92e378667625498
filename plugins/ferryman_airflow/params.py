"""The parameters that a run may be given, and their checks in code.

Airflow stores unknown conf keys and accepts a trailing newline where a pattern ends in `$`; so
every value is checked again here, whole, before a step sees it.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Param

from ferryman.errors import SpecError
from ferryman.spec.mistakes import nearest

_SHOWN = 100
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


@dataclass(frozen=True)
class RunParam:
    """One optional text parameter of a run."""

    name: str
    pattern: str
    max_length: int
    description: str
    day_is: str = ""  # what completes a value that is only a day
    whole: bool = False  # a whole number from 1 on, which a step is given as text, too

    def declared(self) -> Param:
        """The form field and JSON schema that Airflow shows and checks."""
        if self.whole:
            return Param(None, type=["null", "integer"], minimum=1, description=self.description)
        return Param(
            None,
            type=["null", "string"],
            pattern=f"^(?:{self.pattern})$",
            maxLength=self.max_length,
            description=self.description,
        )

    def check(self, value: object) -> str | None:
        """The value, when it is null or matches as a whole; SpecError (exit 2) otherwise."""
        if value is None:
            return None
        if self.whole and type(value) is int:  # a truth value is no number here
            value = str(value)
        fits = isinstance(value, str) and len(value) <= self.max_length
        if not fits or not re.fullmatch(self.pattern, str(value), re.ASCII):
            raise SpecError(
                f"param {self.name!r} has an illegal value {str(value)[:_SHOWN]!r}",
                remedy=f"{self.name}: {self.description}",
            )
        return str(value) + self.day_is if re.fullmatch(_DAY, str(value)) else str(value)


RUN_PARAMS: Mapping[str, RunParam] = {
    param.name: param
    for param in (
        RunParam("window_start", _DAY, 10, "First day of the data, UTC, such as 2013-02-01."),
        RunParam(
            "window_end", _DAY, 10, "Day after the last one, UTC; left out, it is one day's window."
        ),
        RunParam(
            "cutoff",
            rf"{_DAY}(?:T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]{{1,6}})?(?:Z|\+00:00))?",
            35,
            "Train on what was known then, UTC, such as 2013-03-01T00:00:00Z; default: the newest.",
            day_is="T00:00:00Z",
        ),
        RunParam(
            "as_of",
            rf"{_DAY}(?:T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]{{1,6}})?(?:Z|\+00:00))?",
            35,
            "Score with the champion of that moment, UTC, such as 2013-03-01T00:00:00Z.",
            day_is="T00:00:00Z",
        ),
        RunParam(
            "as_known",
            "then|now",
            4,
            "Of a backfill: restate what was known on that day (usual), or with what is known now.",
        ),
        RunParam(
            "dataset",
            r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}",
            100,
            "Score this dataset version, in place of a window: its id, its beginning, or a pin.",
        ),
        RunParam(
            "file",
            r"(?:[A-Za-z0-9_-]{1,60}:)?[A-Za-z0-9_.=+@{}/-]{1,400}",
            500,
            "Score this Parquet file: PATH below the sources' folder, or CONNECTION:KEY.",
        ),
        RunParam("reason", r"[A-Za-z0-9 .,:;()+#@/=%_<>-]+", 200, "Why, in a few plain words."),
        RunParam(
            "accept_leakage",
            r"[A-Za-z0-9][A-Za-z0-9 .,:;()+#@/=%_<>-]{8,198}[A-Za-z0-9.)]",
            200,
            "Why what looks suspiciously good is right, in 10 to 200 plain characters; recorded.",
        ),
        RunParam(
            "pin",
            r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}",
            100,
            "Train on this dataset version: its id, a unique beginning of it, or a pin's name.",
        ),
        RunParam(
            "kind",
            "constant|nan|inverted",
            8,
            "How the drill's model is bad: constant (usual), nan or inverted.",
        ),
        RunParam("apply", "true|false", 5, "Whether to remove, or only to say what would go."),
        RunParam(
            "run", r"[A-Za-z0-9_.-]+", 128, "Folder name of a training run whose model to release."
        ),
        RunParam(
            "version",
            r"[1-9][0-9]{0,8}",
            9,
            "Version to roll back to; left out, the newest one before that served and verifies. "
            "To score with; left out, the champion.",
            whole=True,
        ),
        RunParam(
            "epoch",
            r"[1-9][0-9]{0,8}",
            9,
            "Epoch that you saw; where another is served by now, nothing is rolled back.",
            whole=True,
        ),
    )
}


def declare(*names: str) -> dict[str, Param]:
    """The `params` argument of a DAG."""
    return {name: RUN_PARAMS[name].declared() for name in names}


def check_conf(conf: Mapping[str, Any] | None, legal: Collection[str]) -> None:
    """Refuse a run's unknown conf keys; SpecError (exit 2) names the nearest legal one."""
    for key in sorted(str(name) for name in (conf or {})):
        if key in legal:
            continue
        meant = nearest(key[:_SHOWN], sorted(legal))
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise SpecError(
            f"unknown key {key[:_SHOWN]!r} in the run's conf{hint}",
            remedy=f"Params of this DAG: {', '.join(sorted(legal)) or 'none'}.",
        )


def check_params(values: Mapping[str, Any], names: Collection[str]) -> dict[str, str]:
    """The named params that were given, each checked; SpecError (exit 2) for a bad one."""
    checked = {name: RUN_PARAMS[name].check(values.get(name)) for name in names}
    return {name: value for name, value in checked.items() if value is not None}
