"""All that decides what a training gives, as it is kept with its run: enough to do it again."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ferryman.errors import IntegrityBroken
from ferryman.spec.training import ParamValue
from ferryman.training.run_keys import run_key

RECIPE = "recipe.json"


class Recipe(BaseModel):
    """What went into a training; `run_key` names it, `code_version` and `lock` surround it.

    Frozen, closed to unknown keys. `params` are those that the pipeline was given, `trial` is what
    the search says of them, where there was one. `code_digest` is the sha256 of the model's folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    model: str
    train_dataset: str
    eval_dataset: str
    code_digest: str
    code_version: str = Field(description="Commit of the project, or unknown.")
    pipeline: str
    params: dict[str, ParamValue]
    seed: int
    cores: int = Field(ge=1, description="Cores that the fit might use.")
    leakage_accepted: bool = False
    lock: str = Field(default="", description="sha256 of the project's requirements.txt.")
    trial: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def run_key(self) -> str:
        """The key of the training; see run_keys."""
        return run_key(
            [self.train_dataset, self.eval_dataset],
            self.code_digest,
            self.params,
            self.seed,
            leakage_accepted=self.leakage_accepted,
        )


def read_recipe(content: bytes, place: str) -> Recipe:
    """A kept recipe; IntegrityBroken (exit 7) where it cannot be read."""
    try:
        return Recipe.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityBroken(f"{place}: not a recipe: {str(error)[:300]}") from error
