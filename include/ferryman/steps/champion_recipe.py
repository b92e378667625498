"""Finds what the champion was made of: the recipe of the training run that made it."""

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head
from ferryman.steps.contract import StepContext
from ferryman.steps.same_training import finished_trainings
from ferryman.training.recipe import RECIPE, Recipe, read_recipe


def champion_recipe(context: StepContext, head: Head) -> Recipe | None:
    """The recipe by the champion's run key; None where its training run is not kept any more."""
    history = Ledger(context.settings.ledger_url).history(context.model.name)
    key = next(
        (op.candidate.run_key for op in reversed(history) if op.candidate.digest == head.digest),
        None,
    )
    runs = context.settings.runs_root / context.model.name / "training"
    for file, result in finished_trainings(runs) if key is not None else ():
        recipe = file.with_name(RECIPE)
        if result.outputs.get("run_key") == key and recipe.is_file():
            return read_recipe(recipe.read_bytes(), str(recipe))
    return None
