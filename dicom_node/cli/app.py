"""The root of the command line: loads the module of the command that was asked for, no other.

A node is a chain of processes; what its first one loads before it opens the door, senders wait for.
"""

from __future__ import annotations

import codecs
import io
import json
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from dicom_node import interpreter, product

# command -> the module that adds it to an app
_COMMANDS = {
    **dict.fromkeys(("init", "serve", "check", "echo", "analyse", "demo"), "node"),
    **dict.fromkeys(("explain", "books"), "look"),
    **dict.fromkeys(("studies", "runs", "deliveries"), "queues"),
    "processors": "processors",
    "audit": "audit",
    "models": "models",
    "impressions": "impressions",
    "db": "database",
}


class OneByOne(TyperGroup):
    """A group whose commands are loaded when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in self.commands and cmd_name in _COMMANDS:
            loaded = typer.Typer()
            loaded.callback()(_nothing)
            import_module(f"dicom_node.cli.{_COMMANDS[cmd_name]}").add_to(loaded)
            self.commands.update(get_group(loaded).commands)
        return self.commands.get(cmd_name)


def _nothing() -> None:
    pass


app = typer.Typer(
    cls=OneByOne,
    name=product.NAME,
    help="Models that explain themselves, beside a hospital's PACS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"{product.NAME} {product.VERSION}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Exit codes: 0 good, 1 something is wrong, 2 wrong usage, 78 node.yaml cannot be used."""


def main() -> None:
    """Console script."""
    _speak_to_any_terminal()
    if sys.argv[1:2] == ["serve"] and not any(word.startswith("--only") for word in sys.argv):
        interpreter.spare("supervisor")
    from dicom_node import logs  # after the line above: it loads much of what that keeps out

    if sys.argv[1:2] == ["serve"]:
        logs.keep_in()
    else:
        logs.no_dump()
    sys.exit(app())


def _speak_to_any_terminal() -> None:
    """What a terminal's character set lacks is written as JSON writes it, and ends no command."""
    codecs.register_error("json", _as_json_does)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="json")


def _as_json_does(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
