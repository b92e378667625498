"""What contract suites share: a ledger in every database that one may be in."""

from pathlib import Path

import pytest
from services.postgres import PostgresServer

from ferryman.ledger.ledger import Ledger


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    """A ledger of this test's own."""
    if request.param == "sqlite":
        return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    server: PostgresServer = request.getfixturevalue("postgres")
    server.run("DROP SCHEMA IF EXISTS contract CASCADE", "CREATE SCHEMA contract")
    address = server.engine().url.update_query_dict({"options": "-csearch_path=contract"})
    return Ledger(address.render_as_string(hide_password=False))
