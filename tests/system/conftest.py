"""Fixtures of the system tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from databases import Server, private_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One PostgreSQL server; `url()` makes a database of it."""
    with private_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """What node.yaml says of the database: each test runs on both."""
    if request.param == "sqlite":
        return "sqlite"
    server: Server = request.getfixturevalue("postgres")
    return server.url()
