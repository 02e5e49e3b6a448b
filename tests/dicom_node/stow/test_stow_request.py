"""What a request asks for, and what each wrong one hears; what an answer says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.settings import Stow
from dicom_node.stow import KeysError, open_keys
from dicom_node.stow.answer import Result, answer
from dicom_node.stow.request import Problem, Wanted, bearer, headers_of, wanted

KIND = 'multipart/related; type="application/dicom"; boundary="a b"'


def _wanted(method: str = "POST", path: str = "/studies", **headers: str) -> Wanted | Problem:
    given = {"content-type": KIND} | {k.replace("_", "-"): v for k, v in headers.items()}
    return wanted(method, path, given)


@pytest.mark.parametrize(
    ("path", "study"),
    [
        ("/studies", ""),
        ("/studies/", ""),
        ("/studies/1.2.3", "1.2.3"),
        ("/studies/1.2.3/", "1.2.3"),
    ],
)
def test_a_store_transaction(path: str, study: str) -> None:
    assert _wanted(path=path) == Wanted(study, b"a b")


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        ({"path": "/instances"}, 404),
        ({"path": "/studies/1.2/series/3.4"}, 404),
        ({"method": "GET"}, 405),
        ({"path": "/studies/../../etc"}, 404),
        ({"path": "/studies/x1"}, 400),
        ({"path": "/studies/" + "1." * 40 + "1"}, 400),
        ({"accept": "application/dicom+xml"}, 406),
        ({"content_encoding": "gzip"}, 415),
        ({"content_type": ""}, 415),
        ({"content_type": "application/dicom"}, 415),
        ({"content_type": 'multipart/form-data; boundary="x"'}, 415),
        ({"content_type": 'multipart/related; type="application/dicom+xml"; boundary=x'}, 415),
        ({"content_type": "multipart/related; boundary=x"}, 415),
        ({"content_type": "multipart/related; type=application/dicom"}, 400),
        ({"content_type": f"multipart/related; type=application/dicom; boundary={'x' * 101}"}, 400),
    ],
)
def test_what_else_is_asked(request_of: dict[str, str], status: int) -> None:
    found = _wanted(**request_of)
    assert isinstance(found, Problem)
    assert found.status == status


@pytest.mark.parametrize(
    "accept", ["*/*", "application/dicom+json", "text/html, application/*;q=1"]
)
def test_answers_that_a_sender_takes(accept: str) -> None:
    assert isinstance(_wanted(accept=accept), Wanted)


def test_of_a_header_that_comes_twice_no_copy_wins() -> None:
    pairs = [(b"Authorization", b"Bearer one"), (b"authorization", b"Bearer two")]
    assert headers_of(pairs) == {"authorization": ""}
    assert headers_of([(b"Accept", b"a/b"), (b"accept", b"c/d")]) == {"accept": "a/b, c/d"}
    assert bearer({"authorization": "bearer  abc "}) == "abc"
    assert bearer({"authorization": "Basic abc"}) == ""


# ---- answers --------------------------------------------------------------------------------
def _result(uid: str, status: int = 0) -> Result:
    return Result("1.2.840.10008.5.1.4.1.1.2", uid, status)


@pytest.mark.parametrize(
    ("results", "broken", "status"),
    [
        ([_result("1.2")], False, 200),
        ([_result("1.2"), _result("1.3", 0xA900)], False, 202),
        ([_result("1.2")], True, 202),
        ([_result("1.2", 0xA900), _result("1.3", 0xA700)], False, 409),
        ([_result("1.2", 0xA700), _result("1.3", 0xA701)], False, 503),
        ([], False, 400),
        ([_result("1.2", 0xC000)], True, 400),
    ],
)
def test_the_status_of_a_request(results: list[Result], broken: bool, status: int) -> None:
    assert answer(results, broken=broken)[0] == status


def test_each_instance_is_named_with_its_reason() -> None:
    _, said = answer([_result("1.2"), _result("1.3", 0xA900), _result("../x", 0x0117)])
    uids = {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}
    stored = {"00081150": uids, "00081155": {"vr": "UI", "Value": ["1.2"]}}
    failed = {"00081150": uids, "00081155": {"vr": "UI", "Value": ["1.3"]}}
    assert said == {
        "00081190": {"vr": "UR"},
        "00081199": {"vr": "SQ", "Value": [{**stored, "00081190": {"vr": "UR"}}]},
        "00081198": {
            "vr": "SQ", "Value": [{**failed, "00081197": {"vr": "US", "Value": [0xA900]}}]
        },
        "0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0117]}}]},
    }  # fmt: skip


# ---- settings, tokens -----------------------------------------------------------------------
def _stow(**keys: Any) -> Stow:
    return Stow.model_validate_json(json.dumps(keys))


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"token_file": "t", "listen": "0.0.0.0:8443"}, "this machine only"),
        ({"token_file": "t", "listen": "[::]:8443"}, "this machine only"),
        ({}, "token_file or trusted is needed"),
        ({"trusted": "ca.pem"}, "trusted needs certificate"),
        ({"token_file": "t", "certificate": "c.pem"}, "belong together"),
    ],
)
def test_settings_that_leave_the_door_open_are_refused(keys: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        _stow(**keys)


@pytest.mark.parametrize("listen", ["127.0.0.1:8443", "[::1]:8443", "localhost:8443"])
def test_a_token_alone_is_enough_on_this_machine(listen: str) -> None:
    assert _stow(token_file="t", listen=listen).certificate is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# nothing\n\n", "holds no token"),
        ("a-bare-token-without-a-name-0123456789\n", "line 1"),
        ("PACS short\n", "line 1"),
        (f"{'N' * 17} {'t' * 30}\n", "line 1"),
        (f"PACS {'t' * 30}\nPACS {'u' * 30}\n", "line 2: the name is there already"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_named(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "stow.token"
    file.write_text(text)
    with pytest.raises(KeysError, match=why) as found:
        open_keys(_stow(token_file=str(file)))
    assert "t" * 20 not in str(found.value)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "as some editors save it"])
def test_tokens_have_names(tmp_path: Path, mark: str) -> None:
    file = tmp_path / "stow.token"
    file.write_text(f"{mark}ONE {'a' * 30}\n  TWO   {'b' * 30}==  \n")
    keys = open_keys(_stow(token_file=str(file)))
    assert [keys.name_of(token) for token in ("a" * 30, "b" * 30 + "==", "c" * 30, "")] == [
        "ONE", "TWO", "", "",
    ]  # fmt: skip


def test_a_missing_file_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=r"intake\.stow\.token_file"):
        open_keys(_stow(token_file=str(tmp_path / "none")))
    token = tmp_path / "t"
    token.write_text(f"ONE {'a' * 30}\n")
    with pytest.raises(KeysError, match=r"intake\.stow\.certificate"):
        open_keys(_stow(token_file=str(token), certificate=str(token), key_file=str(token)))
