"""Reading the user's CSV file: what cannot be used is refused with its place and what to do."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from . import UserError


@dataclass(frozen=True)
class Table:
    """A CSV file as text: the header, the rows, and the line of the file on which each row ends."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            UserError: there is no such column.
        """
        if name not in self.header:
            near = get_close_matches(name, self.header, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise UserError(f"{self.path} has no column {name!r}; its columns are {', '.join(self.header)}.{guess}")
        place = self.header.index(name)
        return [row[place].strip() for row in self.rows]

    def numbers(self, names: list[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The columns as finite numbers: (rows, columns).

        Raises:
            UserError: a cell is empty, not a number, NaN or infinite; the message names line and column.
        """
        columns = [[self._number(cell, name, i) for i, cell in enumerate(self.column(name))] for name in names]
        return np.array(columns, dtype=float).reshape(len(names), len(self.rows)).T

    def _number(self, cell: str, name: str, row: int) -> float:
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            what = "is empty" if not cell else f"holds {cell!r}"
            raise UserError(
                f"{self.path}, line {self.lines[row]}: column {name!r} {what}; expected a finite number. "
                "Fill the cell in, or remove the row or the column."
            )
        return number


def read_table(path: Path) -> Table:
    """Read a CSV file with a header row.

    Raises:
        UserError: it is missing, empty, no text, ragged, or its header repeats a name.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            numbered = [(row, reader.line_num) for row in reader if any(cell.strip() for cell in row)]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; expected a CSV file.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; expected a CSV file. Save it as UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file: {error}.") from None
    if not numbered:
        raise UserError(f"{path} is empty; expected a header row and rows of numbers.")
    header = [name.strip() for name in numbered[0][0]]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise UserError(f"{path} has one column {header[0]!r}; expected commas between the columns.")
    if "" in header:
        raise UserError(f"{path}: column {header.index('') + 1} has no name in the header row.")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UserError(f"{path}: the header names {', '.join(map(repr, twice))} more than once.")
    if len(numbered) == 1:
        raise UserError(f"{path} has a header row only; expected rows of data below it.")
    for row, line in numbered[1:]:
        if len(row) != len(header):
            raise UserError(f"{path}, line {line}: {len(row)} cells; expected {len(header)}, as in the header row.")
    return Table(path, header, [row for row, _ in numbered[1:]], [line for _, line in numbered[1:]])


def two_classes(table: Table, target: str) -> tuple[list[str], np.ndarray[Any, np.dtype[np.float64]]]:
    """The two values of the target column, in order, and the labels 0 and 1: (rows,).

    Raises:
        UserError: there are not exactly two values, or a cell is empty.
    """
    cells = table.column(target)
    for cell, line in zip(cells, table.lines, strict=True):
        if not cell or cell.lower() == "nan":
            raise UserError(f"{table.path}, line {line}: the target {target!r} is empty. Fill it in or remove the row.")
    classes = sorted(set(cells), key=_as_number)
    if len(classes) != 2:
        shown = ", ".join(map(repr, classes[:6])) + (", …" if len(classes) > 6 else "")
        raise UserError(
            f"the target {target!r} has {len(classes)} distinct value(s) ({shown}); expected two. "
            "These models tell two classes apart."
        )
    return classes, np.array([float(cell == classes[1]) for cell in cells])


def _as_number(text: str) -> tuple[float, str]:
    """Sorting key: numbers by size, before words."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text
