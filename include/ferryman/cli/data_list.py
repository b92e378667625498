"""`ferryman data list`: versions of data, found by what the catalogue says of them."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from ferryman.catalog import find_model, load_catalog
from ferryman.cli.options import out
from ferryman.runtime.data_store import open_own_data_store
from ferryman.settings import Settings, load_settings

if TYPE_CHECKING:
    from ferryman.data.versions.catalogue_search import FoundEntry
    from ferryman.runtime.object_store import ObjectStore

_ID = 16  # characters of an id that are shown


def data_list(
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="One model; default: all.")
    ] = None,
    kind: Annotated[
        Literal["windows", "datasets"] | None, typer.Option(help="One kind only; default: both.")
    ] = None,
    text: Annotated[
        str, typer.Option("--search", help="Only where this stands: id, source, query, why, ...")
    ] = "",
    column: Annotated[str, typer.Option(help="Only versions with this column.")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Superseded and unpublished snapshots too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All facts, as JSON.")] = False,
) -> None:
    """Published windows, dataset versions and pins; nothing is opened but the catalogue."""
    from ferryman.data.versions.catalogue_search import KINDS, Wanted, search

    settings = load_settings()
    objects, models = open_own_data_store(settings), _models(settings, model)
    wanted = Wanted((kind,) if kind else KINDS, text, column, everything)
    found = list(search(objects, models, wanted))
    if model is not None and not found:
        find_model(settings.zoo, model)  # a misspelt name is told, not shown as nothing
    if as_json:
        sys.stdout.write(json.dumps([entry.as_json() for entry in found], indent=1) + "\n")
        return
    windows = [entry for entry in found if entry.kind == "windows"]
    datasets = [entry for entry in found if entry.kind == "datasets"]
    if windows or (kind != "datasets" and not found):
        out.print(_windows_table(windows, named=model is None, states=everything))
    if datasets:
        out.print(_datasets_table(datasets, named=model is None))
    for name in models:
        _print_pins(objects, name)


def _models(settings: Settings, model: str | None) -> list[str]:
    if model is not None:
        return [model]  # its data may outlive its declaration
    catalog = load_catalog(settings.zoo)
    return sorted([*catalog.models, *catalog.errors])


def _windows_table(found: "list[FoundEntry]", *, named: bool, states: bool) -> Table:
    table = Table(*(["model"] if named else []), "window", "snapshot", "rows", "labels", "why")
    for name in ("what changed", "pins", *(["state"] if states else [])):
        table.add_column(name)
    for entry in found:
        cells = [entry.model] if named else []
        cells += [entry.what, entry.id[:_ID], str(entry.rows), str(entry.labels)]
        cells += [escape(entry.reason), escape(entry.change), ", ".join(entry.pins)]
        table.add_row(*cells, *([entry.state] if states else []))
    return table


def _datasets_table(found: "list[FoundEntry]", *, named: bool) -> Table:
    table = Table(*(["model"] if named else []), "dataset", "id", "rows", "label", "why", "who")
    table.add_column("pins")
    for entry in found:
        cells = [entry.model] if named else []
        cells += [entry.what, entry.id[:_ID], str(entry.rows), escape(entry.label)]
        table.add_row(*cells, escape(entry.reason), escape(entry.actor), ", ".join(entry.pins))
    return table


def _print_pins(objects: "ObjectStore", model: str) -> None:
    from ferryman.data.versions.pins import Pins

    pins = Pins(objects).all(model)
    if not pins:
        return
    table = Table("pin", "version", "hold", "why", "who", "since", title=f"pins of {model}")
    for pin in pins:
        version = (pin.version or "")[:_ID]
        hold = "legal hold" if pin.hold else ""
        table.add_row(
            pin.name, version, hold, escape(pin.reason), escape(pin.actor), f"{pin.at:%Y-%m-%d}"
        )
    out.print(table)
