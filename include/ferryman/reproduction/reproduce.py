"""Trains a registered model version again, and says whether the same model comes out.

What is compared, in this order: the registry's entry and bundle, the recipe, the data by id, the
model's folder, the project's commit, packages, lock, parameters, seed, cores; then the answers of
the registered and of the new model for the rows of the evaluation data. What differs in the
surroundings is named, and does not matter where the answers agree; without bundle, recipe, data and
code there is nothing to train. Nothing is registered, tracked or told to the ledger.
"""

import logging
import tempfile
from pathlib import Path

import numpy as np

from ferryman.catalog import load_catalog
from ferryman.data.versions.dataset import DatasetStore
from ferryman.errors import SpecError
from ferryman.ledger.ledger import Ledger
from ferryman.lineage.model_trace import ModelTrace
from ferryman.lineage.tracing import named_version
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.registry.registry import TRAINING_RUN_TAG, RegisteredVersion
from ferryman.reproduction.findings import CannotReproduce, Comparison, Finding, Reproduction
from ferryman.reproduction.recorded import check_data, fetch_bundle, fetch_recipe, restore_code
from ferryman.reproduction.surroundings import (
    compare_commit,
    compare_cores,
    compare_declaration,
    compare_lock,
    compare_packages,
)
from ferryman.runtime.data_store import open_own_data_store
from ferryman.runtime.files import SCRATCH, file_digest
from ferryman.runtime.timings import Stopwatch
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.training_record import ENVIRONMENT
from ferryman.training.recipe import Recipe
from ferryman.training.trainer import FitPlan, Predictions
from ferryman.training.trainers import MODEL_FILES, load_model_file, make_trainer

TOLERANCE = 1e-6

logger = logging.getLogger(__name__)


class Reproducer:
    """Reproduces the versions of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._objects = open_own_data_store(settings)
        self._registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
        self._tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts)
        self._ledger = Ledger(settings.ledger_url)

    def reproduce(self, what: str, model: str | None = None) -> Reproduction:
        """Reproduce `flights/3`, `flights@champion`, or `3` of the given model.

        SpecError (exit 2) where there is no such version, DependencyUnavailable (exit 6) where the
        registry is away; all that stands in the way of reproducing it is part of the answer.
        """
        version = self._version(what, model)
        findings: list[Finding] = []
        with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
            try:
                return self._reproduce(version, Path(scratch), findings)
            except CannotReproduce as error:
                findings.append(error.finding)
                name, number = version.model, version.version
                return Reproduction(name, number, findings, remedy=error.remedy)

    def _version(self, what: str, model: str | None) -> RegisteredVersion:
        named = named_version(what, model)
        if named is None:
            raise SpecError(
                f"{what[:80]!r} is no model version", remedy="Write flights/3 or flights@champion."
            )
        trace = ModelTrace(self._registry, self._tracker, self._ledger, self._settings.runs_root)
        number = trace.number(*named)
        found = self._registry.get_version(named[0], number)
        if found is None:
            raise SpecError(
                f"{named[0]!r} has no version {number}",
                remedy=f"`ferryman ledger show --model {named[0]}` shows what was released.",
            )
        return found

    def _reproduce(
        self, version: RegisteredVersion, scratch: Path, findings: list[Finding]
    ) -> Reproduction:
        settings, bundle = self._settings, scratch / "bundle"
        findings.append(fetch_bundle(self._registry, self._ledger, version, bundle))
        recipe = fetch_recipe(self._tracker, version, scratch / "record")
        findings += check_data(self._objects, recipe)
        catalog = load_catalog(settings.zoo, only=version.model)
        declared = catalog.models.get(version.model)
        model, finding = restore_code(
            self._tracker, version, recipe, declared, scratch / "restored"
        )
        findings += [finding, compare_commit(recipe, settings)]
        environment = scratch / "environment"
        environment.mkdir()
        self._tracker.fetch(version.tags[TRAINING_RUN_TAG], ENVIRONMENT, environment)
        findings += [compare_packages(environment), compare_lock(recipe, settings)]
        findings += [*compare_declaration(recipe, declared), compare_cores(recipe, settings)]
        return self._train_again(version, recipe, model, bundle, findings)

    def _train_again(
        self,
        version: RegisteredVersion,
        recipe: Recipe,
        model: DeclaredModel,
        bundle: Path,
        findings: list[Finding],
    ) -> Reproduction:
        datasets = DatasetStore(self._objects)
        cores = min(recipe.cores, self._settings.core_count)
        train = datasets.load(recipe.train_dataset, recipe.model)
        plan = FitPlan(recipe.pipeline, recipe.params, recipe.seed)
        logger.info("training %s/%d again on %d rows", version.model, version.version, len(train))
        watch = Stopwatch()
        fitted = make_trainer(model.spec, cores=cores).fit(train, model, plan)
        seconds = watch.read().seconds
        kept = bundle / MODEL_FILES[model.spec.train.framework]
        again = bundle.parent / kept.name
        fitted.save(again)
        rows = datasets.load(recipe.eval_dataset, recipe.model)
        names = (rows["entity_key"] + " at " + rows["event_time"].astype(str)).tolist()
        recorded = load_model_file(kept, model.spec, cores=cores).predict(rows)
        comparison = compare_answers(recorded, fitted.predict(rows), names)
        findings.append(Finding("predictions", comparison.equal, _told(comparison)))
        return Reproduction(
            version.model,
            version.version,
            findings,
            comparison,
            seconds,
            file_digest(kept) == file_digest(again),
        )


def compare_answers(
    recorded: Predictions, found: Predictions, names: list[str], tolerance: float = TOLERANCE
) -> Comparison:
    """How two models' answers for the same rows differ; `names` say which rows they are.

    A difference is absolute up to a recorded answer of 1, and in parts of it above; an answer that
    is no number equals another one only.
    """
    scale = np.maximum(1.0, np.abs(np.nan_to_num(recorded, posinf=1.0, neginf=1.0)))
    with np.errstate(invalid="ignore"):  # of two infinities
        difference = np.abs(found - recorded) / scale
    both = (np.isnan(found) & np.isnan(recorded)) | (found == recorded)
    difference = np.where(both, 0.0, np.where(np.isnan(difference), np.inf, difference))
    table = np.atleast_2d(difference.T).T  # one column a class, or one
    largest = float(table.max(initial=0.0))
    if largest <= tolerance:
        return Comparison(len(names), largest, tolerance)
    row = int(np.argmax((table > tolerance).any(axis=1)))
    column = int(np.argmax(table[row] > tolerance))
    values = (np.atleast_2d(answers.T).T[row, column] for answers in (recorded, found))
    return Comparison(
        len(names), largest, tolerance, f"row {row} ({names[row]})", *map(float, values)
    )


def _told(comparison: Comparison) -> str:
    text = f"{comparison.rows} rows within {comparison.max_difference:.1e}"
    if comparison.equal:
        return text
    return (
        f"{comparison.first_row}: {comparison.recorded!r} then, {comparison.found!r} now; the "
        f"largest difference of {comparison.rows} rows is {comparison.max_difference:.1e}, "
        f"{comparison.tolerance:.0e} is allowed"
    )
