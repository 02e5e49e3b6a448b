"""A site's table as its spreadsheet writes it: read, or refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from processors.training.table import read_lines

HEADER = "path,split,patient,labels,age"


def _table(folder: Path, *lines: str, header: str = HEADER) -> Path:
    file = folder / "films.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("before", "parted"),
    [
        pytest.param("\ufeff", ",", id="Excel's mark"),
        pytest.param("\ufeff", ";", id="Excel where the comma is the decimal point"),
        pytest.param("", "\t", id="tabs"),
    ],
)
def test_what_spreadsheets_write(tmp_path: Path, before: str, parted: str) -> None:
    header = before + HEADER.replace(",", parted)
    row = parted.join(["a b.png", "train", "P", " neumonía | viral", "4"])
    (line,) = read_lines(_table(tmp_path, row, parted * 4, header=header))
    assert (line.get("path"), line.labels, line.age) == ("a b.png", ("neumonía", "viral"), 4)


def test_an_accent_is_one_letter_however_it_was_typed(tmp_path: Path) -> None:
    (line,) = read_lines(_table(tmp_path, "a.png,val,P,neumoni\u0301a,4"))
    assert line.labels == ("neumon\u00eda",)


def test_names_of_columns_may_be_in_capitals(tmp_path: Path) -> None:
    (line,) = read_lines(_table(tmp_path, "a.png,val,normal", header="Path, Split ,LABELS"))
    assert line.labels == ("normal",)


@pytest.mark.parametrize(
    ("cell", "years"),
    [
        ("45", 45), ("4.5", 4.5), ("045Y", 45), ("006M", 0.5), ("0", 0), ("", None), ("nan", None),
        ("inf", None), ("-1", None), ("999", None), ("early 40", None), ("Y", None),
    ],
)  # fmt: skip
def test_ages(tmp_path: Path, cell: str, years: float | None) -> None:
    (line,) = read_lines(_table(tmp_path, f"a.png,val,P,normal,{cell}"))
    assert line.age == years


def test_a_decimal_comma(tmp_path: Path) -> None:
    (line,) = read_lines(_table(tmp_path, 'a.png,val,P,normal,"4,5"'))
    assert line.age == 4.5


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param(["a.png,val"], "line 2, has 2 cells and the header 5", id="a short row"),
        pytest.param(["a.png,val,P,normal,4,5"], "line 2, has 6 cells", id="a long row"),
        pytest.param([",val,P,normal,4"], "line 2, names no path", id="no path"),
        pytest.param(
            ["a.png,train,P7,normal,4", "b.png,val,P7,normal,4"], "'P7'", id="a patient in both"
        ),
        pytest.param(
            ["a.png,train,,normal,4", "a.png,val,,normal,4"], "'a.png'", id="an image in both"
        ),
        pytest.param(
            ["a.png,train,p7,normal,4", "b.png,val,P7,normal,4"], "'P7'", id="in other letters"
        ),
        pytest.param(
            ["a.png,train,A  B,normal,4", "b.png,val,A B,normal,4"], "'A B'", id="with more blanks"
        ),
        pytest.param(
            ["a.png,train,,normal,4", "./x/../a.png,val,,normal,4"], "a.png'", id="a file twice"
        ),
        pytest.param(
            ["a.png,val,P,normal,4", "a.png,val,P,viral,4"],
            "line 3, labels 'a.png' otherwise",
            id="a row for each label",
        ),
        pytest.param(
            ["a.png,Train,P7,normal,4", "b.png,val,P7,normal,4"], "'P7'", id="TRAIN is train"
        ),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(ValueError, match="films.csv.*" + said):
        read_lines(_table(tmp_path, *lines))


def test_a_row_may_stand_twice(tmp_path: Path) -> None:
    """As where images are drawn with replacement."""
    rows = ("a.png,val,P,normal|viral,4", "a.png,val,P,viral|normal,4")
    assert len(read_lines(_table(tmp_path, *rows))) == 2


@pytest.mark.parametrize("cell", ["train", "Train", "TRAIN"])
def test_what_teaches_is_known_in_capitals(tmp_path: Path, cell: str) -> None:
    (line,) = read_lines(_table(tmp_path, f"a.png,{cell},P,normal,4"))
    assert line.get("split") == "train"


@pytest.mark.parametrize("cell", ["1,2,3", "1,2,3,x", "-1,2,3,4", "nan,1,1,1"])
def test_a_wrong_box_is_named(tmp_path: Path, cell: str) -> None:
    table = _table(tmp_path, f'a.png,val,n,"{cell}"', header="path,split,labels,boxes")
    (line,) = read_lines(table)
    with pytest.raises(ValueError, match=r"line 2.*box"):
        _ = line.boxes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "no column 'path'; it has nothing", id="empty"),
        pytest.param(b"path,labels\n", "no column 'split'; it has path, labels", id="a column"),
        pytest.param(b"path,path,split,labels\n", "two columns 'path'", id="a column twice"),
        pytest.param(b"path,split,labels\na,val,x\nb,val,neumon\xeda\n", "line 3, is no UTF-8",
                     id="Latin 1"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0", "line 1, is no UTF-8", id="a picture"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "films.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="films.csv.*" + said):
        read_lines(file)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_lines(tmp_path)
