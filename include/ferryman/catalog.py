"""The catalog of declared models: every folder of the zoo, good or bad.

A wrong declaration is an entry with an error, never an exception: it takes away its own DAGs only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferryman.errors import SpecError
from ferryman.spec.loader import FILE_NAME, load_model
from ferryman.spec.mistakes import nearest
from ferryman.spec.model import DeclaredModel
from ferryman.spec.notify import NotifySpec


@dataclass(frozen=True)
class Catalog:
    """All models of one zoo: those that can be used, and why the others cannot."""

    models: Mapping[str, DeclaredModel]
    errors: Mapping[str, str]

    def get(self, name: str) -> DeclaredModel:
        """The declared model of that name; SpecError (exit 2) names the nearest one."""
        if name in self.models:
            return self.models[name]
        if name in self.errors:
            raise SpecError(self.errors[name], remedy="Correct the lines named above.")
        meant = nearest(name[:100], list(self.models))
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise SpecError(
            f"no model {name[:100]!r} is declared{hint}",
            remedy=f"Declared: {', '.join(self.models) or 'none'}.",
        )


def load_catalog(zoo: Path, *, only: str | None = None) -> Catalog:
    """Read every declaration of a zoo; `only` reads one folder (a task needs no other)."""
    models: dict[str, DeclaredModel] = {}
    errors: dict[str, str] = {}
    for folder in sorted(zoo.iterdir()) if zoo.is_dir() else []:
        if not (folder / FILE_NAME).is_file() or (only is not None and folder.name != only):
            continue
        try:
            models[folder.name] = load_model(folder)
        except SpecError as error:
            errors[folder.name] = error.text
        except Exception as error:  # noqa: BLE001 - one folder must never take down the others
            errors[folder.name] = f"{folder / FILE_NAME}:1: {type(error).__name__}: {error}"
    return Catalog(models=models, errors=errors)


def find_model(zoo: Path, name: str) -> DeclaredModel:
    """One declared model by name; SpecError (exit 2) when it is unknown or wrong."""
    catalog = load_catalog(zoo, only=name)
    if name in catalog.models or name in catalog.errors:
        return catalog.get(name)
    return load_catalog(zoo).get(name)


def notify_of(zoo: Path, name: str) -> NotifySpec:
    """Who is told of a model; the usual channel where there is no such model, or it is wrong."""
    found = load_catalog(zoo, only=name).models.get(name)
    return found.spec.notify if found is not None else NotifySpec()
