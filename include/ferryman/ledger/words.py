"""The words that people and machines leave in the ledger: who acted, and why."""

import unicodedata
from typing import NamedTuple

from ferryman.errors import PolicyRefused, SpecError

LEAST_REASON, MOST_REASON = 10, 500  # characters
_MOST_ACTOR = 200
_MOST_MACHINE = 1000


class Act(NamedTuple):
    """Who did something, and why."""

    actor: str
    reason: str

    @classmethod
    def of_person(cls, actor: str, reason: str) -> "Act":
        """An act of somebody who gives a reason; SpecError (exit 2) without a name or a reason."""
        return cls(check_actor(actor), check_reason(reason))

    @classmethod
    def of_program(cls, actor: str, reason: str) -> "Act":
        """What a program does by itself; its text is made one line, never refused."""
        return cls(check_actor(actor), machine_reason(reason))


def check_reason(reason: str) -> str:
    """A reason that a person gave, without space around it.

    Raises SpecError (exit 2) unless it has 10 to 500 characters, none of them a control character.
    """
    text = reason.strip()
    if _controls(text):
        raise SpecError(
            "the reason has control characters", remedy="Write it in one line of plain text."
        )
    if not LEAST_REASON <= len(text) <= MOST_REASON:
        raise SpecError(
            f"the reason has {len(text)} characters, not {LEAST_REASON} to {MOST_REASON}",
            remedy="Say in a sentence why; it is kept for ever.",
        )
    return text


def machine_reason(reason: str) -> str:
    """What a program says of its act, in one line of at most 1000 characters.

    A text that came from elsewhere (a driver's error) must not keep a withdrawal from being noted.
    """
    text = "".join(" " if _control(character) else character for character in reason).strip()
    return text[:_MOST_MACHINE] or "no reason was given"


def check_actor(actor: str) -> str:
    """Who acts, as a name of 1 to 200 characters; SpecError (exit 2) otherwise."""
    text = actor.strip()
    if not text or len(text) > _MOST_ACTOR or _controls(text):
        raise SpecError(f"{actor[:40]!r} names nobody", remedy="Say who acts.")
    return text


def check_other_person(approver: str, *asked: str) -> None:
    """Raise PolicyRefused (exit 9) where the approver is one of those who asked."""
    if _same(approver) in {_same(name) for name in asked}:
        raise PolicyRefused(
            f"{approver} asked for this release and may not approve it",
            remedy="Somebody else who is named in rollout.approval.approvers answers.",
        )


def _same(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _controls(text: str) -> bool:
    return any(_control(character) for character in text)


def _control(character: str) -> bool:
    # Cc: controls, Cf: unseen marks that turn or hide text, Zl and Zp: line separators, Cs: halves.
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
