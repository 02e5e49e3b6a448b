"""The storages of tests/storage_fixtures.py."""

from storage_fixtures import (
    node_fixture,
    postgres_node_fixture,
    ready_file_fixture,
    server_fixture,
    sqlite_node_fixture,
)

__all__ = [
    "node_fixture",
    "postgres_node_fixture",
    "ready_file_fixture",
    "server_fixture",
    "sqlite_node_fixture",
]
