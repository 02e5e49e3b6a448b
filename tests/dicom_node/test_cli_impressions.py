"""`dictamen impressions urgency`, `follow-up` and `plain` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app

RUN = CliRunner()
TEXT = "Solid 9 x 7 mm nodule in the right upper lobe. Possible tension pneumothorax."
KNOWN = ("--low-risk", "--no-cancer", "--no-immunosuppression", "--no-screening")


def impressions(*words: str, text: str = TEXT) -> tuple[int, str]:
    done = RUN.invoke(app, ["impressions", *words], input=text)
    return done.exit_code, done.output


def test_urgency_gives_category_rule_and_source() -> None:
    code, said = impressions("urgency", "-", "--json")
    rows = json.loads(said)
    assert code == 0
    assert [(r["category"], r["finding"], r["state"]) for r in rows] == [
        (1, "pneumothorax", "uncertain"), (3, "nodule", "present"),
    ]  # fmt: skip
    assert all("Larson 2014" in row["source"] for row in rows)


def test_the_context_counts() -> None:
    wide = "Widened mediastinum."
    (calm,), (hurt,) = (
        json.loads(impressions("urgency", "-", "--json", *more, text=wide)[1])
        for more in ((), ("--trauma",))
    )
    assert (calm["category"], hurt["category"]) == (3, 1)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(("--modality", "CT", "--age", "60", *KNOWN), 0, "Table 1 A", id="a row"),
        pytest.param(("--modality", "CR", "--age", "60", *KNOWN), 1, "measured on CT", id="film"),
        pytest.param(("--modality", "CT", "--age", "30", *KNOWN), 1, "younger than 35", id="young"),
        pytest.param(("--modality", "CT", "--age", "60"), 1, "not known", id="unknown"),
    ],
)
def test_follow_up(words: tuple[str, ...], code: int, said: str) -> None:
    found, output = impressions("follow-up", "-", *words)
    assert found == code
    assert said in output


def test_no_nodule() -> None:
    code, said = impressions("follow-up", "-", text="No nodule.")
    assert (code, "names no nodule" in said) == (1, True)


def test_plain_words_stand_under_their_label() -> None:
    code, said = impressions("plain", "-", "--language", "es", text="Derrame pleural derecho.")
    assert code == 0
    assert said.splitlines()[0].startswith("Borrador. Ningún médico")
    assert "un derrame pleural (agua alrededor del pulmón) en el lado derecho" in said


@pytest.mark.parametrize("command", ["urgency", "follow-up", "plain"])
def test_mistakes_are_said(command: str, tmp_path: Path) -> None:
    code, said = impressions(command, "-", "--language", "fr")
    assert (code, "en, es" in said) == (1, True)
    bad = tmp_path / "latin.txt"
    bad.write_bytes("neumonía".encode("latin-1"))
    code, said = impressions(command, str(bad))
    assert (code, "not UTF-8" in said) == (1, True)
