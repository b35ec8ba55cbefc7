"""The user's CSV file: what is read, and what is refused with its place."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_notes.cli import UserError
from tinygrad_notes.cli.table import read_table, two_classes


def write(folder, text, name="data.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1, max_size=8
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_numbers_come_back_as_they_were_written(tmp_path_factory, rows, newline, bom):
    text = newline.join(["a, b ,c", *(",".join(map(repr, row)) for row in rows)]) + newline
    path = write(tmp_path_factory.mktemp("csv"), ("\ufeff" if bom else "") + text)
    table = read_table(path)
    assert table.header == ["a", "b", "c"]
    np.testing.assert_array_equal(table.numbers(["c", "a"]), np.array(rows)[:, [2, 0]])


def test_quoted_names_blank_lines_and_line_numbers(tmp_path):
    path = tmp_path / "q.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["size, cm", "kind"], ["1.5", "yes"], [], ["oops", "no"]])
    table = read_table(path)
    assert table.header == ["size, cm", "kind"]
    with pytest.raises(UserError, match="line 4: column 'size, cm' holds 'oops'; expected a finite number"):
        table.numbers(["size, cm"])


REFUSED = {
    "empty file": ("", "is empty; expected a header row"),
    "blank lines": ("\n\n  \n", "is empty"),
    "header only": ("a,b\n", "has a header row only"),
    "ragged": ("a,b\n1,2\n3\n", "line 3: 1 cells; expected 2"),
    "repeated name": ("a,b,a\n1,2,3\n", "names 'a' more than once"),
    "nameless column": ("a,,b\n1,2,3\n", "column 2 has no name"),
    "semicolons": ("a;b\n1;2\n", "expected commas"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", "is not UTF-8 text|is not a CSV file"),
    "open quote": ('a,b\n1,"2\n', "is not a CSV file"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_files_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_table(write(tmp_path, text))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_table(tmp_path / "nothing.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_table(tmp_path)


@pytest.mark.parametrize("cell", ["", "nan", "inf", "-Infinity", "1,5e", "x", "NA"])
def test_cells_that_are_not_finite_numbers(tmp_path, cell):
    table = read_table(write(tmp_path, f'a,b\n1,2\n"{cell}",4\n'))
    with pytest.raises(UserError, match=r"line 3: column 'a' (is empty|holds)"):
        table.numbers(["b", "a"])


def test_missing_column(tmp_path):
    table = read_table(write(tmp_path, "size,kind\n1,2\n"))
    with pytest.raises(UserError, match=r"no column 'c'; its columns are size, kind\.$"):
        table.column("c")
    with pytest.raises(UserError, match=r"no column 'sise'.* Did you mean 'size'\?"):
        table.column("sise")


def test_classes_are_numbers_by_size_or_words_by_alphabet(tmp_path):
    classes, y = two_classes(read_table(write(tmp_path, "t\n10\n9\n10\n")), "t")
    assert (classes, y.tolist()) == (["9", "10"], [1.0, 0.0, 1.0])
    classes, y = two_classes(read_table(write(tmp_path, "t\nyes\nno\n")), "t")
    assert (classes, y.tolist()) == (["no", "yes"], [1.0, 0.0])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("a\nb\nc", r"has 3 distinct value\(s\) \('a', 'b', 'c'\); expected two"),
        ("a\na", "has 1 distinct"),
        ("\n".join(map(str, range(20))), r"has 20 distinct.*…"),
        ('a\n""\nb', "line 3: the target 't' is empty"),
        ("a\nnan\nb", "line 3: the target 't' is empty"),
    ],
)
def test_targets_that_are_not_binary(tmp_path, cells, message):
    table = read_table(write(tmp_path, "t,u\n" + "\n".join(f"{c},1" for c in cells.split("\n")) + "\n"))
    with pytest.raises(UserError, match=message):
        two_classes(table, "t")
