"""`dictamen impressions draft`, `index`, `bundle` as a person types them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app
from tests.report_pairs import pairs

RUN = CliRunner()
ROWS = [
    ("1", "The heart is enlarged. Small left pleural effusion.", "Cough"),
    ("2", "Lungs are clear. Heart size is normal.", ""),
]


def run(*words: str | Path) -> tuple[int, str]:
    done = RUN.invoke(app, ["impressions", *map(str, words)])
    return done.exit_code, done.output


def table(path: Path, rows: Sequence[Sequence[str]], *, header: str = "uid,findings,indication"):
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(header + "\n")
        csv.writer(file).writerows(rows)
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_row_becomes_a_line_with_all_that_is_promised(tmp_path: Path) -> None:
    out = tmp_path / "drafts.jsonl"
    code, _ = run("draft", "--in", table(tmp_path / "in.csv", ROWS), "--out", out)
    assert code == 0
    made = lines(out)
    assert [m["uid"] for m in made] == ["1", "2"]
    for m in made:
        assert list(m) == ["uid", "impression", "sentences", "criticality", "dropped", "source"]
        assert m["impression"] == " ".join(s["text"] for s in m["sentences"])
        assert m["source"] in ("generated", "nearest", "rule")
        assert all(set(s) == {"text", "findings", "source"} for s in m["sentences"])
    assert "effusion" in made[0]["impression"].lower()
    assert made[0]["criticality"] == "days"


def test_json_lines_give_the_same_drafts_as_a_table(tmp_path: Path) -> None:
    rows = [json.dumps({"uid": u, "findings": f, "indication": i}) for u, f, i in ROWS]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    for kind in ("csv", "jsonl"):
        source = tmp_path / f"in.{kind}"
        if kind == "csv":
            table(source, ROWS)
        assert run("draft", "--in", source, "--out", tmp_path / f"{kind}.out")[0] == 0
    assert lines(tmp_path / "csv.out") == lines(tmp_path / "jsonl.out")


def test_a_bad_row_is_named_and_costs_no_other(tmp_path: Path) -> None:
    out = tmp_path / "drafts.jsonl"
    rows = [ROWS[0], ("9", "", ""), ROWS[1]]
    code, told = run("draft", "--in", table(tmp_path / "in.csv", rows), "--out", out)
    assert code == 1
    assert "in.csv, line 3: findings is empty or missing" in told.replace("\n", "")
    assert "1 of 3 rows" in told
    assert [m["uid"] for m in lines(out)] == ["1", "2"]


def test_spanish_is_drafted_in_spanish_with_its_accents(tmp_path: Path) -> None:
    rows = [("1", "Neumotórax izquierdo pequeño. Silueta cardíaca normal.", "")]
    out = tmp_path / "drafts.jsonl"
    source = table(tmp_path / "in.csv", rows)
    assert run("draft", "--in", source, "--out", out, "--language", "es")[0] == 0
    assert "Neumotórax izquierdo pequeño." in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--language", "fr"), "none of en, es"),
        (("--corpus", "."), "checksums"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = table(tmp_path / "in.csv", ROWS)
    code, said = run("draft", "--in", source, "--out", tmp_path / "o.jsonl", *words)
    assert code == 1
    assert told in said


def messages(folder: Path) -> Path:
    """Final reports as a RIS exports them."""
    folder.mkdir()
    for p in pairs():
        segments = (
            f"MSH|^~\\&|RIS|H|||20260101||ORU^R01^ORU_R01|{p.uid}|P|2.5.1",
            f"OBR|1||{p.uid}|36643-5^XR chest^LN" + "|" * 21 + "F",
            f"OBX|1|TX|59768-2^Indication^LN||{p.indication}||||||F",
            f"OBX|2|TX|59776-5^Findings^LN||{p.findings}||||||F",
            f"OBX|3|TX|19005-8^Impression^LN||{p.impression}||||||F",
        )
        (folder / f"{p.uid}.hl7").write_bytes("\r".join(segments).encode())
    return folder


def test_a_folder_of_hl7_reports_becomes_a_corpus_to_draft_with(tmp_path: Path) -> None:
    source, folder, out = messages(tmp_path / "oru"), tmp_path / "corpus", tmp_path / "drafts.jsonl"
    code, told = run("index", "--pairs", source, "--out", folder)
    assert code == 0
    assert "reports: 160" in told
    rows = table(tmp_path / "in.csv", ROWS)
    for guard in ("--guard", "--no-guard"):
        assert run("draft", "--in", rows, "--out", out, "--corpus", folder, guard)[0] == 0
        assert [m["uid"] for m in lines(out)] == ["1", "2"]


def test_a_split_without_rows_is_said(tmp_path: Path) -> None:
    rows = [("1", "Clear lungs.", "Normal.", "a")]
    source = table(tmp_path / "p.csv", rows, header="uid,findings,impression,split")
    code, told = run("index", "--pairs", source, "--out", tmp_path / "c", "--split", "b")
    assert (code, "no row of split b" in told) == (1, True)


def test_what_is_learnt_from_does_not_judge(tmp_path: Path) -> None:
    rows = [("1", "Clear lungs.", "Normal.", "a")]
    source = table(tmp_path / "p.csv", rows, header="uid,findings,impression,split")
    options = ("--out", tmp_path / "b", "--split", "a", "--held", "a")
    code, told = run("bundle", "--pairs", source, *options)
    assert code == 1
    assert "learnt from and judged by" in told
