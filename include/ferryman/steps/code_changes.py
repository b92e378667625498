"""The commits between two versions of the code, by git, where the code is a checkout."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 5.0
_MOST = 200
_DIRTY = "-dirty"
_SHORT = 12
_MARK = "\x01"


@dataclass(frozen=True)
class Commit:
    """A commit: its id, its subject, who made it, and the files that it touched."""

    sha: str
    subject: str
    author: str
    files: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line for people."""
        return f"commit {self.sha[:_SHORT]} {self.subject[:80]!r} by {self.author[:40]}"


def commits_between(root: Path, then: str, now: str) -> list[Commit]:
    """The commits of `now` that `then` lacks, newest first, at most 200.

    Empty where either is no commit of the checkout at `root`, or where git is not there.
    """
    first, last = then.removesuffix(_DIRTY), now.removesuffix(_DIRTY)
    if not (_is_id(first) and _is_id(last)) or first == last:
        return []
    form = f"--format={_MARK}%H%n%an%n%s"
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "log", f"-{_MOST}", "--name-only", form, f"{first}..{last}"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    return [_read(part) for part in done.stdout.split(_MARK)[1:]]


def _is_id(text: str) -> bool:
    return len(text) >= _SHORT and all(letter in "0123456789abcdef" for letter in text)


def _read(text: str) -> Commit:
    sha, author, subject, *files = text.split("\n")
    return Commit(sha, subject, author, tuple(file for file in files if file))
