"""`ferryman expectations`: what every window of data must look like."""

from pathlib import Path
from typing import Annotated

import typer

from ferryman.cli.options import ModelOption, out
from ferryman.errors import DataRejected, SpecError
from ferryman.runtime.data_store import open_own_data_store
from ferryman.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="What every window of data must look like.")


@app.callback()
def expectations() -> None:
    """What every window of data must look like."""


@app.command("suggest")
def suggest(
    model: ModelOption,
    windows: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many of the newest windows to look at.")
    ] = 28,
    write: Annotated[
        Path | None, typer.Option(help="A new file to write to; it must not be there yet.")
    ] = None,
) -> None:
    """Suggest a first expectations.yaml from published windows' profiles, to be edited."""
    from ferryman.data.validation.suggestion import suggest_expectations
    from ferryman.data.versions.profiled_versions import read_entry_profile
    from ferryman.data.versions.snapshots import SnapshotStore

    published = SnapshotStore(open_own_data_store(load_settings())).published(model)[-windows:]
    found = [one.entry for one in published if one.entry.rows]
    if not found:
        raise DataRejected(
            f"no published window of {model!r} has rows to learn from",
            remedy="Ingest some days first: ferryman run ingest --model NAME --window FIRST..LAST.",
        )
    profiles = [read_entry_profile(entry.id, entry.profile) for entry in found]
    text = suggest_expectations(model, [entry.rows for entry in found], profiles)
    if write is None:
        out.print(text, markup=False, highlight=False, end="")
        return
    try:
        with write.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SpecError(
            f"{write} is there already, and is never overwritten",
            remedy="Name another file, and compare the two.",
        ) from None
    except OSError as error:
        raise SpecError(
            f"{write} cannot be written: {error.strerror}",
            remedy="Name a file in a folder of yours.",
        ) from error
    out.print(
        f"wrote {write}, from {len(found)} windows; edit it, then name it in model.yaml: "
        "expectations: FILE",
        highlight=False,
    )
