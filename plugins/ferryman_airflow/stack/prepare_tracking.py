"""`python -m ferryman_airflow.stack.prepare_tracking`: makes MLflow's tables, first and alone.

Several processes that made them at once would break each other.
"""

from ferryman.registry.mlflow_connection import prepare
from ferryman.settings import load_settings

if __name__ == "__main__":
    prepare(load_settings().mlflow_uri)
