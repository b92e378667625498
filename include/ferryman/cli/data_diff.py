"""`ferryman data diff`: what changed between two versions of data, column by column."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ferryman.cli.options import ModelOption, out
from ferryman.runtime.data_store import open_own_data_store
from ferryman.settings import load_settings

if TYPE_CHECKING:
    from ferryman.data.versions.column_change import ColumnChange


def data_diff(
    before: Annotated[str, typer.Argument(help="A pin's name, or a beginning of an id.")],
    after: Annotated[str, typer.Argument(help="The version to compare with it.")],
    model: ModelOption,
    alpha: Annotated[
        float, typer.Option(min=1e-9, max=0.5, help="False-alarm rate over all columns.")
    ] = 0.01,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compare two versions column by column, from their profiles alone."""
    import json

    from ferryman.data.versions.diff import diff_versions
    from ferryman.data.versions.profiled_versions import profiled_version

    objects = open_own_data_store(load_settings())
    first, second = (profiled_version(objects, model, name) for name in (before, after))
    diff = diff_versions(first, second, alpha=alpha)
    if as_json:
        sys.stdout.write(json.dumps(diff.as_json(), allow_nan=False) + "\n")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("column", "verdict", "effect", "p", "shift, sd", "nulls"):
        table.add_column(title, no_wrap=True)
    for one in diff.columns:
        style = "bold" if one.verdict in ("changed", "new", "gone") else None
        table.add_row(*_cells(one), style=style)
    out.print(table)
    for one in diff.columns:
        for what, found in (("appeared", one.appeared), ("vanished", one.vanished)):
            if found:
                names = ", ".join(f"{name[:40]} ({rows})" for name, rows in found.items())
                out.print(f"{one.column}: {what}: {names}", markup=False, highlight=False)
    out.print(
        f"{diff.verdict}: {len(diff.changed)} of {len(diff.columns)} columns changed; rows "
        f"{diff.rows[0]} -> {diff.rows[1]}, windows {diff.windows[0]} -> {diff.windows[1]}\n"
        f"A column changed if more than {diff.least_effect:.0%} of the rows would have to change "
        f"to undo it, beyond chance at {alpha:g} over all columns; {diff.basis}.",
        highlight=False,
    )


def _cells(one: "ColumnChange") -> list[str]:
    return [
        escape(one.column),
        one.verdict,
        _number(one.effect, ".3f"),
        _number(one.p_value, ".1e"),
        _number(one.shift, "+.2f"),
        "" if one.nulls is None else f"{one.nulls[0]:.1%} -> {one.nulls[1]:.1%}",
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
