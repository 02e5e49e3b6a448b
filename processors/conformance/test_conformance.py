"""The checks as tests, one each, for a bundle named on the command line."""

from __future__ import annotations

import pytest

from processors import kinds
from processors.conformance import CHECKS, Subject, Verdict, kind_of, run
from processors.conformance.checks import Check


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest) -> dict[str, Verdict]:
    bundle = request.config.getoption("--bundle")
    if not bundle:
        raise pytest.UsageError("name the bundle: --bundle BUNDLE")
    subject = Subject(kind_of(bundle), kinds.Wanted("check", bundle, device="cpu"))
    return {verdict.name: verdict for verdict in run(subject)}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_contract(check: Check, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[check.name]
    if verdict.state == "skipped":
        pytest.skip(verdict.said)
    if verdict.state != "passed":
        pytest.fail(f"{verdict.title}: {verdict.said}", pytrace=False)
