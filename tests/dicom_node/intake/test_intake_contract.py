"""The private names of pynetdicom that the intake touches are there, or the stock path is used."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import intake_lab as lab
import pynetdicom
import pytest
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import AssociationSocket

from dicom_node.intake import contract


def test_this_version_has_every_name() -> None:
    assert contract.missing(contract.STOCK, contract.STOCK_MADE) == []
    assert contract.missing(contract.SWIFT, contract.SWIFT_MADE) == []
    assert contract.why_not_swift() == ""


def test_every_private_name_of_another_object_is_listed() -> None:
    """`self.assoc._name` and the like; a plain `self._name` counts where the library has it."""
    listed = {
        name
        for names in (contract.STOCK, contract.STOCK_MADE, contract.SWIFT, contract.SWIFT_MADE)
        for _, name in names
    }
    folder = Path(contract.__file__).parent
    theirs = "".join(
        inspect.getsource(one)
        for one in (Association, AssociationSocket, DIMSEServiceProvider, DULServiceProvider)
    )
    used: set[str] = set()
    for file in ("association", "provider", "line"):
        source = (folder / f"{file}.py").read_text()
        used |= set(re.findall(r"self\.(?:\w+\.)+(_[a-z]\w*)", source))
        mine = set(re.findall(r"self\.(_[a-z]\w*)\b", source))
        used |= {name for name in mine if f"self.{name}" in theirs and f"def {name}" not in source}
    ours = {"_assembler", "_socket"}
    assert used - ours <= listed


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(("TRIED", ("3.0.3",)), "was not tried with the fast path", id="version"),
        pytest.param(
            ("SWIFT", ((pynetdicom.association.Association, "_gone"),)), "has no Association._gone",
            id="name",
        ),
        pytest.param(
            ("SWIFT_MADE", ((pynetdicom.association.Association, "gone"),)),
            "has no Association.gone", id="attribute",
        ),
    ],
)  # fmt: skip
def test_another_version_goes_the_stock_way(
    change: tuple[str, object], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, *change)
    assert why in contract.why_not_swift()


def test_the_stock_way_is_said_and_serves(tmp_path: Path) -> None:
    made = lab.sized(0.6)
    with lab.running(tmp_path, patch=lab.STOCK) as node:
        assert lab.send(node, made) == [0x0000]
        assert lab.bytes_of(node.stored()[made.SOPInstanceUID]) == lab.encoded(made)
        (line,) = node.events("intake.stock_path")
        assert line["level"] == "warning"
