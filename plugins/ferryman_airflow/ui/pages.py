"""The routes of the Models page: every one asks for a token, none writes anything.

Its one button, "Roll back", speaks to Airflow's own API, as the user.

Data Docs and reports hold values of rows: they are served from a run's own folder and nowhere else,
with a policy under which no script runs and nothing is loaded from another host.
"""

import re
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, FileSystemLoader, select_autoescape

from ferryman.catalog import Catalog, load_catalog
from ferryman.runtime.files import resolve_inside
from ferryman.runtime.run_store import CARD_PAGE, REPORT_PAGE, data_docs_folder, report_folder
from ferryman.settings import Settings, load_settings
from ferryman.steps.pipelines import PIPELINES
from ferryman_airflow.params import RUN_PARAMS
from ferryman_airflow.ui.access import current_user, may_start, readable_models
from ferryman_airflow.ui.cost_facts import DAYS, cost_facts
from ferryman_airflow.ui.model_facts import facts_of, newest_window
from ferryman_airflow.ui.monitoring_facts import monitoring_facts
from ferryman_airflow.ui.release_facts import release_facts

_TEMPLATES = Path(__file__).with_name("templates")
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_HEADERS = {
    "Content-Security-Policy": f"{_POLICY}; style-src 'unsafe-inline'; img-src 'self' data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGE_HEADERS = {
    **_HEADERS,
    "Content-Security-Policy": (
        f"{_POLICY}; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'"
    ),
}
_METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
    ".gif": "image/gif",
}

User = Annotated[Any, Depends(current_user)]


def build_app(settings: Settings | None = None) -> FastAPI:
    """The application; it is mounted below PREFIX and has no documentation pages of its own."""
    used = settings or load_settings()
    app = FastAPI(
        dependencies=[Depends(current_user)], docs_url=None, redoc_url=None, openapi_url=None
    )
    show = partial(_render, _environment())
    get = partial(app.get, response_class=HTMLResponse)

    @get("/")
    @get("/models")
    def models(user: User) -> HTMLResponse:
        catalog = load_catalog(used.zoo)
        names = readable_models(user, [*catalog.models, *catalog.errors])
        found = {name: newest_window(used, name) for name in names if name in catalog.models}
        errors = {name: catalog.errors[name] for name in names if name in catalog.errors}
        return show("models.html", catalog=catalog, found=found, errors=errors)

    @get("/models/{name}")
    def model(name: str, user: User) -> HTMLResponse:
        declared = _declared(used, user, name).models[name]
        dags = [f"{name}.{pipeline}" for pipeline in PIPELINES]
        facts, release = facts_of(used, declared), release_facts(used, name)
        return show(
            "model.html",
            model=declared,
            facts=facts,
            release=release,
            dags=dags,
            may_roll_back=may_start(user, f"{name}.rollback"),
            reasons=RUN_PARAMS["reason"].pattern,
        )

    @get("/models/{name}/monitoring")
    def monitoring(name: str, user: User) -> HTMLResponse:
        _declared(used, user, name)
        return show("monitoring.html", name=name, facts=monitoring_facts(used, name))

    @get("/models/{name}/costs")
    def costs(name: str, user: User) -> HTMLResponse:
        spec = _declared(used, user, name).models[name].spec
        return show("costs.html", name=name, facts=cost_facts(used, spec), days=DAYS)

    @app.get("/models/{name}/data_docs/{run}/{file:path}")
    def data_docs(name: str, run: str, file: str, user: User) -> FileResponse:
        _declared(used, user, name)
        folder = data_docs_folder(_run(used.runs_root, name, "ingest", run))
        path = _file(folder, file)
        return FileResponse(path, media_type=_TYPES[path.suffix], headers=_HEADERS)

    @app.get("/models/{name}/reports/{run}/{file}")
    def report(name: str, run: str, file: str, user: User) -> FileResponse:
        _declared(used, user, name)
        folder = report_folder(_run(used.runs_root, name, "training", run))
        if file not in (REPORT_PAGE, CARD_PAGE):
            raise _missing()
        return FileResponse(_file(folder, file), media_type=_TYPES[".html"], headers=_HEADERS)

    @app.get("/frame.js")
    def frame() -> FileResponse:
        return FileResponse(_TEMPLATES / "frame.js", media_type=_TYPES[".js"], headers=_HEADERS)

    @app.api_route("/{path:path}", methods=_METHODS)  # who has no token is told that alone
    def nothing_else(path: str) -> Response:  # noqa: ARG001 - the route has it
        raise HTTPException(404, "There is no such page.")

    return app


def _declared(settings: Settings, user: Any, name: str) -> Catalog:
    """The catalog that holds a model; 404 for what the user may not see, as if it were not."""
    catalog = load_catalog(settings.zoo, only=name)
    if name not in catalog.models or not readable_models(user, [name]):
        raise HTTPException(404, "There is no such model.")
    return catalog


def _missing() -> HTTPException:
    return HTTPException(404, "There is no such file.")


def _run(runs: Path, model: str, pipeline: str, run: str) -> Path:
    """The folder of a run; 404 where the name is that of none."""
    if not re.fullmatch(RUN_PARAMS["run"].pattern, run, re.ASCII) or set(run) <= {"."}:
        raise _missing()
    return runs.resolve() / model / pipeline / run


def _file(folder: Path, file: str) -> Path:
    """A file of a run's pages; 404 where the name or a link leads anywhere else."""
    try:
        path = resolve_inside(folder, file)
    except ValueError as error:
        raise _missing() from error
    through_link = folder.resolve() != folder
    if through_link or path.suffix not in _TYPES or not path.is_file():
        raise _missing()
    return path


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=select_autoescape(), trim_blocks=True
    )
    made.filters["moment"] = _moment
    return made


def _moment(text: str) -> str:
    """A recorded time as the tables show times; what is none stays as it is."""
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"
    except ValueError:
        return text


def _render(environment: Environment, template: str, **values: Any) -> HTMLResponse:
    return HTMLResponse(environment.get_template(template).render(values), headers=_PAGE_HEADERS)
