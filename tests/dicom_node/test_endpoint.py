"""A model behind HTTP, over real sockets on loopback: what leaves the house, what comes back."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import foreign_bundles as foreign
import numpy as np
import pytest
from endpoint_server import Remote, picture_of, running
from pydantic import ValidationError

from config.settings import Endpoint
from dicom_node.endpoint import poster
from processors import kinds
from processors.adapters import http_endpoint
from processors.adapters.http_endpoint import (
    AnswerInvalid,
    EndpointRefuses,
    EndpointSilent,
    TooLarge,
    age_band,
)
from processors.analysis import Status

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PROTOCOL = ["DERIVED", "SECONDARY", "OTHER", "PROT"]  # a page of a CT's settings, with the name


@pytest.fixture
def remote() -> Iterator[Remote]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign.endpoint_card(tmp_path_factory.mktemp("card") / "remote")


def asked(url: str, card: Path, pixels: str = "png", **limits: Any) -> Any:
    settings = Endpoint(url=url, timeout=1.0, **{"attempts": 1, **limits})
    wanted = kinds.Wanted("far", str(card), "en", post=poster(settings), pixels=pixels)
    return kinds.build("http_endpoint", wanted)


@pytest.mark.parametrize(("pixels", "near"), [("png", 1e-4), ("npy", 0)])
def test_findings_come_back(remote: Remote, card: Path, pixels: str, near: float) -> None:
    study = foreign.study(foreign.film())
    analysis = asked(remote.url, card, pixels).analyse(study)
    picture = study.pixels(study.instances[0].uid, 1)
    nodule, effusion = analysis.findings
    assert nodule.probability == pytest.approx(float(picture.max()), abs=near)
    assert effusion.probability == pytest.approx(float(picture.min()), abs=near)
    assert nodule.regions[0].points == ((24, 24), (48, 24), (48, 48), (24, 24))
    assert (analysis.algorithm.version, analysis.algorithm.weights) == ("2.1.0", "unknown")
    assert any("its weights are not known here" in note for note in analysis.notes)
    headers, body = remote.seen[0]
    assert np.abs(picture_of(headers, body) - picture).max() <= near


def test_nothing_of_the_patient_leaves(remote: Remote, card: Path) -> None:
    dataset = foreign.film(ViewPosition="PA")
    asked(remote.url, card).analyse(foreign.study(dataset))
    asked(remote.url, card).analyse(foreign.study(dataset))
    (headers, body), (again, _) = remote.seen
    sent = (json.dumps(headers) + body.decode("latin-1")).encode()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "AccessionNumber",
                    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):  # fmt: skip
        for part in str(dataset[keyword].value).split("^"):
            assert part.encode() not in sent, keyword
    said = {k: v for k, v in headers.items() if k.startswith("X-") and k != "X-Request"}
    assert said == {"X-Modality": "CR", "X-View": "PA", "X-Age-Band": "40-64"}
    assert headers["X-Request"] != again["X-Request"]
    assert set(headers) - set(said) == {
        "Host", "Accept-Encoding", "Content-Length", "User-Agent", "Content-Type", "Accept",
        "X-Request",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("years", "band"),
    [(0, "0-1"), (5, "2-5"), (17, "13-17"), (18, "18-39"), (90, "65-120"), (None, "unknown")],
)
def test_age_bands(years: int | None, band: str) -> None:
    assert age_band(years) == band


@pytest.mark.parametrize(
    ("said", "leaves"),
    [
        ({"Modality": "DX", "BurnedInAnnotation": "NO"}, True),
        ({"Modality": "DX", "BurnedInAnnotation": ""}, True),
        ({"Modality": "DX", "BurnedInAnnotation": "YES"}, False),
        ({"Modality": "US", "BurnedInAnnotation": ""}, False),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, True),
        ({"SOPClassUID": CAPTURE, "BurnedInAnnotation": ""}, False),
        ({"SOPClassUID": CAPTURE, "BurnedInAnnotation": "NO"}, True),
        ({"ConversionType": "DF", "BurnedInAnnotation": ""}, False),
        ({"Modality": "CT", "ImageType": PROTOCOL, "BurnedInAnnotation": ""}, False),
        ({"Modality": "CT", "ImageType": ["DERIVED", "PRIMARY", "AXIAL"], "BurnedInAnnotation": ""},
         True),
    ],
)  # fmt: skip
def test_an_image_with_text_in_it_stays(said: dict[str, str], leaves: bool) -> None:
    assert http_endpoint.may_leave(foreign.film(**said)) is leaves


def test_a_study_with_text_in_it_is_refused_and_not_sent(remote: Remote, card: Path) -> None:
    study = foreign.study(foreign.film(BurnedInAnnotation="YES"))
    analysis = asked(remote.url, card).analyse(study)
    assert (analysis.status, analysis.kind) == (Status.UNSUITABLE, "burned-in")
    assert remote.seen == []


@pytest.mark.parametrize(
    ("mode", "error", "message"),
    [
        ("silent", EndpointSilent, "does not answer"),
        ("drips", EndpointSilent, "does not answer"),
        ("slow head", EndpointSilent, "timed out"),
        ("goes on and on", EndpointSilent, "timed out"),
        ("hangs up", EndpointSilent, "does not answer"),
        ("cut", EndpointSilent, "does not answer"),
        ("500", EndpointSilent, "HTTP 500"),
        ("503", EndpointSilent, "HTTP 503"),
        ("401", EndpointRefuses, "HTTP 401"),
        ("404", EndpointRefuses, "endpoint.url"),
        ("redirect", EndpointRefuses, "sends us elsewhere"),
        ("huge", TooLarge, "more than 1048576 bytes"),
        ("no json", AnswerInvalid, "what the contract says"),
        ("nan", AnswerInvalid, "probability|JSON"),
        ("over one", AnswerInvalid, "probability"),
        ("extra key", AnswerInvalid, "patient"),
        ("other request", AnswerInvalid, "another request"),
        ("unknown label", AnswerInvalid, "fracture"),
        ("label twice", AnswerInvalid, "each once"),
        ("outside", AnswerInvalid, "outside the image"),
        ("key twice", AnswerInvalid, "a key stands in it twice"),
        ("deep", AnswerInvalid, "what the contract says"),
        ("rude", EndpointSilent, r"\\x1b"),
        ("no end of words", EndpointSilent, r"xxx\.\.\."),
        ("rude key", AnswerInvalid, r"\\x1b\[2Jkk"),
        ("rude label", AnswerInvalid, r"\\x1b"),
    ],
)
def test_a_bad_answer_fails_with_its_reason(
    remote: Remote, card: Path, mode: str, error: type[Exception], message: str
) -> None:
    remote.mode, begin = mode, time.monotonic()
    with pytest.raises(error, match=message) as why:
        asked(remote.url, card).analyse(foreign.study(foreign.film()))
    assert len(str(why.value)) < 500
    assert str(why.value).isprintable()
    assert time.monotonic() - begin < 3  # the limit is one second for the whole answer


@pytest.mark.parametrize(
    ("mode", "tries"), [("500", 3), ("404", 1), ("redirect", 1), ("no json", 1), ("huge", 1)]
)
def test_only_what_may_pass_is_tried_again(
    remote: Remote, card: Path, mode: str, tries: int
) -> None:
    remote.mode = mode
    with pytest.raises(http_endpoint.EndpointError):
        asked(remote.url, card, attempts=3).analyse(foreign.study(foreign.film()))
    assert len(remote.seen) == tries


def test_an_endpoint_that_recovers_is_believed(remote: Remote, card: Path) -> None:
    remote.mode, remote.failures = "then well", 2
    analysis = asked(remote.url, card, attempts=3).analyse(foreign.study(foreign.film()))
    assert analysis.status is Status.COMPLETED
    assert len({headers["X-Request"] for headers, _ in remote.seen}) == 1


def test_two_versions_in_one_study_are_refused(remote: Remote, card: Path) -> None:
    remote.mode = "new version each time"
    films = [foreign.film(), foreign.film(SOPInstanceUID=foreign.uid("second"))]
    with pytest.raises(AnswerInvalid, match=r"2\.1\.0 and 2\.2\.0"):
        asked(remote.url, card).analyse(foreign.study(*films))


def test_an_image_larger_than_agreed_is_not_sent(remote: Remote, card: Path) -> None:
    with pytest.raises(TooLarge, match="largest_request"):
        asked(remote.url, card, largest_request=1024).analyse(foreign.study(foreign.film()))
    assert remote.seen == []


def test_nobody_there(card: Path) -> None:
    with pytest.raises(EndpointSilent, match="refused"):
        asked("http://127.0.0.1:9/", card).analyse(foreign.study(foreign.film()))


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "server.pem", tmp_path / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", made[0], "-keyout",
         made[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return made


def test_tls_with_the_site_s_own_authority(
    certificate: tuple[Path, Path], card: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with running(certificate) as remote:
        processor = asked(remote.url, card, trusted=certificate[0], token_file=token)
        assert processor.analyse(foreign.study(foreign.film())).status is Status.COMPLETED
        assert remote.seen[0][0]["Authorization"] == "Bearer secret"


def test_a_certificate_that_nobody_vouches_for(certificate: tuple[Path, Path], card: Path) -> None:
    with running(certificate) as remote:
        with pytest.raises(EndpointRefuses, match=r"endpoint\.trusted"):
            asked(remote.url, card).analyse(foreign.study(foreign.film()))
        assert remote.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example.org/v1", "ftp://127.0.0.1/x", "https://", "https://u:p@h/x", "h/x",
        "https://h/x#part",
    ],
)  # fmt: skip
def test_addresses_that_no_image_may_go_to(url: str) -> None:
    with pytest.raises(ValidationError):
        Endpoint(url=url)


def test_a_card_with_weights_is_no_endpoint_s(
    card: Path, tmp_path: Path, copied_with_weights: Callable[[Path], Path]
) -> None:
    with pytest.raises(http_endpoint.UnsafeBundle, match="has weights"):
        asked("http://127.0.0.1:9/", copied_with_weights(card))


@pytest.fixture
def copied_with_weights(tmp_path: Path) -> Callable[[Path], Path]:
    def made(card: Path) -> Path:
        folder = tmp_path / "copy"
        foreign.endpoint_card(folder)
        foreign.save(folder, foreign.xray_network().state_dict())
        foreign.write_checksums(folder)
        return folder

    return made


def test_a_token_that_is_not_there(card: Path, tmp_path: Path) -> None:
    with pytest.raises(EndpointRefuses, match="token_file"):
        asked("http://127.0.0.1:9/", card, token_file=tmp_path / "nothing")


@pytest.mark.parametrize("token", ["", " \n", "two\nlines", "tok€n", "tok\x00en"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_quoted(
    card: Path, tmp_path: Path, token: str
) -> None:
    (tmp_path / "token").write_text(token)
    with pytest.raises(EndpointRefuses, match="holds no token") as why:
        asked("http://127.0.0.1:9/", card, token_file=tmp_path / "token")
    assert not token.strip() or token.strip() not in str(why.value)
