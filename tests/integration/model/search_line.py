"""`rain` with a search, and its steps."""

from training_line import Line

from ferryman.runtime.messages import StepResult
from ferryman.spec.loader import load_model
from ferryman.steps.journey import Journey

SEARCH = """\
search:
  method: random
  space:
    learning_rate: {min: 0.02, max: 0.5, log: true}
    max_iter: {min: 3, max: 12, integer: true}
  validation: 3d
  trials: 6
  workers: 1
"""


def searching(line: Line, text: str = SEARCH) -> Line:
    with line.model.file.open("a") as declaration:
        declaration.write(text)
    return Line(line.settings, load_model(line.model.folder))


def run(line: Line, *steps: str, run_id: str = "s1") -> dict[str, StepResult]:
    journey = Journey(line.settings, line.model)
    return {step: next(iter(journey.run(step, run_id=run_id))) for step in steps}
