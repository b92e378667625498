"""The error tree, and the only place where exit codes are written.

FerrymanError
├── SpecError              2  a declaration or a parameter is wrong
├── DataRejected           3  the data is not what was declared
├── GateRefused            4  the evidence said no
├── Superseded             5  something newer has already won
├── DependencyUnavailable  6  a service, a disk or a file is not there yet: try again
├── IntegrityBroken        7  bytes are not what was recorded
├── LostRace               8  somebody else decided first: look again, try again
│   └── Overtaken          8  ... and for good: the same attempt can never win
└── PolicyRefused          9  allowed by nobody, whatever the evidence

Exit 0 is done or already done; exit 1 is a bug (any exception that is not in this tree).
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the `ferryman` command exits with, and what a failed task means."""

    DONE = 0
    BUG = 1
    SPEC = 2
    DATA = 3
    GATE = 4
    SUPERSEDED = 5
    UNAVAILABLE = 6
    INTEGRITY = 7
    RACE = 8
    POLICY = 9


class FerrymanError(Exception):
    """An expected failure: what went wrong, and what to do about it.

    `remedy` is printed after the text; a subclass has a default, a raise may give a better one.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    default_remedy: ClassVar[str] = "Report this with the log above it."

    def __init__(self, text: str, *, remedy: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy or self.default_remedy

    def __str__(self) -> str:
        return f"{self.text} [exit {int(self.exit_code)}] Remedy: {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are lost by the default protocol that multiprocessing uses.
        return (_rebuild, (type(self), self.text, self.remedy))


class SpecError(FerrymanError):
    """A declaration, a parameter or a name is wrong."""

    exit_code = ExitCode.SPEC
    default_remedy = "Correct the declaration; `ferryman validate FILE` shows every mistake."


class DataRejected(FerrymanError):
    """The data is not what was declared; nothing of it became visible."""

    exit_code = ExitCode.DATA
    default_remedy = "Repair the data at its source, then run the window again."


class GateRefused(FerrymanError):
    """The evidence does not allow this candidate; the champion stays."""

    exit_code = ExitCode.GATE
    default_remedy = "Read the gate's verdict; train on other data or change the model."


class Superseded(FerrymanError):
    """A newer candidate or window has already won; there is nothing left to do."""

    exit_code = ExitCode.SUPERSEDED
    default_remedy = "None needed: the newer one stays."


class DependencyUnavailable(FerrymanError):
    """Something outside is not there, or not there yet; the same call may succeed later."""

    exit_code = ExitCode.UNAVAILABLE
    default_remedy = "Start or repair it, then run again; Airflow retries by itself."


class IntegrityBroken(FerrymanError):
    """Bytes differ from what was recorded when they were written."""

    exit_code = ExitCode.INTEGRITY
    default_remedy = "Do not use the file; restore it from a verified copy or train again."


class LostRace(FerrymanError):
    """The state changed between reading and writing; a new attempt reads it anew."""

    exit_code = ExitCode.RACE
    default_remedy = "Run again: the next attempt sees the new state."


class Overtaken(LostRace):
    """What was judged stands beside another champion by now; epochs only rise, so it stays lost."""

    default_remedy = "Release the run of its training again: it is judged against the new champion."


class PolicyRefused(FerrymanError):
    """A rule of the house forbids it, whatever the evidence says."""

    exit_code = ExitCode.POLICY
    default_remedy = "Ask the model's owner; the rule is named in the text."


def _rebuild(kind: type[FerrymanError], text: str, remedy: str) -> FerrymanError:
    return kind(text, remedy=remedy)


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code that an exception stands for; anything unknown is a bug (1)."""
    return error.exit_code if isinstance(error, FerrymanError) else ExitCode.BUG
