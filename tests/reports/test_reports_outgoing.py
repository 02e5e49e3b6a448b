"""Which reports an analysis gives; the same input, the same bytes; names stay inside."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest
from report_cases import (
    ALGORITHM,
    KINDS,
    MADE_AT,
    OPTIONS,
    RIS,
    absent,
    analysis,
    full,
    present,
    read,
    refused,
    source,
    study,
    undetermined,
    written,
)

from processors.analysis import Analysis, Status
from reports import Options, ReportError, identity, uids, write_all

ALL_ABSENT = ["text_report", "hl7_oru"]
DICOM = ["overlay", "strip", "structured_report", "text_report"]


def broken(one):
    return Analysis(one.uid, "chest", ALGORITHM, Status.FAILED, "timed out")


@pytest.mark.parametrize(
    ("told", "kinds", "expected"),
    [
        pytest.param(lambda o, s: full(o, s), KINDS, [*DICOM, "hl7_oru"], id="present"),
        pytest.param(
            lambda o, s: analysis(o, (undetermined(s),)),
            KINDS,
            ["overlay", "text_report", "hl7_oru"],
            id="undetermined without region",
        ),
        pytest.param(lambda o, s: analysis(o, (absent(s),)), KINDS, ALL_ABSENT, id="all absent"),
        pytest.param(lambda o, s: analysis(o, ()), KINDS, ALL_ABSENT, id="no finding"),
        pytest.param(lambda o, s: refused(o), ["text_report"], ["text_report"], id="unsuitable"),
        pytest.param(lambda o, s: refused(o), KINDS, ALL_ABSENT, id="unsuitable, all asked for"),
        pytest.param(lambda o, s: refused(o), [], [], id="unsuitable, nothing asked for"),
        pytest.param(lambda o, s: broken(o), KINDS, [], id="failed"),
        pytest.param(
            lambda o, s: full(o, s), ["hl7_oru"], ["hl7_oru"], id="only what is asked for"
        ),
    ],
)
def test_what_goes_out(told, kinds, expected: list[str]):
    image = source()
    one = study(image)
    found = write_all(told(one, image), one, OPTIONS, MADE_AT, kinds)
    assert [report.kind for report in found] == expected


def test_unknown_kind():
    one = study()
    with pytest.raises(ReportError, match="parametric_map"):
        write_all(refused(one), one, OPTIONS, MADE_AT, ["parametric_map"])


@pytest.mark.parametrize("strip", ["cine", "single_frames", "mosaic"])
@pytest.mark.parametrize("language", ["en", "es"])
def test_same_input_same_bytes(language, strip):
    options = replace(OPTIONS, language=language, strip=strip)

    def once():
        image = source()
        one = study(image)
        return write_all(full(one, image), one, options, MADE_AT, KINDS)

    assert [r.payload for r in once()] == [r.payload for r in once()]


def test_same_bytes_in_another_process():
    """Nothing hangs on the order of sets, on hash seeds or on what ran before."""
    program = (
        "import hashlib, report_cases as c;"
        "print({k: hashlib.sha256(r.payload).hexdigest() for k, r in sorted(c.written().items())})"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_order_of_arrival_does_not_matter():
    images = [source(1), source(2)]
    found = []
    for order in (images, images[::-1]):
        one = study(*order)
        told = analysis(one, (present(images[0]),))
        found.append(uids.result_key(told, one, OPTIONS))
    assert found[0] == found[1]


OTHER = [
    ("model", lambda a: replace(a, algorithm=replace(ALGORITHM, name="x")), OPTIONS),
    ("version", lambda a: replace(a, algorithm=replace(ALGORITHM, version="2")), OPTIONS),
    ("weights", lambda a: replace(a, algorithm=replace(ALGORITHM, sha256="f" * 64)), OPTIONS),
    ("processor", lambda a: replace(a, processor="other"), OPTIONS),
    ("finding", lambda a: replace(a, findings=a.findings[1:]), OPTIONS),
    ("note", lambda a: replace(a, notes=()), OPTIONS),
    ("settings", lambda a: a, replace(OPTIONS, config_digest="1")),
    ("language", lambda a: a, replace(OPTIONS, language="es")),
    ("label", lambda a: a, replace(OPTIONS, label="Another label, not for diagnostic use.")),
    ("program", lambda a: a, replace(OPTIONS, version="0.2.0")),
    ("fewer documents", lambda a: a, replace(OPTIONS, companions=("text_report",))),
    ("predecessor", lambda a: a, replace(OPTIONS, predecessors={"text_report": "1.2"})),
]


@pytest.mark.parametrize(("change", "options"), [o[1:] for o in OTHER], ids=[o[0] for o in OTHER])
def test_another_result_has_other_uids(change, options: Options):
    image = source()
    one = study(image)
    base = full(one, image)
    key = uids.result_key(base, one, OPTIONS)
    other = uids.result_key(change(base), one, options)
    for kind in DICOM:
        assert uids.instance_uid(key, kind) != uids.instance_uid(other, kind)
    assert uids.control_id(key, RIS) != uids.control_id(other, RIS)


def test_timings_do_not_change_the_uid():
    image = source()
    one = study(image)
    told = full(one, image)
    slow = replace(told, timings_ms={"encode": 99.0})
    assert uids.result_key(told, one, OPTIONS) == uids.result_key(slow, one, OPTIONS)


def test_uids_are_valid_and_distinct():
    reports = [report for report in written().values() if report.kind != "hl7_oru"]
    made = [read(report) for report in reports]
    every = [str(m.SOPInstanceUID) for m in made] + [str(m.SeriesInstanceUID) for m in made]
    assert len(set(every)) == len(every)
    for uid in every:
        assert uid.startswith("2.25.")
        assert len(uid) <= 44
        assert not uid.split(".")[2].startswith("0")
    numbers = [m.SeriesNumber for m in made]
    assert numbers == [9801, 9802, 9803, 9804]


def test_analysis_of_another_study_is_refused():
    image = source()
    one = study(image)
    told = replace(full(one, image), study_instance_uid="1.2.3")
    with pytest.raises(ReportError, match="same study"):
        write_all(told, one, OPTIONS, MADE_AT, KINDS)


def test_time_without_offset_is_refused():
    image = source()
    one = study(image)
    with pytest.raises(ReportError, match="offset"):
        write_all(full(one, image), one, OPTIONS, datetime(2026, 11, 20), KINDS)


def test_without_patient_id_the_text_says_why_no_message():
    reports = written(PatientID=None)
    assert "hl7_oru" not in reports
    said = [str(item.TextValue) for item in _texts(read(reports["text_report"]))]
    assert any("No HL7 message" in text for text in said)


def _texts(root):
    for item in root.get("ContentSequence", []):
        if item.ValueType == "TEXT":
            yield item
        yield from _texts(item)


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"PatientName": "Zacarías"}, id="one part"),
        pytest.param({"PatientBirthDate": "1965-03-04", "PatientName": "Zacarías^X"}, id="date"),
        pytest.param({"StudyID": "Zacarías de un nombre demasiado largo"}, id="too long"),
    ],
)
def test_phi_in_logs_of_the_writers(attributes, caplog: pytest.LogCaptureFixture, capfd):
    """Neither a warning nor a log line of the libraries carries a name out of this room."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = source(**attributes)
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        written(image)
    shown = " ".join([*(str(w.message) for w in caught), caplog.text, *capfd.readouterr()])
    assert "Zacar" not in shown
    assert "1965" not in shown
    assert caught == []


def test_many_findings_name_what_is_left_out():
    image = source()
    one = study(image)
    many = tuple(replace(undetermined(image), label=f"finding {n}") for n in range(9))
    reports = write_all(analysis(one, many), one, OPTIONS, MADE_AT, KINDS)
    assert Counter(report.kind for report in reports)["overlay"] == 1


def test_import_needs_no_torch():
    program = "import sys, reports; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_phi_in_logs_quiet_ends_with_its_block(caplog: pytest.LogCaptureFixture):
    talkative = logging.getLogger("pydicom")
    with identity.quiet():
        with identity.quiet():
            talkative.warning("inner Zacarías")
        talkative.warning("outer Zacarías")
        warnings.warn("Zacarías", stacklevel=1)
    assert caplog.text == ""
    talkative.warning("later")
    assert "later" in caplog.text
