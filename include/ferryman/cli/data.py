"""`ferryman data`: the versions of data."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ferryman.cli.data_diff import data_diff
from ferryman.cli.data_list import data_list
from ferryman.cli.options import ModelOption, out
from ferryman.errors import ExitCode, SpecError
from ferryman.runtime.data_store import open_own_data_store
from ferryman.settings import load_settings

if TYPE_CHECKING:
    from ferryman.runtime.object_store import ObjectStore

app = typer.Typer(no_args_is_help=True, help="Versions of data.")
app.command("list")(data_list)
app.command("diff")(data_diff)

VersionArgument = Annotated[
    str, typer.Argument(help="A pin's name, or a unique beginning of a version's id.")
]


@app.command("show")
def data_show(model: ModelOption, version: VersionArgument) -> None:
    """All that is known of a version, without opening its data."""
    from ferryman.data.versions.dataset_catalogue import DatasetCatalogue
    from ferryman.data.versions.listing import find_version, show_pins, show_snapshot

    objects = _objects()
    found = find_version(objects, model, version)
    if found.kind == "snapshot":
        out.print_json(data=show_snapshot(objects, model, found.id))
        return
    told = DatasetCatalogue(objects).show(model, found.id)
    out.print_json(data={**(told or {}), "pins": show_pins(objects, model, found.id)})


@app.command("pin")
def data_pin(
    model: ModelOption,
    name: Annotated[str, typer.Argument(help="The pin's name, such as audit-2026.")],
    version: Annotated[str | None, typer.Argument(help="What it shall stand for.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it is recorded with your name.")] = "",
    hold: Annotated[bool, typer.Option("--hold", help="Make it a legal hold.")] = False,
    release: Annotated[bool, typer.Option("--release", help="End the pin or the hold.")] = False,
) -> None:
    """Give a version a name that keeps it from being removed, or end that."""
    from ferryman.data.versions.listing import find_version
    from ferryman.data.versions.pins import Pins

    objects, actor = _objects(), load_settings().actor
    if release == (version is not None):
        raise SpecError("give a version, or --release", remedy="One of both, not both.")
    if version is None:
        Pins(objects).release(model, name, reason=reason, actor=actor)
        out.print(f"{name} is released")
        return
    found = find_version(objects, model, version)
    pin = Pins(objects).pin(model, name, found.id, reason=reason, actor=actor, hold=hold)
    how = "is a legal hold on" if pin.hold else "stands for"
    out.print(f"{name} {how} {found.kind} {found.id}", highlight=False)


@app.command("verify")
def data_verify(
    model: ModelOption,
    version: Annotated[str | None, typer.Argument(help="Only this one, by pin or id.")] = None,
) -> None:
    """Read everything through, byte for byte; exit 7 names file, expected and got."""
    from ferryman.data.versions.listing import find_version
    from ferryman.data.versions.verification import verify_model, verify_version

    objects = _objects()
    if version is None:
        done = verify_model(objects, model)
    else:
        done = verify_version(objects, model, find_version(objects, model, version))
    for text in done.texts:
        sys.stderr.write(text + "\n")
    if done.broken:
        sys.stderr.write(f"{done.broken} differences\n")
        raise typer.Exit(int(ExitCode.INTEGRITY))
    out.print(
        f"{done.snapshots} snapshots ({done.size} bytes) and {done.datasets} dataset versions "
        "are as they were written",
        highlight=False,
    )


def _objects() -> "ObjectStore":
    return open_own_data_store(load_settings())
