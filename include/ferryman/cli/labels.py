"""`ferryman labels`: the token of those who post labels, and posting a file of them."""

import csv
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ferryman.cli.options import ModelOption, out
from ferryman.errors import SpecError
from ferryman.settings import load_settings
from ferryman.spec.serving import MAIN

_BATCH = 5_000
_TRUTHS: Mapping[str, Any] = {"": None, "null": None, "true": True, "false": False}

app = typer.Typer(no_args_is_help=True)

ServerOption = Annotated[str, typer.Option(help="Name of a declared server.")]


@app.command()
def token(server: ServerOption = MAIN) -> None:
    """Make the token of those who post labels to a server, if there is none, and print it."""
    from ferryman.runtime.endpoints import endpoint_of
    from ferryman.runtime.label_token import make_label_token
    from ferryman.spec.servers import find_server

    settings = load_settings()
    declared = find_server(settings.zoo, server)
    if declared.place == "kubernetes" and not settings.predictions_connection:
        raise SpecError(
            f"pods of server {server!r} take no labels: their log ends with them",
            remedy="Let FERRYMAN_PREDICTIONS_CONNECTION lead to s3://BUCKET/PREFIX, and ask again.",
        )
    endpoint = endpoint_of(settings, server, declared)
    make_label_token(endpoint.root)
    sys.stdout.write(endpoint.label_token_file.read_text().strip() + "\n")


@app.command()
def post(
    model: ModelOption,
    file: Annotated[Path, typer.Argument(help="CSV: entity_key or request_id, label, ...")],
) -> None:
    """Post the labels of a CSV file to the server of a model; again is no harm.

    Columns: entity_key or request_id, label (empty takes it back), and event_time and known_at
    where they are known.
    """
    from ferryman.catalog import find_model
    from ferryman.serving.client import ServingClient
    from ferryman.steps.model_servers import endpoint_for

    settings = load_settings()
    spec = find_model(settings.zoo, model).spec
    sent = 0
    with ServingClient(endpoint_for(settings, spec)) as client:
        for batch in _batches(file, spec.train.task):
            sent += int(client.post_labels(model, batch)["accepted"])
    out.print(f"{sent} labels of {model} accepted", highlight=False)


def _batches(file: Path, task: str) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                told = {name: value for name, value in row.items() if value and name != "label"}
                batch.append({**told, "label": _label(row.get("label"), task)})
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{file} cannot be read: {error}") from error
    if batch:
        yield batch


def _label(text: str | None, task: str) -> Any:
    """As JSON has it; what is none of these is sent as it stands, for the server to refuse."""
    if text is None or text.lower() in ("", "null"):
        return None
    if task == "multiclass":
        return text
    if text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() else number
