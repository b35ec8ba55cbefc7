"""What `check_derivation` found, as a table and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .judging import CORRECT, KINK, UNDECIDED, WRONG

if TYPE_CHECKING:
    from .diagnosis import Diagnosis
    from .examining import Outcome


@dataclass
class Link:
    """One gradient of the chain.

    Attributes:
        name, formula: `dZ2` and its source.
        counts: how many inputs ended as `correct`, `wrong`, `kink`, `undecided`.
        notes: why inputs stayed undecided.
        follows: the wrong gradient that this one follows from, if its own formula is right.
        diagnosis: what the mistake probably is.
        counterexample: the smallest input that shows it.
        finding: the formula's value and the true gradient there.
    """

    name: str
    formula: str
    counts: dict[str, int] = field(default_factory=lambda: {CORRECT: 0, WRONG: 0, KINK: 0, UNDECIDED: 0})
    notes: dict[str, int] = field(default_factory=dict)
    follows: str = ""
    diagnosis: Diagnosis | None = None
    counterexample: dict[str, Any] | None = None
    finding: Outcome | None = None

    def add(self, outcome: Outcome) -> None:
        """Count one more input."""
        self.counts[outcome.status] += 1
        if outcome.status == UNDECIDED:
            self.notes[outcome.note] = self.notes.get(outcome.note, 0) + 1

    @property
    def status(self) -> str:
        """`wrong` if any input shows it, `undecided` if none decided, else `correct`."""
        if self.counts[WRONG]:
            return WRONG
        return CORRECT if self.counts[CORRECT] + self.counts[KINK] else UNDECIDED

    def words(self) -> str:
        """What is wrong, for a learner."""
        if self.follows:
            return f"{self.name} is wrong only because {self.follows} is: it follows from it."
        if self.diagnosis is not None:
            return f"{self.name} is wrong: {self.diagnosis.words}"
        note = self.finding.note if self.finding is not None else ""
        return f"{self.name} is wrong" + (f": {note.rstrip('.')}." if note else ".")


@dataclass(frozen=True)
class DerivationReport:
    """Every link of a backward pass, in its own order.

    Attributes:
        links: one for each gradient.
        summed: the name of the loss if it has several elements, of which the sum is differentiated; else empty.
    """

    links: list[Link]
    summed: str = ""

    @property
    def ok(self) -> bool:
        """Whether no link is wrong and each was decided on some input."""
        return bool(self.links) and all(link.status == CORRECT for link in self.links)

    @property
    def wrong(self) -> list[str]:
        """The names of the wrong gradients, in backward order."""
        return [link.name for link in self.links if link.status == WRONG]

    @property
    def first_wrong(self) -> str | None:
        """The first wrong gradient, from which others may follow."""
        return next(iter(self.wrong), None)

    @property
    def _first(self) -> Link | None:
        return next((link for link in self.links if link.status == WRONG), None)

    @property
    def diagnosis(self) -> Diagnosis | None:
        """What the first mistake probably is; `str` gives its words."""
        return self._first.diagnosis if self._first is not None else None

    @property
    def counterexample(self) -> dict[str, Any] | None:
        """The smallest input that shows the first mistake."""
        return self._first.counterexample if self._first is not None else None

    def _undecided(self) -> list[str]:
        """Why inputs stayed undecided, the most frequent reasons first."""
        of: dict[str, dict[str, int]] = {}
        for link in self.links:
            for note, count in link.notes.items():
                of.setdefault(note, {})[link.name] = count
        ranked = sorted(of.items(), key=lambda item: -sum(item[1].values()))
        return [f"undecided ({', '.join(names)}): {note.rstrip('.')}." for note, names in ranked[:3]]

    def __getitem__(self, name: str) -> Link:
        for link in self.links:
            if link.name == name:
                return link
        raise KeyError(f"no link {name}; there is {', '.join(link.name for link in self.links)}.")

    def __str__(self) -> str:
        widest = max((len(link.name) for link in self.links), default=0)
        formulas = [_one_line(link.formula) for link in self.links]
        text = max(map(len, formulas), default=0)
        wide = max((len(_status(link)) for link in self.links), default=0)
        lines = []
        for link, formula in zip(self.links, formulas, strict=True):
            total, undecided = sum(link.counts.values()), link.counts[UNDECIDED]
            count = f"{total - undecided} of {total} inputs decided" if undecided else f"{total} inputs"
            lines.append(f"{link.name:<{widest}}  {formula:<{text}}  {_status(link):<{wide}}  {count}")
        for link in self.links:
            if link.status == WRONG:
                lines += ["", *_explained(link)]
        if reasons := self._undecided():
            lines += ["", *reasons]
        if self.summed:
            lines += ["", f"{self.summed} has several elements: the gradients are those of their sum."]
        return "\n".join(lines)


def _one_line(formula: str) -> str:
    """A formula, or the statements that stand for it, on one line of at most 48 characters."""
    line = ""
    for part in formula.split("\n"):
        line += ("" if not line else " " if line.endswith(":") else "; ") + part.strip()
    return line if len(line) <= 48 else line[:47] + "…"


def _status(link: Link) -> str:
    return f"follows from {link.follows}" if link.follows else link.status


def _explained(link: Link) -> list[str]:
    lines = [link.words()]
    if link.diagnosis is not None and link.diagnosis.correction:
        lines.append(f"  probably meant: {link.name} = {link.diagnosis.correction}")
    if link.counterexample is not None:
        lines.append("  smallest case: " + ", ".join(f"{k}={shown(v)}" for k, v in link.counterexample.items()))
    if link.finding is not None and link.finding.found is None and link.finding.note not in link.words():
        lines.append(f"  there {link.finding.note}")
    if link.finding is not None and link.finding.found is not None:
        lines.append(f"  there {link.name} is {shown(link.finding.found)}; expected {shown(link.finding.expected)}")
    return lines


def shown(x: Any) -> str:
    """A number or array on one line."""
    if np.ndim(x) == 0:
        return f"{float(x) + 0.0:g}"  # −0.0 as 0
    text = np.array2string(
        np.asarray(x, dtype=float) + 0.0, separator=", ", threshold=24, formatter={"float_kind": lambda v: f"{v:.6g}"}
    )
    return "".join(text.split("\n")).replace("  ", " ").replace(", ", ",").replace(",", ", ").replace("[ ", "[")


class DerivationError(AssertionError):
    """A derivation is wrong; `report` says where."""

    def __init__(self, report: DerivationReport) -> None:
        wrong = ", ".join(report.wrong) or "nothing could be decided"
        super().__init__(f"derivation: wrong: {wrong}\n{report}")
        self.report = report
