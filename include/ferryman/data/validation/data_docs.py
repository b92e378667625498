"""Great Expectations' Data Docs of one validation: a page a window, an index, no other file.

The content is rendered by Great Expectations itself. The frame around it is ours, because its own
asks five other hosts for style sheets and scripts, leaves an index that is empty without them, and
copies four megabytes of pictures beside every run. Our pages need neither a network nor a script.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferryman.data.rows.column_types import shorten
from ferryman.data.validation.expectations import (
    SHOWN_ROWS,
    ExpectationOutcome,
    Validation,
    counted,
)
from ferryman.runtime.files import write_atomic
from ferryman.runtime.run_store import DOCS_INDEX

MOST_PAGES = 8  # rendering a page takes about 0.06 s
_TEMPLATES = Path(__file__).with_name("data_docs_templates")
_PAGE, _INDEX = "data_docs_page.html", "data_docs_index.html"


@dataclass(frozen=True)
class WindowDocs:
    """What one window's page tells. `name` is the first day; it becomes the file's name."""

    name: str
    validation: Validation

    @property
    def failures(self) -> list[ExpectationOutcome]:
        """The expectations that were not met."""
        return [outcome for outcome in self.validation.outcomes if not outcome.success]


def write_data_docs(folder: Path, model: str, windows: Sequence[WindowDocs]) -> Path:
    """Write the site into a folder and return its index; windows that failed have a page first.

    Of many windows only some have a page (see `chosen`); the index lists all of them. Values of
    rows are those that the outcomes hold, shortened and escaped.
    """
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    renderer = ValidationResultsPageRenderer()
    view = DefaultJinjaPageView(custom_views_directory=str(_TEMPLATES))
    with_page = chosen(windows)
    for window in with_page:
        _harmless(window.validation)
        document = renderer.render(window.validation.result)
        # The library's own overview repeats what our head says, and names its inner objects.
        document.sections = document.sections[1:]
        page = view.render(document, _PAGE, model=model, window=window, index=DOCS_INDEX)
        write_atomic(folder / f"{window.name}.html", page.encode())
    template = view.env.get_template(_INDEX)
    names = {window.name for window in with_page}
    listed = template.render(model=model, windows=windows, with_page=names, most=MOST_PAGES)
    write_atomic(folder / DOCS_INDEX, listed.encode())
    return folder / DOCS_INDEX


def chosen(windows: Sequence[WindowDocs]) -> list[WindowDocs]:
    """The windows that get a page: those that failed, then the newest, at most MOST_PAGES."""
    newest_first = sorted(windows, key=lambda window: window.name, reverse=True)
    return sorted(newest_first, key=lambda window: window.validation.success)[:MOST_PAGES]


def _harmless(validation: Validation) -> None:
    """Shorten and escape what came from data: the library pastes some of it into its HTML raw."""
    rows = max((outcome.rows for outcome in validation.outcomes), default=0)
    for one in validation.result.results:
        one.exception_info = _told(one.exception_info)
        found = one.result or {}
        found.pop("details", None)  # every value of a column, with its count
        if "unexpected_count" in found:  # some leave out what the library's page then asks for
            found.setdefault("element_count", rows)
            share = 100 * found["unexpected_count"] / max(rows, 1)
            found.setdefault("unexpected_percent", share)
        for key in ("partial_unexpected_list", "partial_unexpected_index_list"):
            if key in found:
                found[key] = [_safe(value) for value in found[key][:SHOWN_ROWS]]
        if "partial_unexpected_counts" in found:
            several = found["partial_unexpected_counts"][:SHOWN_ROWS]
            found["partial_unexpected_counts"] = [
                {**one, "value": _safe(one.get("value"))} for one in several
            ]
        if "observed_value" in found:
            found["observed_value"] = _safe(counted(found["observed_value"]))


def _safe(value: object) -> object:
    """Numbers as they are; everything else as short, escaped text."""
    if hasattr(value, "item"):
        value = value.item()  # of NumPy; the library's renderer knows plain numbers alone
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _safe(entry) for key, entry in value.items()}
    text = value if isinstance(value, str) else str(value)
    return html.escape(shorten(text).strip("'"))


def _told(info: Any) -> Any:
    """The message of an exception inside a metric, without its traceback."""
    if not info:
        return info
    if "raised_exception" not in info:
        return {key: _told(entry) for key, entry in info.items()}
    message = info.get("exception_message")
    return {
        "raised_exception": info["raised_exception"],
        "exception_message": message and str(message)[:300],  # the library escapes it
        "exception_traceback": "",
    }
