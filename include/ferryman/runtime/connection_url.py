"""Reads the URL of a connection: login, password and options go out of it."""

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ferryman.errors import SpecError
from ferryman.runtime.connections import Connection

# The query part of these URLs is ours; a database driver may need its own.
_OUR_OPTIONS = ("s3", "http", "https", "file")
_SECRET = re.compile(r"passw|secret|token|credential|api_?key|access_?key|private", re.IGNORECASE)
_NO_SECRETS = ("token_header",)
# `apprise+slack://...`: an address whose parts are all secrets; it is kept whole, as the password.
APPRISE = "apprise"
_FORMS = (
    "Write it as postgresql://user:password@host/database, s3://bucket/prefix, "
    "https://api.example/v2, sqlite:////path or file:///folder; percent-encode what is no letter, "
    "digit, '-', '.', '_' or '~' in user and password."
)


def is_secret(option: str) -> bool:
    """Whether an option's name says that its value is a secret."""
    return option not in _NO_SECRETS and _SECRET.search(option) is not None


def parse_connection(name: str, url: str) -> Connection:
    """Take login, password and our options out of a URL.

    Raises SpecError (exit 2), which never shows what was given, for what is no URL, and where a
    password seems to have been cut by a character of its own, such as `/` or `#`.
    """
    url = url.strip()
    if url.startswith(f"{APPRISE}+") and "://" in url:
        whole = url.removeprefix(f"{APPRISE}+")
        return Connection(name=name, url=f"{APPRISE}://", password=whole)
    parts = _split(name, url)
    ours = parts.scheme.partition("+")[0] in _OUR_OPTIONS
    options = _options(name, parts.query)
    bare = f"{parts.scheme}://{_address(parts)}{parts.path}"
    if parts.query and not ours:
        bare += f"?{parts.query}"
    return Connection(
        name=name,
        url=bare,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        options=options if ours else {},
    )


def _split(name: str, url: str) -> SplitResult:
    """The URL's parts; urlsplit alone would drop tabs and line breaks, and read on."""
    try:
        if re.search(r"[\x00-\x1f\x7f]", url) or "://" not in url:
            raise ValueError
        parts = urlsplit(url)
        found = parts.scheme and parts.port != 0  # asking for the port checks it
    except ValueError:
        found = False
    if not found:
        raise SpecError(f"connection {name!r}: not a URL", remedy=_FORMS)
    behind = parts.path + parts.query if parts.netloc else ""
    if parts.fragment or "@" in behind or url.endswith("#"):
        raise SpecError(
            f"connection {name!r}: '@' or '#' stands behind the host: is a password cut short?",
            remedy=_FORMS,
        )
    return parts


def _address(parts: SplitResult) -> str:
    """Host and port; a bucket's name keeps its case, an IPv6 address its brackets."""
    after_login = parts.netloc.rpartition("@")[2]
    return after_login if parts.scheme == "s3" else after_login.lower()


def _options(name: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option in options:
        if is_secret(option):
            raise SpecError(
                f"connection {name!r}: option {option[:40]!r} would show a secret",
                remedy="Give secrets as user and password: scheme://user:password@host.",
            )
    return options
