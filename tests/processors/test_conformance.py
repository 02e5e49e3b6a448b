"""One suite for every kind of model: ours, MONAI bundles, torchxrayvision's shape, an endpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import foreign_bundles as foreign
import pytest
from endpoint_server import Remote, running

from config.settings import Endpoint
from dicom_node.endpoint import poster
from processors import conformance, kinds
from processors.conformance import Subject, kind_of, run
from processors.training.bundle import write_checksums

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SHIPPED = ("chest", "brain", "breast")
SKIPPED = {  # what has nothing to look at, by bundle; the rest must pass
    "chest": {"refuses-localizer", "refuses-age"},
    "brain": {"refuses-age"},
    "breast": {"refuses-localizer", "refuses-age"},
    "classifier": {"refuses-localizer"},
    "film_segmenter": {"refuses-localizer"},
    "segmenter2d": {"refuses-age"},
    "segmenter3d": {"refuses-age"},
    "xray": {"refuses-localizer", "input-size"},
    "endpoint": {"returns", "refuses-localizer", "pickled-weights", "input-size", "not-finite"},
}
MAKERS: dict[str, Callable[[Path], Path]] = {
    "classifier": foreign.classifier,
    "film_segmenter": foreign.film_segmenter,
    "segmenter2d": lambda folder: foreign.segmenter(folder, 2),
    "segmenter3d": lambda folder: foreign.segmenter(folder, 3),
    "xray": foreign.xray,
    "endpoint": foreign.endpoint_card,
}


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    with running() as found:
        yield found


def subject(bundle: str, remote: Remote | None = None) -> Subject:
    post = poster(Endpoint(url=remote.url)) if remote else None
    return Subject(kind_of(bundle), kinds.Wanted("check", bundle, device="cpu", post=post))


@pytest.mark.parametrize("name", SKIPPED)
def test_every_kind_of_model_keeps_the_contract(name: str, remote: Remote, tmp_path: Path) -> None:
    bundle = name if name in SHIPPED else str(MAKERS[name](tmp_path / name))
    verdicts = run(subject(bundle, remote if name == "endpoint" else None))
    assert {v.name: v.said for v in verdicts if v.state == "failed"} == {}
    assert {v.name for v in verdicts if v.state == "skipped"} == SKIPPED[name]
    assert [v.name for v in verdicts] == [check.name for check in conformance.CHECKS]


def test_an_endless_loop_is_ended_from_outside(tmp_path: Path) -> None:
    folder = foreign.onnx_classifier(foreign.classifier(tmp_path / "endless"), endless=True)
    first, *rest = run(subject(str(folder)), limit=20)
    assert (first.name, first.state) == ("returns", "failed")
    assert "did not come back within 20 s" in first.said
    assert {verdict.state for verdict in rest} == {"skipped"}


def test_a_model_that_does_not_repeat_itself_fails(tmp_path: Path, remote: Remote) -> None:
    folder = foreign.endpoint_card(tmp_path / "fickle")
    remote.mode = "new version each time"
    try:
        verdicts = {v.name: v for v in run(subject(str(folder), remote))}
    finally:
        remote.mode = "well"
    assert verdicts["repeats"].state == "failed"
    assert "version" in verdicts["repeats"].said


def test_the_command_prints_the_list_and_fails_on_a_fault(tmp_path: Path) -> None:
    folder = foreign.classifier(tmp_path / "site")
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    del metadata["dictamen"]["research"]
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    write_checksums(folder)
    told = [sys.executable, "-m", "dicom_node.cli", "models", "check", str(folder), "--json"]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    first, *_ = json.loads(done.stdout)
    assert (first["name"], first["state"]) == ("returns", "failed")
    assert "dictamen.research" in first["said"]


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [(False, 0, "15 passed"), (True, 1, "returns")],
    ids=["good", "a changed byte"],
)
def test_the_suite_runs_under_pytest(tmp_path: Path, spoil: bool, code: int, said: str) -> None:
    """As an author runs it: the option comes from the installed package."""
    folder = foreign.xray(tmp_path / "site")
    if spoil:
        (folder / "configs" / "metadata.json").write_bytes(
            (folder / "configs" / "metadata.json").read_bytes() + b" "
        )
    told = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--pyargs",
            "processors.conformance", "--bundle", folder]  # fmt: skip
    done = subprocess.run(told, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, said in done.stdout) == (code, True), done.stdout + done.stderr
    assert sorted(path.name for path in folder.iterdir()) == [
        "checksums.sha256", "configs", "models",
    ]  # fmt: skip
