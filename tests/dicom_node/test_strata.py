"""Which subgroups a study is said to belong to."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from dicom_node import strata
from processors import Instance, Study


def study(*headers: dict[str, object]) -> Study:
    instances = []
    for number, attributes in enumerate(headers):
        header = Dataset()
        for keyword, value in attributes.items():
            setattr(header, keyword, value)
        instances.append(Instance(str(number), header))
    return Study("1.2.3", tuple(instances), lambda *_: pytest.fail("no pixels are wanted"))


@pytest.mark.parametrize(
    ("years", "group"),
    [(0, "0-17"), (17, "0-17"), (18, "18-39"), (64, "40-64"), (79, "65-79"), (80, "80+"),
     (None, "?")],
)  # fmt: skip
def test_ages_are_kept_as_groups(years: int | None, group: str) -> None:
    assert strata.age_group(years) == group


FULL = {"PatientSex": "F", "PatientAge": "061Y", "ViewPosition": "PA", "Manufacturer": " Acme "}


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        pytest.param([FULL], ("F", "40-64", "PA", "ACME"), id="all stated"),
        pytest.param([{}], ("?", "?", "?", "?"), id="nothing stated"),
        pytest.param(
            [FULL, {**FULL, "ViewPosition": "LL"}, {}],
            ("F", "40-64", "LL+PA", "ACME"),
            id="several",
        ),
        pytest.param(
            [{"PatientBirthDate": "20200101", "StudyDate": "20260101"}],
            ("?", "0-17", "?", "?"),
            id="age by dates",
        ),
        pytest.param(
            [{"Manufacturer": "A\x1b[2J"}], ("?", "?", "?", "?"), id="a terminal's orders"
        ),
        pytest.param([{"ViewPosition": ["AP", "PA"]}], ("?", "?", "AP+PA", "?"), id="two values"),
    ],
)
def test_groups_of_a_study(headers: list[dict[str, object]], found: tuple[str, ...]) -> None:
    assert tuple(strata.of(study(*headers))[name] for name in strata.VARIABLES) == found
