"""Links from a task's page in Airflow to our own pages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

from ferryman.ledger.records import Op
from ferryman.runtime.run_store import (
    CARD_PAGE,
    DOCS_INDEX,
    REPORT_PAGE,
    data_docs_folder,
    report_folder,
    run_folder,
    run_results,
)
from ferryman.settings import load_settings
from ferryman.steps.pipelines import PIPELINES
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


class MlflowRunLink(BaseOperatorLink):  # type: ignore[misc] # Airflow is untyped here
    """From a task of a training to the page of its run in MLflow, which links back to the task."""

    name = "MLflow run"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address, or nothing before `train` is done and where no MLflow shows pages."""
        settings = load_settings()
        folder = run_folder(settings.runs_root, operator.declared.name, "training", ti_key.run_id)
        trained = run_results(folder).get("train")
        return (
            "" if trained is None else settings.mlflow_page(str(trained.outputs["mlflow_run_id"]))
        )


class ReportLink(BaseOperatorLink):  # type: ignore[misc] # Airflow is untyped here
    """From the task `report` to the page that it wrote, which the Models page serves."""

    name = "Report"
    page = REPORT_PAGE

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address, or nothing where the task wrote none."""
        model = operator.declared.name
        folder = run_folder(load_settings().runs_root, model, "training", ti_key.run_id)
        if not (report_folder(folder) / self.page).is_file():
            return ""
        return f"{_page_of(model)}/reports/{folder.name}/{self.page}"


class CardLink(ReportLink):
    """From the task `report` to the model's card."""

    name = "Model card"
    page = CARD_PAGE


_OF_STEP: Mapping[str, tuple[BaseOperatorLink, ...]] = {
    "validate": (DataDocsLink(),),
    **dict.fromkeys(PIPELINES["training"].steps, (MlflowRunLink(),)),
    "report": (ReportLink(), CardLink(), MlflowRunLink()),
}


def links_of(step: str) -> tuple[BaseOperatorLink, ...]:
    """The links that the tasks of a step show."""
    return _OF_STEP.get(step, ())


def task_page(task_instance: Any) -> str:
    """The address of a task's page, whichever try it is."""
    return str(task_instance.log_url).partition("?")[0]


def data_docs_address(model: str, run: Path) -> str:
    """Where the Models page serves the Data Docs of a run's folder."""
    return f"{_page_of(model)}/data_docs/{run.name}/{DOCS_INDEX}"


def release_pages(model: str, training_run: str, op: Op) -> list[str]:
    """Links in Markdown from a proposal: the training's report, its run in MLflow, the model."""
    settings = load_settings()
    found = {"The model": _page_of(model)}
    folder = settings.runs_root / model / "training" / training_run
    if training_run and (report_folder(folder) / REPORT_PAGE).is_file():
        address = f"{_page_of(model)}/reports/{quote(training_run)}"
        found["Report of the training"] = f"{address}/{REPORT_PAGE}"
        found["Model card"] = f"{address}/{CARD_PAGE}"
    tracked = op.candidate.mlflow_run_id
    page = settings.mlflow_page(quote(tracked, safe="")) if tracked else ""
    if page:
        found["Run in MLflow"] = page
    return [f"[{name}]({address})" for name, address in found.items()]


def _page_of(model: str) -> str:
    """The address of a model's page."""
    base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
    return f"{base}{PREFIX}/models/{model}"
