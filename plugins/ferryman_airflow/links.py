"""Links from a task's page in Airflow to our own pages."""

from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

from ferryman.runtime.run_store import DOCS_INDEX, data_docs_folder, run_folder
from ferryman.settings import load_settings
from ferryman_airflow.ui import PREFIX


class DataDocsLink(BaseOperatorLink):  # type: ignore[misc] # Airflow is untyped here
    """From a validate task to the Data Docs of its run, whether its expectations were met or not.

    Airflow asks for it at the end of the task, in its process, and keeps the answer.
    """

    name = "Data Docs"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address, or nothing where the task wrote none."""
        model = operator.declared.name
        folder = run_folder(load_settings().runs_root, model, "ingest", ti_key.run_id)
        if not (data_docs_folder(folder) / DOCS_INDEX).is_file():
            return ""
        return data_docs_address(model, folder)


def data_docs_address(model: str, run: Path) -> str:
    """Where the Models page serves the Data Docs of a run's folder."""
    base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
    return f"{base}{PREFIX}/models/{model}/data_docs/{run.name}/{DOCS_INDEX}"
