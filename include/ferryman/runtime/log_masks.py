"""What a log may not hold is masked: secrets always, values of persons where requests are told."""

import re

_HIDDEN = "***"
# Each looks a bounded way ahead only: a hostile text costs no more than a long one.
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"://[^\s@]{1,300}@"), f"://{_HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {_HIDDEN}"),
    (
        re.compile(
            r"(?i)(?<![\w-])([\w-]{0,40}?"
            r"(?:token|secret|passw(?:or)?d|pwd|signature|credential|api[_-]?key|access[_-]?key)"
            r"[\w-]{0,40}[\"']?\s{0,3}[=:]\s{0,3})"
            r"(?:\"[^\"]{0,500}\"|'[^']{0,500}'|[^\s\"'&,;}]+)"
        ),
        rf"\1{_HIDDEN}",
    ),
    (
        re.compile(r"(?i)\b((?:authorization|cookie)[\"']?\s{0,3}[:=]\s{0,3}).{1,500}"),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"-----BEGIN [^-]{1,60}-----[^-]{0,8000}(?:-----END [^-]{1,60}-----)?"), _HIDDEN),
)  # fmt: skip
_QUOTED = re.compile(r"\"[^\"]{0,500}\"|(?<!\w)'[^']{0,500}'|`[^`]{0,500}`")
_ADDRESS = re.compile(r"\b\w{1,20}://\S+")
_PATH = re.compile(r"(?<![\w.])(?:/[\w.@=+-]+){2,}/?")
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]+")
_HEX = re.compile(r"\b(?=[0-9a-fA-F-]*\d)[0-9a-fA-F][0-9a-fA-F-]{7,}\b")
_NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?\d+(?:[.,:]\d+)*(?:[eE][-+]?\d+)?")


def without_secrets(text: str) -> str:
    """The text with passwords, tokens and keys masked, as far as they can be told by their form."""
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text


def without_values(text: str) -> str:
    """The text with its values masked: what is quoted, addresses, paths, ids and numbers.

    Two errors that differ in these are the same error; and what a client sent stands in none.
    """
    text = without_secrets(text)
    text = _QUOTED.sub("'…'", text)
    text = _ADDRESS.sub("URL", text)
    text = _MAIL.sub("MAIL", text)
    text = _PATH.sub("PATH", text)
    text = _HEX.sub("ID", text)
    return _NUMBER.sub("N", text)
