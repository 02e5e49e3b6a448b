"""What a message says, and why one is refused: code, error of table 0357, place."""

from __future__ import annotations

import pytest
from inbox_lab import FINDINGS, STUDY, findings, impression, oru

from dicom_node.inbox.message import Dictation, Refused, read
from processors.impressions import oru as corpus_oru
from processors.impressions.sections import Sections
from storage import MessageKind


def taken(message: str, charset: str = "utf-8") -> Dictation:
    found = read(message.encode(charset), "P")
    assert isinstance(found, Dictation), found
    return found


def test_everything_that_a_run_needs() -> None:
    said = taken(oru(findings(FINDINGS), filler="F9", accession="A9"))
    assert said.kind is MessageKind.FINDINGS
    assert said.sections == Sections(FINDINGS)
    assert said.language == "es"
    assert said.patients == (("P1", "HOSPITAL"),)
    who = said.identity
    assert (who.study_uid, who.patient_id, who.issuer) == (STUDY, "P1", "HOSPITAL")
    assert (who.patient_name, who.birth_date) == ("Muñoz^Ángela", "19700101")
    assert (who.accession, said.filler) == ("A9", "F9")
    assert said.procedure == ("399208008", "Plain X-ray of chest", "SCT")


@pytest.mark.parametrize(
    ("texts", "sections"),
    [
        pytest.param(
            [findings("Uno.\\.br\\Dos."), impression("Tres.")],
            Sections("Uno.\nDos.", "Tres."),
            id="codes and line breaks",
        ),
        pytest.param(
            [findings("Uno."), findings("Dos.")], Sections("Uno.\nDos."), id="paragraphs as OBX"
        ),
        pytest.param(
            [("18748-4^Report^LN", "TÉCNICA: PA. HALLAZGOS: Uno. Dos. IMPRESIÓN: Tres.")],
            Sections("Uno. Dos.", "Tres."),
            id="Spanish headings",
        ),
        pytest.param(
            [
                (
                    "18748-4^Report^LN",
                    "INDICATION: cough\\.br\\FINDINGS: One.\\.br\\IMPRESSION: Two.",
                )
            ],
            Sections("One.", "Two.", "cough"),
            id="English headings",
        ),
        pytest.param([("1^Hallazgos^L", "Uno.")], Sections("Uno."), id="a local code by its name"),
        pytest.param([("71020&GDT", "Uno.")], Sections("Uno."), id="suffix GDT"),
        pytest.param(
            [findings("5 mm \\T\\ 6 mm \\F\\ \\S\\ \\R\\ \\E\\ \\H\\ya\\N\\")],
            Sections("5 mm & 6 mm | ^ ~ \\ ya"),
            id="escapes",
        ),
        pytest.param([findings("Uno.~Dos.")], Sections("Uno.\nDos."), id="repetitions"),
    ],
)
def test_sections(texts: list[tuple[str, str]], sections: Sections) -> None:
    assert taken(oru(*texts)).sections == sections


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("UNICODE UTF-8", "utf-8"),
        ("8859/1", "latin-1"),
        ("8859/15", "iso8859-15"),
        ("", "utf-8"),
        ("UNICODE UTF-8~8859/1", "utf-8"),
    ],
)
def test_accents_in_every_character_set(charset: str, codec: str) -> None:
    said = taken(oru(findings("Neumotórax; índice; ñ"), charset=charset), codec)
    assert said.sections.findings == "Neumotórax; índice; ñ"
    assert said.identity.patient_name == "Muñoz^Ángela"


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        pytest.param("8859/1", "latin-1", "Neumot\\XF3\\rax.\\X0D0A\\Sin más.", id="8859/1"),
        pytest.param("", "utf-8", "Neumot\\XC3B3\\rax.\\X0D\\Sin más.", id="UTF-8"),
        pytest.param("", "utf-8", "Neumot\\XC3\\\\XB3\\rax.\\X0a\\Sin más.", id="byte by byte"),
    ],
)
def test_bytes_in_hexadecimal_are_of_the_declared_set(charset: str, codec: str, text: str) -> None:
    said = taken(oru(findings(text), charset=charset), codec)
    assert said.sections.findings == "Neumotórax.\nSin más."


@pytest.mark.parametrize(
    ("status", "kind"),
    [("P", "findings"), ("R", "findings"), ("A", "findings"), ("F", "final"), ("C", "final")],
)
def test_status(status: str, kind: str) -> None:
    assert taken(oru(status=status)).kind == kind


@pytest.mark.parametrize(
    ("message", "codec", "code", "error", "where"),
    [
        pytest.param("hello", "utf-8", "AR", "100", "MSH", id="no HL7"),
        pytest.param(oru(MSH9="ADT^A01"), "utf-8", "AR", "200", "MSH-9", id="not ORU"),
        pytest.param(oru(MSH11="T"), "utf-8", "AR", "202", "MSH-11", id="training"),
        pytest.param(oru(MSH12="9.9"), "utf-8", "AR", "203", "MSH-12", id="version"),
        pytest.param(oru(charset="8859/7"), "utf-8", "AE", "103", "MSH-18", id="unknown set"),
        pytest.param(oru(), "latin-1", "AE", "102", "MSH-18", id="latin-1 said to be UTF-8"),
        pytest.param(
            oru(charset="8859/1"), "utf-8", "AE", "102", "MSH-18", id="UTF-8 said to be latin-1"
        ),
        pytest.param(
            oru(charset="8859/1").replace("Á", "á"), "utf-8", "AE", "102", "MSH-18",
            id="the same without a control character",
        ),
        pytest.param(oru(charset="ASCII"), "utf-8", "AE", "102", "MSH-18", id="not ASCII"),
        pytest.param(oru(charset=""), "latin-1", "AE", "102", "MSH-18", id="no set, not UTF-8"),
        pytest.param(
            oru(findings("«10 µ»\x93x\x94"), charset="8859/1"), "latin-1", "AE", "102", "MSH-18",
            id="Windows-1252 said to be latin-1",
        ),
        pytest.param(
            oru(findings("Neumot\\XF3\\rax.")), "utf-8", "AE", "102", "OBX-5",
            id="latin-1 in hexadecimal, said to be UTF-8",
        ),
        pytest.param(oru(("1^Nota^L", "x")), "utf-8", "AE", "101", "OBX", id="no findings"),
        pytest.param(oru(findings("")), "utf-8", "AE", "101", "OBX", id="empty findings"),
        pytest.param(oru(status="X"), "utf-8", "AE", "103", "OBR-25", id="cancelled"),
        pytest.param(oru(patient=""), "utf-8", "AE", "101", "PID-3", id="no patient"),
        pytest.param(oru(study="1..2"), "utf-8", "AE", "102", "OBX-5", id="no UID"),
        pytest.param(
            oru(study="", accession="", filler=""), "utf-8", "AE", "101", "OBR-3", id="no order"
        ),
        pytest.param(
            oru() + oru()[oru().index("PID|") :], "utf-8", "AE", "100", "PID", id="two patients"
        ),
        pytest.param(
            oru() + "OBR|2||F2\rOBX|1|TX|59776-5^x^LN||Otro.||||||P\r", "utf-8", "AE", "100",
            "OBR", id="two orders with texts",
        ),
        pytest.param(
            oru() + "XX|1\r", "utf-8", "AE", "100", "MSH", id="no segment"
        ),
    ],
)  # fmt: skip
def test_refused(message: str, codec: str, code: str, error: str, where: str) -> None:
    found = read(message.encode(codec), "P")
    assert isinstance(found, Refused)
    assert (found.code, found.error, found.where) == (code, error, where)
    assert "Muñoz" not in found.why


@pytest.mark.parametrize(
    ("field", "reader"),
    [
        ("123&Ruiz&Eva", "123"),
        ("&Ruiz&Eva", "Ruiz Eva"),
        ("", ""),
    ],
)
def test_who_signs(field: str, reader: str) -> None:
    assert taken(oru(status="F", reader=field)).reader == reader


def test_the_medical_record_number_comes_first() -> None:
    said = taken(oru(patient="999^^^SNS^NI~P1^^^HOSPITAL^MR"))
    assert said.patients == (("P1", "HOSPITAL"), ("999", "SNS"))


@pytest.mark.parametrize(
    "texts",
    [
        [findings("Uno.\\.br\\Dos."), impression("Tres.")],
        [findings("Uno. IMPRESIÓN: Dos."), impression("Tres.")],
        [("18748-4^Report^LN", "Prosa. HALLAZGOS: Uno. IMPRESIÓN: Tres.")],
        [("1^Datos clínicos^L", "tos"), ("2^Hallazgos^L", "Uno."), ("3^Juicio clínico^L", "Tres.")],
    ],
)
def test_a_final_report_teaches_what_was_read_of_it(texts: list[tuple[str, str]]) -> None:
    message = oru(*texts, status="F")
    (taught,) = corpus_oru.reports(message.encode())
    assert isinstance(taught, corpus_oru.Final)
    assert taught.sections == taken(message).sections


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Mu\\T\\oz^Ángela^^Jr^Dra", "Mu&oz^Ángela^^Dra^Jr"),
        ("van Dam&van&Dam^Ángela", "van Dam^Ángela"),
        ("van Dam&van&Dam^Ángela^^^^^L^A", "van Dam^Ángela"),
    ],
)
def test_a_name_is_its_first_subcomponent_whole(sent: str, name: str) -> None:
    assert taken(oru().replace("Muñoz^Ángela", sent)).identity.patient_name == name


def test_an_issuer_is_its_first_subcomponent_whole() -> None:
    said = taken(oru(patient="P1^^^A\\T\\B&1.2.3&ISO^MR"))
    assert said.patients == (("P1", "A&B"),)


@pytest.mark.parametrize("status", ["D", "W", "X"])
def test_a_text_that_its_author_withdrew_is_not_read(status: str) -> None:
    """W above all: posted under the wrong patient (table 0085)."""
    message = oru(findings("Uno."), findings("Dos."), status="C")
    withdrawn = message.replace("Uno.||||||C", f"Uno.||||||{status}")
    assert withdrawn != message
    assert taken(withdrawn).sections == Sections("Dos.")
    nothing = oru(findings("Uno.")).replace("Uno.||||||P", f"Uno.||||||{status}")
    assert isinstance(read(nothing.encode(), "P"), Refused)
