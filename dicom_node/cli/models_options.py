"""What the commands about models share: their options, and how a figure is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dicom_node.cli.common import err, fail
from processors import ProcessorError


class Device(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"


class Width(StrEnum):
    """Keys of `processors.vae.network.SIZES`, which loads torch."""

    S = "S"
    M = "M"
    L = "L"


def _creatable(path: Path | None) -> Path | None:
    """Said before the work begins, and not when its result is to be written."""
    if path is not None and path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; name a file")
    if path is not None and not path.parent.is_dir():
        raise typer.BadParameter(f"the folder {path.parent} does not exist; make it first")
    return path


def file_option(*names: str, what: str) -> Any:
    """A file that a command writes: in a folder that is there."""
    return typer.Option(*names, callback=_creatable, help=what)


BundleArgument = Annotated[str, typer.Argument(help="A shipped bundle's name or a folder.")]
TablesOption = Annotated[
    list[Path],
    typer.Option("--table", exists=True, help="CSV of films; repeat for several sets."),
]
ImagesOption = Annotated[
    list[Path],
    typer.Option("--images", exists=True, help="Tar or folder of the films, one per --table."),
]
WorkOption = Annotated[Path | None, typer.Option(help="Folder of the checkpoint.")]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Training steps.")]
SeedOption = Annotated[int | None, typer.Option(help="Repeats a run.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="CPU threads.")]
BoardOption = Annotated[
    Path | None, typer.Option(help="Folder for TensorBoard (needs the extra `board`).")
]


@contextmanager
def refused(what: str) -> Iterator[None]:
    """What cannot be done is said in one line, with status 1. what: as in "needs the extra"."""
    try:
        yield
    except typer.Exit:
        raise
    except ImportError as error:
        raise fail(_without_extra(what, error)) from error
    except (OSError, ProcessorError, ValueError, RuntimeError) as error:
        raise fail(str(error) or type(error).__name__) from error


@contextmanager
def told(what: str) -> Iterator[Callable[[str], None]]:
    """As `refused`; and says on a terminal, on stderr, what is done now."""
    with refused(what), err.status(what) as status:
        yield lambda now: status.update(f"{what}: {now}")


def _without_extra(what: str, error: ImportError) -> str:
    extra = "board" if "tensorboard" in str(error) else "train"
    return f"{what} needs the extra `{extra}`: {error}"


def pairs(tables: list[Path], images: list[Path]) -> list[tuple[Path, Path]]:
    if len(tables) != len(images):
        raise typer.BadParameter("give one --images for each --table")
    return list(zip(tables, images, strict=True))


def only_pair(tables: list[Path], images: list[Path]) -> tuple[Path, Path]:
    """Of a command that takes one set: the last of several is not silently the one."""
    found = pairs(tables, images)
    if len(found) != 1:
        raise typer.BadParameter("this study takes one --table and its --images")
    return found[0]


def flat(found: dict[str, Any], above: str = "") -> Iterator[str]:
    """One line per figure, with its path."""
    for name, value in found.items():
        path = f"{above} {name}".strip()
        if isinstance(value, dict) and "value" in value:
            count = f" (n {value['n']})" if "n" in value else ""
            yield f"{path}: {figure(value)}{count}"
        elif isinstance(value, dict):
            yield from flat(value, path)
        else:
            yield f"{path}: {value}"


def figure(one: dict[str, float]) -> str:
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
