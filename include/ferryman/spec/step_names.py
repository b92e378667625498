"""The names of all steps: what a run is made of, and what a declaration may speak of."""

from typing import Literal, get_args

StepOfDags = Literal[
    "ingest",
    "validate",
    "open_search",
    "tune",
    "train",
    "evaluate",
    "package",
    "register",
    "report",
    "gate",
    "stage",
    "propose",
    "approve",
    "expose",
    "commit",
    "reconcile",
    "score",
    "batch_score",
    "join_labels",
    "monitor",
    "decide_retrain",
    "verdict",
    "maintenance",
    "roll_back",
    "drill",
]
# `adopt` is of the command line alone: a person decides, and no DAG stands for it.
STEP_NAMES: tuple[str, ...] = (*get_args(StepOfDags), "adopt")
