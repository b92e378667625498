"""The assets that tie a model's DAGs together; Airflow's asset graph shows its life by them."""

from airflow.sdk import Asset

from ferryman.spec.model import DeclaredModel


def data_asset(model: DeclaredModel) -> Asset:
    """A window of the model's data was published."""
    return _asset(model, "data")


def retrain_asset(model: DeclaredModel) -> Asset:
    """Monitoring asks for a new model."""
    return _asset(model, "retrain")


def candidate_asset(model: DeclaredModel) -> Asset:
    """A version was registered and waits for the gate."""
    return _asset(model, "candidate")


def champion_asset(model: DeclaredModel) -> Asset:
    """The served version changed, or was confirmed."""
    return _asset(model, "champion")


def scores_asset(model: DeclaredModel) -> Asset:
    """Rows were scored in batch; the event says where the scores are."""
    return _asset(model, "scores")


def _asset(model: DeclaredModel, what: str) -> Asset:
    return Asset(
        name=f"{model.name}.{what}", uri=f"ferryman://{model.name}/{what}", group="ferryman"
    )
