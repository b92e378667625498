"""JSON as the standard has it: what some readers take and others read otherwise is refused."""

import json
from typing import Any, NoReturn


class NotJson(ValueError):
    """The text is no JSON, or JSON that means several things; the message says why."""


def read_json(text: str) -> Any:
    """The value of a JSON text.

    Raises NotJson for a repeated key, NaN and Infinity, numbers of thousands of digits and nesting
    without end. A number beyond every float becomes infinite, to be judged as a cell.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at character {error.pos + 1}") from error
    except RecursionError:
        raise NotJson("lists in lists without end") from None
    except NotJson:
        raise
    except ValueError:  # the one that is left: Python reads whole numbers up to a length
        raise NotJson("a number of more than 4300 digits") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotJson(f"the key {twice[:60]!r} twice in one object")
    return read


def _constant(text: str) -> NoReturn:
    raise NotJson(f"{text}, which is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
