"""A site's own reports as pairs: tables, JSON lines, HL7 messages; a bad row costs no other row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from processors.impressions import oru
from processors.impressions.corpus import Pair, UnreadableCorpus, read

HEAD = "MSH|^~\\&|RIS|H|X|Y|{when}||ORU^R01^ORU_R01|{control}|P|2.5.1|||||ESP|{charset}|{language}"


def message(
    *observations: str,
    status: str = "F",
    uid: str = "1.2.3",
    when: str = "20260101",
    charset: str = "UNICODE UTF-8",
    language: str = "es^Spanish^ISO639",
) -> str:
    head = HEAD.format(when=when, control=f"C{uid}", charset=charset, language=language)
    lines = [head, "PID|1||77^^^H||GARCIA^ANA", f"OBR|1||{uid}|36643-5^XR^LN" + "|" * 21 + status]
    lines += [f"OBX|{i}|TX|{o}||||||{status}" for i, o in enumerate(observations, 1)]
    return "\r".join(lines) + "\r"


def one(text: str) -> oru.Final | str:
    (found,) = oru.reports(text.encode())
    return found


FINDINGS = "59776-5^Findings^LN||Derrame pleural izquierdo."
IMPRESSION = "19005-8^Impression^LN||Derrame izquierdo."


@pytest.mark.parametrize(
    ("observations", "findings", "impression", "indication"),
    [
        ((FINDINGS, IMPRESSION), "Derrame pleural izquierdo.", "Derrame izquierdo.", ""),
        (("71020&GDT^XR||Uno.", "71020&IMP^XR||Dos."), "Uno.", "Dos.", ""),
        (("X^Hallazgos^L||Uno.", "Y^IMPRESIÓN DIAGNÓSTICA^L||Dos."), "Uno.", "Dos.", ""),
        (
            ("R^XR^L||INDICACIÓN: tos. TÉCNICA: PA. HALLAZGOS: Uno. IMPRESIÓN: Dos.",),
            *("Uno.", "Dos.", "tos."),
        ),
        (("R^XR^L||Findings:~First.~Second.~Impression:~Third.",), "First.\nSecond.", "Third.", ""),
        (("R^XR^L||FINDINGS: A \\T\\ B.\\.br\\C. CONCLUSION: D.",), "A & B.\nC.", "D.", ""),
        (("59776-5^F^LN||Uno.", "59776-5^F^LN||Dos.", IMPRESSION), "Uno.\nDos.", None, ""),
    ],
)
def test_sections_of_a_message(
    observations: tuple[str, ...], findings: str, impression: str | None, indication: str
) -> None:
    found = one(message(*observations))
    assert isinstance(found, oru.Final)
    said = found.sections
    assert said.findings == findings
    assert impression is None or said.impression == impression
    assert (said.indication, found.language, found.uid) == (indication, "es", "1.2.3")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (message(FINDINGS, status="P"), "not final"),
        (message(FINDINGS, status=""), "not final"),
        (message(FINDINGS).replace("ORU^R01", "ADT^A01"), "no ORU^R01"),
        (message(), "no OBX"),
        ("MSH|^~\\&", "no"),
    ],
)
def test_messages_that_are_not_used_say_why(text: str, reason: str) -> None:
    found = one(text)
    assert isinstance(found, str)
    assert reason in found


@pytest.mark.parametrize(
    ("charset", "encoding"), [("8859/1", "latin-1"), ("", "latin-1"), ("", "utf-8")]
)
def test_accents_survive_the_character_set(charset: str, encoding: str) -> None:
    data = message("59776-5^F^LN||Opacidad en lóbulo", charset=charset).encode(encoding)
    (found,) = oru.reports(data)
    assert isinstance(found, oru.Final)
    assert found.sections.findings == "Opacidad en lóbulo"


def test_a_folder_of_messages_keeps_the_latest_and_no_patient(tmp_path: Path) -> None:
    late = message(FINDINGS, "19005-8^I^LN||Corregido.", status="C", when="20260102")
    (tmp_path / "b.hl7").write_bytes((late + message(FINDINGS, IMPRESSION, uid="9")).encode())
    (tmp_path / "z.hl7").write_bytes(message(FINDINGS, IMPRESSION).encode())
    (tmp_path / "draft.hl7").write_bytes(message(FINDINGS, uid="8", status="P").encode())
    (tmp_path / "note.txt").write_text("not HL7")
    found = read(tmp_path)
    assert {p.uid: p.impression for p in found.pairs} == {
        "1.2.3": "Corregido.",
        "9": "Derrame izquierdo.",
    }
    assert "GARCIA" not in repr(found)
    assert [b.place.rpartition("/")[2] for b in found.bad] == ["draft.hl7, message 1"]


def test_a_table_names_the_line_of_each_bad_row_and_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(
        "\ufeffUID,findings,impression,language\n"
        'a,"Two\nlines, quoted.",Good.,\n'
        "b,,Nothing.,\n"
        "c,Text.,Good.,fr\n"
        "a,Again.,Good.,\n"
        "d,Text, with a comma,Good.,en\n"
        "e,Texto.,Bien.,ES\n"
        "f,Text.\n",
        encoding="utf-8",
    )
    found = read(file)
    assert found.pairs == (
        Pair("a", "Two\nlines, quoted.", "Good."),
        Pair("e", "Texto.", "Bien.", language="es"),
    )
    told = {b.place.rpartition(" ")[2]: b.reason for b in found.bad}
    assert list(told) == ["4", "5", "6", "7", "9"]
    for line, word in {"4": "findings", "5": "'fr'", "6": "above", "7": "comma"}.items():
        assert word in told[line]


def test_json_lines_name_the_line_of_each_bad_row(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    good = {"uid": 7, "findings": "Uno\u2028dos.", "impression": "Tres."}
    lines = [
        json.dumps(good, ensure_ascii=False),
        "{",
        "",
        "[1]",
        '{"uid": "8", "findings": ["x"]}',
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    found = read(file, "es")
    assert found.pairs == (Pair("7", "Uno\u2028dos.", "Tres.", language="es"),)
    assert [b.place.rpartition(" ")[2] for b in found.bad] == ["2", "4", "5"]


def test_rows_to_be_drafted_need_no_impression(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("uid,findings\n1,Clear lungs.\n")
    assert read(file, impressions=False).pairs == (Pair("1", "Clear lungs."),)
    with pytest.raises(UnreadableCorpus, match="no column impression"):
        read(file)


@pytest.mark.parametrize("data", [b"uid,findings\n1,\xe1\n", b""])
def test_a_file_that_is_no_table_is_refused_as_a_whole(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(data)
    with pytest.raises(UnreadableCorpus):
        read(file, impressions=False)


def test_a_folder_without_messages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCorpus, match="no HL7 message"):
        read(tmp_path)
