"""What goes wrong with studies and patients, through the whole node between Orthanc and a RIS.

One node for all of these tests; each sends studies of its own.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from system import films
from system.node import wait_for
from system.trial import Bench

from storage import Run, RunState, Storage, StudyState

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(180)]
SR = "1.2.840.10008.5.1.4.1.1.88."
SC = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("clinical")) as made:
        yield made


@pytest.fixture(scope="module")
def storage(bench: Bench) -> Iterator[Storage]:
    with bench.node.storage() as opened:
        yield opened


def sent(bench: Bench, *datasets: Dataset) -> str:
    """Send instances of one study; its UID."""
    assert set(films.send(bench.node.port, *datasets)) == {0}
    return str(datasets[0].StudyInstanceUID)


def ended(storage: Storage, uid: str, runs: int = 1) -> list[Run]:
    """Wait until the study has so many ended runs and nothing more to send."""

    def done() -> list[Run]:
        found = list(storage.runs.list(study_uid=uid))
        over = [run for run in found if run.ended_at]
        open_ones = [d for d in storage.outbox.list(study_uid=uid, limit=1000) if not d.ended_at]
        return found if len(over) >= runs and len(over) == len(found) and not open_ones else []

    return wait_for(done, 60, f"{runs} ended runs, and all delivered")


def message_of(bench: Bench, storage: Storage, run: Run) -> list[list[str]]:
    """The segments of the run's ORU as the RIS got it."""
    control = next(r.uid for r in storage.runs.reports(run.id) if r.kind == "hl7_oru")
    raw = bench.ris.messages[bench.ris.controls().index(control)]
    return [segment.split("|") for segment in raw.decode().split("\r") if segment]


def segments(message: list[list[str]], name: str) -> list[list[str]]:
    return [segment for segment in message if segment[0] == name]


def another(film: Dataset, name: str, **changes: Any) -> Dataset:
    """One more instance of the same study and series, of a slightly different picture."""
    more = copy.deepcopy(film)
    more.SOPInstanceUID = films.uid("instance", name)
    more.InstanceNumber = int(film.InstanceNumber or 1) + 1
    pixels = bytearray(film.PixelData)
    pixels[1000] ^= 1
    more.PixelData = bytes(pixels)
    for keyword, value in changes.items():
        setattr(more, keyword, value)
    more.file_meta.MediaStorageSOPInstanceUID = more.SOPInstanceUID
    more.file_meta.MediaStorageSOPClassUID = more.SOPClassUID
    return more


def test_late_images_make_a_new_result_that_names_its_predecessor(
    bench: Bench, storage: Storage
) -> None:
    film = films.ill("late")
    uid = sent(bench, film)
    (first,) = ended(storage, uid)
    sent(bench, another(film, "late-2"))
    older, newer = ended(storage, uid, runs=2)
    assert older.id == first.id
    assert newer.predecessor == first.id
    assert (older.state, newer.state) == (RunState.COMPLETED, RunState.COMPLETED)
    assert len(newer.instances) == 2
    old_uids = {r.uid for r in storage.runs.reports(older.id)}
    new = {r.uid for r in storage.runs.reports(newer.id)}
    assert not old_uids & new
    documents = [
        h for h in bench.pacs.results()[uid] if h.uid in new and h.sop_class.startswith(SR)
    ]
    assert documents
    for held in documents:
        dataset = bench.pacs.dataset(held)
        named = {
            str(item.ReferencedSOPInstanceUID)
            for study in dataset.PredecessorDocumentsSequence
            for series in study.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        }
        assert named
        assert named <= old_uids
    before, after = (message_of(bench, storage, run) for run in (older, newer))
    assert before[0][9] != after[0][9]
    assert segments(after, "OBR")[0][25] == "P"
    assert any(before[0][9] in "|".join(note) for note in segments(after, "NTE"))


def test_duplicate_study_is_counted_and_not_judged_again(bench: Bench, storage: Storage) -> None:
    film = films.restamped(films.films(1)[0], "twice")
    uid = sent(bench, film)
    ended(storage, uid)
    results, messages = bench.pacs.results()[uid], len(bench.ris.messages)
    sent(bench, film)
    time.sleep(2.0)
    assert len(ended(storage, uid)) == 1
    assert [instance.repeats for instance in storage.studies.instances(uid)] == [1]
    assert bench.pacs.results()[uid] == results
    assert len(bench.ris.messages) == messages


def test_own_loop_results_that_come_back_are_no_input(bench: Bench, storage: Storage) -> None:
    film = films.ill("loop")
    uid = sent(bench, film)
    (run,) = ended(storage, uid)
    back = bench.pacs.results()[uid]
    assert {held.uid for held in back} == {
        r.uid for r in storage.runs.reports(run.id) if r.kind != "hl7_oru"
    }
    bench.pacs.send([held.orthanc_id for held in back])  # Orthanc fails unless all get 0000
    foreign = bench.pacs.dataset(next(held for held in back if held.sop_class.startswith(SC)))
    foreign.SOPInstanceUID = films.uid("another node's result")  # known by its equipment alone
    foreign.file_meta.MediaStorageSOPInstanceUID = foreign.SOPInstanceUID
    assert films.send(bench.node.port, foreign) == [0]
    time.sleep(2.0)
    assert [i.sop_uid for i in storage.studies.instances(uid)] == [film.SOPInstanceUID]
    assert len(storage.runs.list(study_uid=uid)) == 1
    assert {held.uid for held in bench.pacs.results()[uid]} == {held.uid for held in back}


def test_demographics_update_after_the_analysis(bench: Bench, storage: Storage) -> None:
    film = films.ill("renamed", PatientName="Ejemplo^Antes")
    uid = sent(bench, film)
    (first,) = ended(storage, uid)
    before = {held.uid for held in bench.pacs.results()[uid]}
    sent(bench, another(film, "renamed-2", PatientName="Ejemplo^Después"))
    _, newer = ended(storage, uid, runs=2)
    assert newer.predecessor == first.id
    held = bench.pacs.results()[uid]
    assert before < {h.uid for h in held}
    for one in held:
        name = str(bench.pacs.dataset(one).PatientName)
        assert name == ("Ejemplo^Antes" if one.uid in before else "Ejemplo^Después")


def test_blank_accession(bench: Bench, storage: Storage) -> None:
    film = films.ill("blank", AccessionNumber="")
    uid = sent(bench, film)
    (run,) = ended(storage, uid)
    message = message_of(bench, storage, run)
    (order,) = segments(message, "OBR")
    assert order[3]
    assert len(order[3]) <= 22
    assert order[18] == ""
    assert any(uid in segment[5] for segment in segments(message, "OBX"))
    results = [bench.pacs.dataset(held) for held in bench.pacs.results()[uid]]
    assert results
    assert {str(dataset.AccessionNumber or "") for dataset in results} == {""}


@pytest.mark.parametrize("when", ["at once", "after the result"])
def test_wrong_patient_holds_the_study(bench: Bench, storage: Storage, when: str) -> None:
    film = films.restamped(films.films(1)[0], f"wp {when[:5]}")
    wrong = another(film, f"wrong {when}", PatientID="SOMEBODY-ELSE")
    if when == "at once":
        uid = sent(bench, film, wrong)
        expected = 0
    else:
        uid = sent(bench, film)
        expected = len(ended(storage, uid))
        sent(bench, wrong)
    time.sleep(2.0)
    study = storage.studies.get(uid)
    assert study is not None
    assert study.state is StudyState.HELD
    assert len([r for r in storage.runs.list(study_uid=uid) if r.ended_at]) == expected
    results = bench.pacs.results().get(uid, [])
    assert bool(results) == bool(expected)
    assert all(str(bench.pacs.dataset(h).PatientID) == film.PatientID for h in results)
    (alarm,) = [
        r for r in storage.audit.list(study_uid=uid, limit=1000) if r.entry.event == "110113"
    ]
    assert alarm.entry.details["patient_of_study"] != alarm.entry.details["patient_received"]
    assert "SOMEBODY-ELSE" not in str(alarm.entry)


def test_two_patients_under_one_study_uid(bench: Bench, storage: Storage) -> None:
    film = films.restamped(films.films(1)[0], "two a")
    other = films.restamped(films.films(2)[1], "two b")
    other.StudyInstanceUID = film.StudyInstanceUID
    uid = sent(bench, film, other)
    time.sleep(2.0)
    study = storage.studies.get(uid)
    assert study is not None
    assert study.state is StudyState.HELD
    assert not [r for r in storage.runs.list(study_uid=uid) if r.ended_at]
    assert uid not in bench.pacs.results()
    told = bench.node.cli("explain", uid).stdout
    assert "patient" in told
    books = bench.node.books()
    assert books.difference == 0
    assert books.columns["held"] >= 1


def test_secondary_capture_in_the_study_is_skipped_and_said(bench: Bench, storage: Storage) -> None:
    film = films.restamped(films.films(1)[0], "scan")
    scan = another(
        film, "scan-2", SOPClassUID=SC, Modality="OT", ImageType=["DERIVED", "SECONDARY"],
        ConversionType="SD",
    )  # fmt: skip
    uid = sent(bench, film, scan)
    (run,) = ended(storage, uid)
    assert run.instances == (film.SOPInstanceUID,)
    assert len(storage.studies.instances(uid)) == 2
    assert "secondary capture" in bench.node.cli("explain", uid).stdout


def test_lateral_view_through_the_node(bench: Bench, storage: Storage) -> None:
    uid = sent(bench, films.lateral("lateral"))
    (run,) = ended(storage, uid)
    assert run.state is RunState.UNSUITABLE
    assert {r.kind for r in storage.runs.reports(run.id)} == {"text_report", "hl7_oru"}
    analysis = storage.runs.analysis(run.id)
    assert analysis is not None
    assert analysis["findings"] == []
    assert "not a frontal chest view" in run.reason


def test_file_vanished_behind_the_node_s_back(bench: Bench, storage: Storage) -> None:
    gone, good = (
        films.restamped(films.films(1)[0], "gone"),
        films.restamped(films.films(1)[0], "on"),
    )
    assert films.send(bench.node.port, gone) == [0]
    uid = str(gone.StudyInstanceUID)
    # its row is made behind the answer
    (stored,) = wait_for(lambda: storage.studies.instances(uid), 10, "a row")
    storage.spool.remove(stored.path)
    assert films.send(bench.node.port, good) == [0]
    (run,) = ended(storage, uid)
    assert run.state is RunState.FAILED
    assert "missing" in run.reason.lower()
    assert storage.runs.reports(run.id) == ()
    (other,) = ended(storage, str(good.StudyInstanceUID))
    assert other.state is RunState.COMPLETED
    assert bench.node.books().columns["failed"] >= 1
    assert re.search(r'dictamen_runs_total\{[^}]*"failed"', bench.node.get("/metrics")[1])


def test_phi_in_logs(bench: Bench, storage: Storage, tmp_path: Path) -> None:
    """Names, numbers and dates pass through every way that a study can go; none gets into a log."""
    planted = {
        "PatientName": "Plantado Ñandú^Xiomara", "PatientID": "PID-7788990011",
        "AccessionNumber": "ACC-5544332211", "PatientBirthDate": "19471103",
        "ReferringPhysicianName": "Derivante^Quirino", "StudyDescription": "Secreto Zulú",
    }  # fmt: skip
    base = films.ill("phi")
    good = films.restamped(base, "phi", **planted)
    broken = films.restamped(base, "phi b", **planted)
    broken.PixelData = broken.PixelData[:1000]
    unclear = films.restamped(base, "phi c", **planted)
    unclear.SpecificCharacterSet = "ISO_IR 6"  # says that there is no Ñ in it
    wrong = another(good, "phi wrong", PatientID="PID-1122334455")
    for dataset in (good, broken, unclear, films.restamped(films.lateral(), "phi lat", **planted)):
        films.send(bench.node.port, dataset)
    films.send(bench.node.port, good, calling="STRANGER")
    wait_for(lambda: bench.node.books().columns.get("waiting", 0) == 0, 60, "all ended")
    uid = str(good.StudyInstanceUID)  # sent before `wrong` holds the study: then nothing leaves
    wait_for(lambda: all(d.ended_at for d in storage.outbox.list(study_uid=uid)), 60, "sent")
    films.send(bench.node.port, wrong)
    bench.node.kill("worker")
    wait_for(lambda: bench.node.get("/readyz")[0] == 200, 60, "the worker is back")
    text = bench.node.log.read_text(errors="replace") + bench.node.get("/metrics")[1]
    secrets = [part for value in planted.values() for part in value.split("^")]
    secrets += ["PID-1122334455", "\\xd1and", "TEST-", str(good.StudyInstanceUID)]
    assert [secret for secret in secrets if secret.lower() in text.lower()] == []
