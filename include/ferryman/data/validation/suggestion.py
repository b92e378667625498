"""Suggests a first expectations.yaml from the profiles of windows, for a person to edit.

Each rule leaves room for what was not seen yet, and says in a comment what was measured:
- rows: from half of the smallest window to twice the largest;
- nulls: none where there never were any; else twice the largest share of a window, if below half;
- ranges: the span of all values, widened by half of it on both sides; an end that is exactly 0
  stays, as it looks like a bound of the world; whole numbers for integers;
- sets: all values, where there are at most 20 and 20 times as many rows; where one was seen less
  than five times there may be others, and a hundredth of a window's rows may have them.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence

from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.column_profile import ColumnProfile, merge_profiles
from ferryman.profiles.number_profile import NumberProfile

_SET_SIZE = 20
_ROWS_PER_VALUE = 20
_RARE = 5
_LARGEST = sys.float_info.max
_SHOWN = 5

Window = Mapping[str, ColumnProfile]


def suggest_expectations(model: str, rows: Sequence[int], windows: Sequence[Window]) -> str:
    """The text of expectations.yaml: rows and profile of each window, at least one, go in."""
    lines = [
        f"# A first suite for {model}, suggested from {len(windows)} published windows with "
        f"{sum(rows)} rows.",
        "# Read each line: bounds of the world (a minute of a day) are better than widened ones,",
        "# and a sentence that nobody would defend should go. The names are Great Expectations'.",
        "",
        f"# Windows had {min(rows)} to {max(rows)} rows; half of the least to twice the most.",
        _item(
            "ExpectTableRowCountToBeBetween",
            min_value=max(1, min(rows) // 2),
            max_value=max(1, 2 * max(rows)),
        ),
    ]
    merged = merge_profiles(windows)
    for name, profile in merged.items():
        lines += ["", *_column(name, profile, [one[name] for one in windows if name in one])]
    return "\n".join(lines) + "\n"


def _column(name: str, merged: ColumnProfile, windows: Sequence[ColumnProfile]) -> list[str]:
    lines = _nulls(name, merged, windows)
    if not merged.count:
        return lines
    if isinstance(merged, NumberProfile):
        return lines + _range(name, merged)
    return lines + _words(name, merged)


def _nulls(name: str, merged: ColumnProfile, windows: Sequence[ColumnProfile]) -> list[str]:
    label = f"# {_plain(name)}:"
    if not merged.count:
        return [f"{label} never had a value ({merged.rows} rows); nothing is expected of it."]
    if not merged.nulls:
        return [
            f"{label} never null in {merged.rows} rows.",
            _item("ExpectColumnValuesToNotBeNull", column=name),
        ]
    worst = max(one.nulls / one.rows for one in windows if one.rows)
    told = f"{label} null in {merged.nulls / merged.rows:.2%} of rows, {worst:.2%} in the worst"
    allowed = 2 * worst
    if allowed >= 0.5:
        return [f"{told} window: too often to expect anything."]
    mostly = math.floor((1 - allowed) * 1000) / 1000
    return [
        f"{told} window; twice that is let through.",
        _item("ExpectColumnValuesToNotBeNull", column=name, mostly=mostly),
    ]


def _range(name: str, merged: NumberProfile) -> list[str]:
    low, high = merged.low or 0, merged.high or 0
    whole = merged.kind == "integer"
    # Half of the span; a constant has none, and gets half of itself, or 1.
    room = (high / 2 - low / 2) or abs(low) / 2 or 1.0
    least = _rounded(low - room, whole=whole, up=False)
    most = _rounded(high + room, whole=whole, up=True)
    if low == 0:
        least = 0
    if high == 0:
        most = 0
    measured = f"# {_plain(name)}: {_figure(low)} to {_figure(high)}, mean {_figure(merged.mean)}"
    return [
        f"{measured}; widened by half of the span.",
        _item("ExpectColumnValuesToBeBetween", column=name, min_value=least, max_value=most),
    ]


def _words(name: str, merged: CategoryProfile) -> list[str]:
    known = not merged.other and merged.distinct <= _SET_SIZE
    if known and merged.count >= _ROWS_PER_VALUE * merged.distinct:
        rarest, rows = list(merged.top.items())[-1]
        told = (
            f"# {_plain(name)}: {merged.distinct} values, the rarest {_plain(rarest)} with {rows}"
        )
        item: dict[str, object] = {"column": name, "value_set": sorted(merged.top)}
        if rows < _RARE:
            told, item["mostly"] = f"{told} rows, so that others may come", 0.99
        else:
            told += " rows"
        return [f"{told}.", _item("ExpectColumnValuesToBeInSet", **item)]
    about = "about " if merged.other else ""
    most = ", ".join(_plain(value) for value in list(merged.top)[:_SHOWN])
    return [f"# {_plain(name)}: {about}{merged.distinct} values, most often {most}; no set."]


def _rounded(value: float, *, whole: bool, up: bool) -> float | int:
    """Outwards, to whole numbers or to three digits."""
    outwards = math.ceil if up else math.floor
    value = max(-_LARGEST, min(_LARGEST, value))
    if whole:
        return outwards(value)
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    if abs(digits) > 300:
        return value
    # Dividing by a power of ten keeps 0.3 what it is; multiplying by 0.1 would not.
    power = 10.0 ** abs(digits)
    rounded = outwards(value * power) / power if digits > 0 else outwards(value / power) * power
    return rounded if math.isfinite(rounded) else value


def _figure(value: float | None) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(text: str) -> str:
    """A text as it may stand in a comment: one short line."""
    shown = json.dumps(text, ensure_ascii=True)[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _item(expect: str, **arguments: object) -> str:
    """One expectation as a YAML flow mapping; JSON is YAML, so any text is safe in it."""
    parts = [f"{key}: {_value(value)}" for key, value in arguments.items()]
    return f"- {{{', '.join([f'expect: {expect}', *parts])}}}"


def _value(value: object) -> str:
    if isinstance(value, float) and "e" in repr(value):
        # YAML reads 1e300 as text; with a point and a sign it is a number.
        mantissa, exponent = repr(value).split("e")
        mantissa += "" if "." in mantissa else ".0"
        return f"{mantissa}e{int(exponent):+d}"
    return json.dumps(value, ensure_ascii=True)
