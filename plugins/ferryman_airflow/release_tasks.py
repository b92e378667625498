"""The tasks of a release that the declaration may ask for: a person's answer."""

from ferryman.spec.model import DeclaredModel
from ferryman_airflow.operators import InlineStep


def approval(model: DeclaredModel) -> tuple[InlineStep, ...]:
    """The tasks that put a release before a person; none where the declaration asks nobody."""
    if model.spec.rollout.approval is None:
        return ()
    from ferryman_airflow.approval import approval_tasks  # its parents are dear to import

    return approval_tasks(model)
