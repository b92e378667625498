"""The chain of lineage: from a model version down to the files it came from, and back up.

    prediction -> model version -> run -> code commit -> dataset versions -> windows -> sources
    window or dataset version -> dataset versions that hold it -> runs -> model versions -> served

From a served prediction: every answer of the server, and every row of the prediction log, names its
model, version and epoch; ask for that version (`ferryman lineage flights/3`), and find its epoch
among the releases.
"""

import re
from collections.abc import Iterable

from ferryman.errors import SpecError
from ferryman.ledger.ledger import Ledger
from ferryman.lineage.data_trace import DATASET, DataTrace
from ferryman.lineage.link import Link, missing
from ferryman.lineage.model_trace import ModelTrace, code_link
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.runtime.data_store import open_own_data_store
from ferryman.settings import Settings

_VERSION = re.compile(r"([a-z][a-z0-9_]*)(?:/([0-9]{1,9})|@([A-Za-z0-9_-]{1,100}))")
_NUMBER = re.compile(r"[0-9]{1,6}")
_DATA = re.compile(r"[0-9a-f]{4,64}")


class Tracing:
    """Follows lineage in one installation, whatever parts of it can be reached."""

    def __init__(self, settings: Settings) -> None:
        self._data = DataTrace(open_own_data_store(settings))
        self._models = ModelTrace(
            MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts),
            MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts),
            Ledger(settings.ledger_url),
            settings.runs_root,
        )

    def trace(self, what: str, models: Iterable[str], model: str | None = None) -> Link:
        """The chain of `flights/3`, `flights@champion`, `3` (of the given model) or a data id.

        `models` are those whose data is searched for an id; its unique beginning will do. Raises
        SpecError (exit 2) where it names nothing, DependencyUnavailable (exit 6) where nobody who
        could know it can be asked.
        """
        named = named_version(what, model)
        if named is not None:
            return self.of_version(named[0], self._models.number(*named))
        if _DATA.fullmatch(what):
            return self.of_data(*self._data.find([model] if model else models, what))
        raise SpecError(
            f"{what[:80]!r} is neither a model version nor the id of data",
            remedy="Write flights/3, flights@champion, or the beginning of a snapshot's or a "
            "dataset's id.",
        )

    def of_version(self, model: str, number: int) -> Link:
        """From a model version down to its sources."""
        facts, gaps = self._models.facts_of(model, number)
        top = self._models.version(model, number, facts, "")
        runs = self._models.run(model, facts)
        told = dict(facts)
        for run in runs:
            told.setdefault("spec_digest", str(run.facts.get("spec_digest", "")))
        datasets = [
            self._data.dataset(model, facts[name], relation)
            if name in facts
            else missing(f"the version does not say what it was {relation}")
            for name, relation in (("train_dataset", "trained on"), ("eval_dataset", "judged on"))
        ]
        links = (*top.links, *gaps, *runs, code_link(told), *datasets)
        return Link(top.kind, top.name, "", top.facts, links)

    def of_data(self, model: str, kind: str, name: str) -> Link:
        """A data version: what it was made from, and everything that came of it."""
        if kind == DATASET:
            top = self._data.dataset(model, name)
            came = self._models.runs_on(model, [name])
        else:
            top = self._data.window(model, name)
            came = []
            for version in self._data.datasets_with(model, name):
                below = self._data.dataset(model, version.id, "part of")
                runs = tuple(self._models.runs_on(model, [version.id]))
                came.append(Link(below.kind, below.name, below.relation, below.facts, runs))
        unused = [] if came else [Link("use", "nothing was trained or judged on it")]
        return Link(top.kind, top.name, f"of {model}", top.facts, (*top.links, *came, *unused))


def named_version(what: str, model: str | None) -> tuple[str, str] | None:
    """The model, and the number or alias, of `flights/3`, `flights@champion` or `3`.

    None where it is no version but may be data; SpecError (exit 2) where it is a version of another
    model than the given one.
    """
    named = _VERSION.fullmatch(what)
    if named:
        if model not in (None, named[1]):
            raise SpecError(f"{what!r} is a version of {named[1]!r}, not of {model!r}")
        return named[1], named[2] or named[3]
    if model is not None and (_NUMBER.fullmatch(what) or not _DATA.fullmatch(what)):
        return model, what
    return None
