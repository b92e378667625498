"""Where names lead: URLs in, secrets kept out of every text."""

import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.errors import SpecError
from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.settings import Settings

ROOT = Path(__file__).parents[3]


@given(
    login=st.text(min_size=1), password=st.text(min_size=1), host=st.sampled_from(["h", "[::1]"])
)
def test_any_login_and_password_come_back_from_a_url(login: str, password: str, host: str) -> None:
    url = f"postgresql+psycopg://{quote(login, safe='')}:{quote(password, safe='')}@{host}:5433/db"
    read = parse_connection("fleet", url)
    assert (read.login, read.password) == (login, password)
    assert read.url == f"postgresql+psycopg://{host}:5433/db"
    assert read.scheme == "postgresql"


@pytest.mark.parametrize(
    ("url", "bare", "options"),
    [
        (
            "s3://Key:s%2Fe@Big-Bucket/Prefix?region=x&endpoint=http%3A%2F%2F127.0.0.1%3A9",
            "s3://Big-Bucket/Prefix",
            {"region": "x", "endpoint": "http://127.0.0.1:9"},
        ),
        ("sqlite:////data/my@home/fleet.db", "sqlite:////data/my@home/fleet.db", {}),
        ("file:///mnt/a%20b", "file:///mnt/a%20b", {}),
        (
            "postgresql://u@DB.Example/x?sslmode=require",
            "postgresql://db.example/x?sslmode=require",
            {},
        ),
        (
            "https://:t@api.example:8443/v2/?timeout=5",
            "https://api.example:8443/v2/",
            {"timeout": "5"},
        ),
        (" https://api.example\n", "https://api.example", {}),
    ],
)
def test_the_rest_of_a_url_stays_as_it_is(url: str, bare: str, options: dict[str, str]) -> None:
    read = parse_connection("any", url)
    assert (read.url, dict(read.options)) == (bare, options)


@pytest.mark.parametrize(
    "url",
    [
        "just s3cr3t",
        "s3cr3t",
        "postgresql://u:12/s3cr3t@host/db",  # else the password would be the database's name
        "postgresql://u:12#s3cr3t@host/db",
        "postgresql://u:s3cr3t?x@host/db",
        "postgresql://u:s3cr3t[@host/db",
        "postgresql://u:s3cr3t\t@host/db",
        "postgresql://u:1@host:s3cr3t/db",
        "postgresql://u@host/db?password=s3cr3t",
        "https://api.example?api_key=s3cr3t",
    ],
)
def test_a_wrong_url_is_refused_and_never_shown(url: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_connection("fleet", url)
    told = "".join(traceback.format_exception(caught.value))
    assert "s3cr3t" not in told + caught.value.remedy
    assert "connection 'fleet'" in caught.value.text


def test_a_connection_shows_no_secret_and_hides_it_in_what_others_say() -> None:
    connection = parse_connection("fleet", "postgresql://anna:s%40cr%2F@host/db")
    assert "anna" not in repr(connection)
    assert "cr" not in repr(connection)
    said = "FATAL: s@cr/ is wrong\n  in postgresql://anna:s%40cr%2F@host " + "x" * 1_000
    hidden = connection.hide_secrets(said)
    assert hidden.startswith("FATAL: *** is wrong in postgresql://anna:***@host xxx")
    assert len(hidden) == 203


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "connections.yaml").write_text(
        "fleet: sqlite:///{source_root}/fleet.db\nlake: file://{home}/lake\n"
    )
    return Settings(
        home=tmp_path / "my home",
        source_root=tmp_path / "a@b",
        connections_file=tmp_path / "connections.yaml",
        connection_urls={"lake": "s3://key:s3cr3t@bucket"},
    )


def test_the_environment_goes_before_the_file(settings: Settings, tmp_path: Path) -> None:
    connections = DeclaredConnections(settings)
    assert connections.get("lake").url == "s3://bucket"
    assert connections.get("fleet").url == f"sqlite:///{quote(str(tmp_path))}/a%40b/fleet.db"


def test_an_unknown_name_is_told_with_the_nearest_and_how_to_define_it(settings: Settings) -> None:
    with pytest.raises(SpecError, match="no connection 'fleett' is defined; did you mean 'fleet'"):
        DeclaredConnections(settings).get("fleett")
    with pytest.raises(SpecError) as caught:
        DeclaredConnections(settings).get("crm")
    assert "FERRYMAN_CONNECTION_CRM=URL" in caught.value.remedy
    with pytest.raises(SpecError, match=r"no connection 'b' is defined") as caught:
        GivenConnections(Connection("a", "file:///a")).get("b")
    assert caught.value.remedy == "Given: a."


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("fleet: postgresql://u:s3cr3t@host/db", "holds a password, and this file is in the open"),
        ("fleet: postgresql://host/db?password=s3cr3t", "option 'password' would show a secret"),
        ("fleet: sqlite:///{root}/x.db", "no place '{root}'"),
        ("Fleet: file:///x", "'Fleet' is not"),
        ("fleet: 3", "'fleet' is not"),
        ("fleet", "holds no mapping"),
        ("fleet: [s3cr3t", "not YAML in line 2"),
    ],
)
def test_mistakes_of_the_file(settings: Settings, line: str, text: str) -> None:
    settings.connections_file.write_text(line + "\n")
    with pytest.raises(SpecError, match=text.replace("{", r"\{")) as caught:
        DeclaredConnections(settings).get("fleet")
    assert "s3cr3t" not in str(caught.value)


def test_the_committed_file_leads_to_the_sample_data() -> None:
    url = DeclaredConnections(Settings(root=ROOT)).get("fleet").url
    assert Path(url.removeprefix("sqlite:///")).is_file()
