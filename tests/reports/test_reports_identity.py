"""Whose result it is: sure decoding, and the comparison just before each send."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from report_cases import KINDS, MADE_AT, OPTIONS, full, read, source, study, written

from reports import IdentityUnclear, SourceIdentity, hl7_text, identity, matches, write_all

SURE = {
    "chrArab.dcm": "قباني^لنزار",
    "chrFren.dcm": "Buc^Jérôme",
    "chrFrenMulti.dcm": "Buc^Jérôme",
    "chrGerm.dcm": "Äneas^Rüdiger",
    "chrGreek.dcm": "Διονυσιος",
    "chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw.dcm": "שרון^דבורה",
    "chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti.dcm": "やまだ^たろう",
    "chrJapMultiExplicitIR6.dcm": "やまだ^たろう",
    "chrKoreanMulti.dcm": "김희중",
    "chrRuss.dcm": "Люкceмбypг",
    "chrX1.dcm": "Wang^XiaoDong=王^小東",
    "chrX2.dcm": "Wang^XiaoDong=王^小东",
}


PLAIN = {"PatientName": "DOE^JANE", "ReferringPhysicianName": ""}


def raw_name(charset: str | None, name: bytes, keyword: str = "PatientName") -> Dataset:
    """A source whose attribute is exactly these bytes on the wire, declared in that charset."""
    stand_in = "Z" * len(name)
    terms = "Q" * len(charset or "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = source(SpecificCharacterSet=terms, **PLAIN | {keyword: stand_in})
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, made, implicit_vr=False, little_endian=True)
        wire = buffer.getvalue().replace(stand_in.encode(), name)
        wire = wire.replace(terms.encode(), (charset or "").encode()) if terms else wire
        return pydicom.dcmread(io.BytesIO(wire), force=True)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        pytest.param("ISO_IR 100", "Núñez^Ana".encode("latin-1"), id="latin 1"),
        pytest.param("ISO_IR 192", "Núñez^Ana".encode(), id="utf-8"),
        pytest.param("ISO IR 192", "Núñez^Ana".encode(), id="utf-8, misspelt but unmistakable"),
        pytest.param(None, b"DOE^JANE", id="no charset, plain ASCII"),
        pytest.param("ISO_IR 999", b"DOE^JANE", id="unknown charset, invariant characters"),
    ],
)
def test_sure(charset: str | None, name: bytes):
    header = raw_name(charset, name)
    expected = name.decode("latin-1" if charset == "ISO_IR 100" else "utf-8")
    assert identity.of(header).patient_name == expected


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        pytest.param("ISO_IR 999", "Núñez".encode("latin-1"), id="unknown charset"),
        pytest.param("ISO_IR 999", b"A\\B[C", id="unknown charset, national variants"),
        pytest.param("ISO_IR 192", "Núñez".encode("latin-1"), id="not the UTF-8 it says"),
        pytest.param(None, "Núñez".encode("latin-1"), id="no charset, but not ASCII"),
        pytest.param("ISO_IR 6", "Núñez".encode(), id="default repertoire, but not ASCII"),
        pytest.param("\\ISO 2022 IR 58", "Zhang=\x1b$)A张".encode(), id="escape codes left"),
        pytest.param("ISO_IR 100", b"Nu\x8aez", id="windows letters under latin 1"),
        pytest.param("ISO_IR 100", b"DOE\x00^J", id="control character inside"),
        pytest.param("ISO_IR 100", b"DOE^J\\ROE^R", id="two names in one"),
    ],
)
@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "AccessionNumber"])
def test_ds_charset(charset: str | None, name: bytes, keyword: str):
    header = raw_name(charset, name, keyword)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none may escape: some of them quote the name
        with pytest.raises(IdentityUnclear) as caught:
            identity.of(header)
        with pytest.raises(IdentityUnclear):
            write_all(full(study(header), header), study(header), OPTIONS, MADE_AT, ["text_report"])
    assert "ez" not in str(caught.value)
    assert "Zhang" not in str(caught.value)


@pytest.mark.shared
@pytest.mark.parametrize("file", sorted(SURE))
def test_ds_charset_real_files_keep_their_names(shared: Path, file: str):
    header = pydicom.dcmread(shared / "data/dicom/charsets" / file)
    assert identity.of(header).patient_name == SURE[file]
    for report in written(header).values():
        assert matches(report.payload, report.kind, identity.of(header)) == ()
        if report.kind != "hl7_oru":
            assert read(report).SpecificCharacterSet == "ISO_IR 192"
            assert str(read(report).PatientName) == SURE[file]


@pytest.mark.shared
def test_ds_charset_real_file_with_escape_codes(shared: Path):
    header = pydicom.dcmread(shared / "data/dicom/charsets/chrGB2312.dcm")
    with pytest.raises(IdentityUnclear):
        identity.of(header)


def test_no_study_uid_is_unclear():
    header = source(StudyInstanceUID=None)
    with pytest.raises(IdentityUnclear, match="StudyInstanceUID"):
        identity.of(header)


def changed(**fields: str) -> SourceIdentity:
    known = identity.of(source())
    names = ("study_uid", "patient_id", "issuer", "patient_name", "birth_date", "accession")
    values = {name: getattr(known, name) for name in names}
    return SourceIdentity(**values | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"study_uid": "1.2.3"},
        {"patient_id": "HC-0043"},
        {"issuer": "CLINICA NORTE"},
        {"patient_name": "Ibáñez^María^^Dra.^II"},
        {"patient_name": "Ibanez^Maria Jose^^Dra.^II"},
        {"patient_name": "Ibáñez^María José^^II^Dra."},
        {"patient_name": "Ibáñez^María José^^Dra.^II=井^馬"},
        {"birth_date": "19650305"},
        {"birth_date": ""},
        {"accession": "ACC-78"},
    ],
    ids=lambda fields: " ".join(fields.values()) or "empty",
)
@pytest.mark.parametrize("kind", ["overlay", "structured_report", "text_report", "hl7_oru"])
def test_demographics_update(kind: str, fields: dict[str, str]):
    """Whatever was corrected since the analysis stops the send of every kind of report."""
    report = written()[kind]
    assert matches(report.payload, kind, changed(**fields)) == tuple(fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"patient_name": "Ibáñez ^María José^^Dra.^II^"},
        {"patient_name": "Ibáñez^María José^^Dra.^II=="},
        {"patient_id": "HC-0042 "},
        {"accession": " ACC-77"},
    ],
    ids=["same", "blank at the end of a part", "empty groups", "padded id", "padded accession"],
)
def test_matches_what_means_the_same(fields: dict[str, str]):
    for kind, report in written().items():
        assert matches(report.payload, kind, changed(**fields)) == ()


@pytest.mark.parametrize("kind", ["text_report", "hl7_oru"])
def test_a_damaged_payload_never_matches(kind: str):
    payload = written()[kind].payload
    for damaged in (
        b"",
        payload[:140],
        b"\xff" + payload,
        payload.replace(b"1.2.826", b"1.2.\xe9"),
    ):
        assert matches(damaged, kind, identity.of(source())) != ()


def test_two_studies_in_one_message_never_match():
    payload = written()["hl7_oru"].payload
    extra = payload + b"OBX|99|ST|113014^DICOM Study^DCM||1.2.3||||||O\r"
    assert matches(extra, "hl7_oru", identity.of(source())) == ("payload",)


def test_invalid_birth_date_is_left_out_and_matches():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = source(PatientBirthDate="00000000")
    for kind, report in written(header).items():
        assert matches(report.payload, kind, changed(birth_date="00000000")) == ()
        if kind != "hl7_oru":
            assert read(report).PatientBirthDate == ""


def test_two_patients_in_one_study_are_unclear():
    both = study(source(1), source(2, PatientID="HC-0043"))
    with pytest.raises(IdentityUnclear, match="PatientID"):
        write_all(full(both, source(1)), both, OPTIONS, MADE_AT, ["text_report"])


def test_one_film_with_an_issuer_and_one_without_are_one_patient():
    both = study(source(1), source(2, IssuerOfPatientID=""))
    for report in write_all(full(both, source(1)), both, OPTIONS, MADE_AT, KINDS):
        kind = report.kind
        assert matches(report.payload, kind, identity.of(source())) == ()
        assert matches(report.payload, kind, changed(issuer="")) == ()
    other = study(source(1), source(2, IssuerOfPatientID="CLINICA NORTE"))
    with pytest.raises(IdentityUnclear, match="PatientID"):
        write_all(full(other, source(1)), other, OPTIONS, MADE_AT, ["text_report"])


def test_a_message_without_an_authority_agrees_with_an_issuer_said_later():
    report = written(source(IssuerOfPatientID=""))["hl7_oru"]
    assert b"^^^UNKNOWN^" in report.payload
    assert matches(report.payload, "hl7_oru", identity.of(source())) == ()


STATED = {"patient_name": "Šimić^Ana", "accession": "ACC-99", "birth_date": "19650305"}


def test_what_is_known_of_the_study_stands_in_every_report():
    """A corrected name, whatever the character set of the image that has the older one."""
    header = source(SpecificCharacterSet=None, PatientName="Ibanez^Maria", StudyDescription="Tórax")
    options = replace(OPTIONS, identity=changed(**STATED))
    films = study(header)
    reports = write_all(full(films, header), films, options, MADE_AT, KINDS)
    assert {report.kind for report in reports} >= {"structured_report", "text_report", "hl7_oru"}
    for report in reports:
        assert matches(report.payload, report.kind, changed(**STATED)) == ()
        if report.kind != "hl7_oru":
            assert "StudyDescription" not in read(report)  # not surely decoded, so not copied


@pytest.mark.parametrize(
    "fields",
    [{"patient_id": "HC-0043"}, {"issuer": "CLINICA NORTE"}, {"patient_name": "Mu\ufffdoz"}],
    ids=["another patient", "another issuer", "not decoded"],
)
def test_what_is_known_of_the_study_must_fit_its_images(fields: dict[str, str]):
    options = replace(OPTIONS, identity=changed(**fields))
    films = study(source())
    with pytest.raises(IdentityUnclear):
        write_all(full(films, source()), films, options, MADE_AT, ["text_report"])


@pytest.mark.parametrize(
    ("dicom", "xpn"),
    [
        ("A^B^C^Dr.^Jr.", "A^B^C^Jr.^Dr.^^L^A"),
        ("A", "A^^^^^^L^A"),
        ("", "^^^^^^U"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう",
         "Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P"),
        ("=山田^太郎", "山田^太郎^^^^^L^I"),
        ("O&Neil^A|B~C", "O\\T\\Neil^A\\F\\B\\R\\C^^^^^L^A"),
    ],
)  # fmt: skip
def test_person_name_in_both_orders(dicom: str, xpn: str):
    assert hl7_text.person_name(dicom) == xpn
    assert identity.name_groups(hl7_text.dicom_name(xpn)) == identity.name_groups(dicom)
