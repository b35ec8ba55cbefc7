"""Lines that differ by an index alone are one line: ∂L/∂Z_l for l = L … 1, in a network of layers or steps of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .backward import Step
from .letters import Letters
from .sheet import Sheet
from .symbols import Name
from .text import Text
from .writing import indexed


@dataclass
class Group:
    """Steps that are written as one line.

    Attributes:
        steps: one, or the steps of consecutive indices, which fall as a rule.
        letter: the index, `l` or `t`; empty for a single step.
        stem: the name without its index.
        start: what stands in for the names with index 0 and the like: `{"a_0": "x"}` as (stem, index) and name.
    """

    steps: list[Step]
    letter: str = ""
    stem: str = ""
    start: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def indices(self) -> list[int]:
        """The indices of the steps."""
        return [parts[1] for s in self.steps if (parts := indexed(s.name)) is not None]

    def expects(self, index: int) -> bool:
        """Whether a step with this index continues the series."""
        found = self.indices
        return abs(found[-1] - index) == 1 if len(found) == 1 else 2 * found[-1] - found[-2] == index


def grouped(steps: Sequence[Step], sheet: Sheet, letters: Letters, plain: Sequence[Step]) -> list[Group]:
    """The steps, those of a recursion together, at the place of the first of them.

    A recursion is recognised from three alike on; then pairs count as well. Steps in `plain` stay alone.
    """
    letter = _index_letter(letters)
    form = _Forms(sheet, letters, letter)
    series: list[Group] = []
    open_series: dict[tuple[str, str], Group] = {}
    for step in steps:
        parts = indexed(step.name)
        if parts is None or step in plain:
            series.append(Group([step]))
            continue
        key = (parts[0], form.of(step, {}))
        group = open_series.get(key)
        if group is not None and group.expects(parts[1]):
            group.steps.append(step)
            continue
        if (found := form.continues(step, open_series)) is not None:
            group, start = found
            group.steps.append(step)
            group.start |= start
            continue
        open_series[key] = group = Group([step], letter, parts[0])
        series.append(group)
    if not any(len(g.steps) > 2 for g in series):
        return [Group([step]) for step in steps]
    return [g if len(g.steps) > 1 else Group(g.steps) for g in series]


def _index_letter(letters: Letters) -> str:
    """l where parameters have an index, as layers do; t where all steps share them."""
    layers = any(indexed(n) for n, x in letters.things.items() if id(x) in letters.parameters)
    wanted = "l" if layers else "t"
    return next(c for c in (wanted, "i", "j", "ell", "step") if c not in letters.things)


class _Forms:
    """What a step looks like when its index is a letter."""

    def __init__(self, sheet: Sheet, letters: Letters, letter: str) -> None:
        self.text = Text(sheet, letters.name(letters.order[-1]) or "L")
        self.letters, self.letter = letters, letter

    def of(self, step: Step, start: dict[str, tuple[str, int]]) -> str:
        """The formula with indices relative to the step's; `start` gives names without one theirs."""
        at = (indexed(step.name) or ("", 0))[1]
        renamed = self.text.shifted(step.simplified.expr, at, self.letter)
        for name, (stem, index) in start.items():
            renamed[name] = self.text.subscript(stem, self.letter, index - at)
        return Text(self.text.sheet, self.text.root, renamed)(step.simplified.expr)

    def continues(
        self, step: Step, series: dict[tuple[str, str], Group]
    ) -> tuple[Group, dict[tuple[str, int], str]] | None:
        """The series that this step belongs to if a name without an index, such as x, is a_0."""
        stem, at = indexed(step.name) or ("", 0)
        here = dict.fromkeys(m.name for m in self.text.meanings(step.simplified.expr) if isinstance(m, Name))
        bare = [n for n in here if getattr(self.letters.things[n], "op", None) is None]
        for (of, form), group in series.items():
            if of != stem or group.indices[-1] != at + 1 or not group.expects(at):
                continue
            before = group.steps[-1]
            for m in self.text.meanings(before.simplified.expr):
                parts = indexed(m.name) if isinstance(m, Name) else None
                if parts is None:
                    continue
                alias = (parts[0], parts[1] - 1)
                for name in bare:
                    if self.of(step, {name: alias}) == form:
                        return group, {alias: name}
        return None
