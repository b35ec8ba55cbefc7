"""The search for the likeliest correction of a formula that is known to be wrong."""

from __future__ import annotations

import ast
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import trees
from .edits import edits
from .facts import Diagnosis, Network, Sample, raised, slopes_in, softmaxes_in
from .setting import Edit, Setting
from .trials import Constant, Trials, as_floats, proportion

_VALUE = "_found_"
"""The name that a value without source goes by."""


def diagnose(
    name: str,
    formula: str | None,
    samples: Sequence[Sample],
    network: Network,
    *,
    scope: Mapping[str, Any] | None = None,
    found: Sequence[Any] | None = None,
) -> Diagnosis | None:
    """Say what is probably wrong with one gradient.

    The formula is edited, first in one place and then in two; the cheapest edit that makes it equal to the right
    gradient on every sample is the diagnosis. The samples are not changed.

    Args:
        name: of the gradient, such as `dZ1`.
        formula: its source; `None` if there is none, then only its values are edited.
        samples: inputs with the right gradient. At least two, generic and with sizes that differ, are needed to tell
            corrections apart: the search is on one, the others confirm.
        network: what is known of the forward pass.
        scope: the globals that the formula sees.
        found: the formula's values on the samples.

    Returns:
        The diagnosis, of kind `unknown` if no correction was found; `None` if there is nothing to correct.
    """
    usable = [i for i, s in enumerate(samples) if as_floats(s.expected) is not None]
    usable.sort(key=lambda i: _generic(samples[i]), reverse=True)
    if not usable:
        return None
    chosen = [samples[i] for i in usable]
    values = [as_floats(found[i]) for i in usable] if found is not None else [None] * len(usable)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diagnosis = Search(name, formula, chosen, network, scope or {}, values).run()
    error = next((v for v in found or () if isinstance(v, Exception)), None)
    if diagnosis is not None and diagnosis.kind == "unknown" and error is not None:
        return Diagnosis("unknown", f"{raised(error)}.")
    return diagnosis


def _generic(sample: Sample) -> tuple[bool, int, int]:
    """How much a sample tells: whether the gradient is not 0, how many sizes differ, how many numbers there are."""
    sizes = {n for v in sample.names.values() for n in np.shape(v)}
    return bool(np.any(sample.expected)), len(sizes), int(np.size(sample.expected))


class Search:
    """One call of `diagnose`."""

    def __init__(
        self,
        name: str,
        formula: str | None,
        samples: Sequence[Sample],
        network: Network,
        scope: Mapping[str, Any],
        found: Sequence[Any],
    ) -> None:
        self.name, self.formula, self.network = name, formula, network
        self.of = name.removeprefix("d")
        self.trials = Trials(samples, network, scope, self.of)
        self.tree = _parsed(formula)
        self.own = self.tree is not None
        if self.tree is not None:
            source = trees.text(self.tree)
            self.values = [self.trials.value(source, i) for i in range(len(samples))]
            if all(v is None for v in self.values) and any(v is not None for v in found):
                self.own = False  # it needs names that are not known here
        if not self.own:
            self.values = list(found)
            self.tree = ast.Name(id=_VALUE, ctx=ast.Load())
            for environment, value in zip(self.trials.environments, found, strict=True):
                environment[_VALUE] = value
        self.used = {n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name)} if self.tree is not None else set()
        self.setting = Setting(
            name,
            self.trials,
            slopes_in([s.names for s in samples], network),
            self._operands(samples[0].names),
            network,
            self.own,
            softmaxes_in([s.names for s in samples], network),
        )

    def _operands(self, names: Mapping[str, Any]) -> list[str]:
        """The names that may stand in the formula: no gradient from further back, not the loss."""
        forward = {*self.network.inputs, *self.network.intermediates}
        upstream = [n for n in self.network.upstream(self.name) if n in names]
        later = {f"d{k}" for k in forward} - set(upstream) - self.used
        numeric = [k for k in names if isinstance(names[k], (np.ndarray, float, int)) and k != self.name]
        rest = [k for k in numeric if k not in later and k not in upstream]
        self.upstream = [n for n in upstream if np.ndim(names[n]) > 0]
        return [*upstream, *rest]

    def run(self) -> Diagnosis | None:
        """The cheapest correction: one edit, an added term, two edits."""
        assert self.tree is not None
        whole = Edit(0.0, "", "", self.tree)
        constant = self.trials.constant(trees.text(self.tree))
        if constant == Constant():
            return None
        singles = sorted(edits(self.tree, self.setting), key=lambda e: e.price)
        best = self._best(itertools.chain([whole], singles))
        if best is None or best[0] > 1.7:
            best = min([b for b in (best, self._missing_term()) if b is not None], key=lambda b: b[0], default=None)
        if best is None:
            best = self._best(self._pairs(singles))
        if best is not None:
            return best[1]
        return Diagnosis("unknown", self._nothing(), "")

    def _best(self, candidates: Iterator[Edit]) -> tuple[float, Diagnosis] | None:
        """The cheapest right candidate, of candidates in order of price."""
        best: tuple[float, Diagnosis] | None = None
        seen: set[str] = set()
        for edit in candidates:
            if (best is not None and edit.price >= best[0]) or self.trials.spent:
                break
            source = trees.text(edit.tree)
            if source in seen:
                continue
            seen.add(source)
            constant = self.trials.constant(source)
            if constant is None:
                continue
            price = edit.price + (0.0 if constant == Constant() else constant.price)
            if best is None or price < best[0]:
                best = price, self._worded(edit, source, constant)
        return best

    def _pairs(self, singles: Sequence[Edit]) -> Iterator[Edit]:
        cheap = [e for e in singles if e.price <= 1.65]
        for first in cheap:
            if self.trials.spent:
                return
            for second in sorted(edits(first.tree, self.setting), key=lambda e: e.price):
                if second.price > 1.65:
                    break
                kind = second.kind if first.kind in ("sign", "factor") else first.kind
                yield Edit(first.price + second.price, kind, f"{first.words}; and {second.words}", second.tree)

    # --- a missing term -----------------------------------------------------------------------------------------------

    def _missing_term(self) -> tuple[float, Diagnosis] | None:
        """What is missing is a term by itself: a product of an upstream gradient with something."""
        missing = [
            e - v if v is not None and v.shape == e.shape else None
            for e, v in zip(self.trials.expected, self.values, strict=True)
        ]
        if any(v is None for v in missing) or not self.own:
            return None
        assert self.tree is not None
        for term in self._terms():
            if self.trials.spent:
                return None
            ratios = []
            for at, expected in enumerate(missing):
                ratio = proportion(_broadcast(self.trials.value(term, at), expected), expected)
                if ratio is None:
                    break
                ratios.append(ratio)
            if len(ratios) < len(missing) or (constant := self.trials.named(ratios)) is None:
                continue
            size = constant.applied(term) if constant not in (Constant(), Constant(-1.0)) else term
            minus = constant == Constant(-1.0)
            correction = f"{trees.text(self.tree)} {'-' if minus else '+'} {size}"
            words = f"it lacks the term {'-' if minus else ''}{size}"
            if any(g in term for g in self.upstream):
                words += f": {self.of} is used more than once, and every use adds a term to its gradient"
            return 1.9, Diagnosis("missing term", words + ".", trees.text(trees.parse(correction)))
        return None

    def _terms(self) -> Iterator[str]:
        others = [
            k
            for k in self.setting.operands
            if k not in self.upstream and np.ndim(self.setting.trials.samples[0].names[k])
        ]
        slopes = [s.source for s in self.setting.slopes]
        for g in self.upstream:
            yield g
            yield from (f"{g}.sum(axis={axis}, keepdims=True)" for axis in (0, 1))
            for k in others:
                yield from (f"{k}.T @ {g}", f"{g} @ {k}.T", f"{g} * {k}", f"{g} / {k}", f"{k} @ {g}", f"{k} @ {g}.T")
                yield from (f"({g} * {k}).sum(axis={axis}, keepdims=True)" for axis in (0, 1))
            yield from (f"{g} * {s}" for s in slopes)
        for p, q in itertools.product(others, repeat=2):
            yield from (f"{p} / {q}", f"(1 - {p}) / (1 - {q})", f"{p} * {q}")
        yield from others

    # --- words --------------------------------------------------------------------------------------------------------

    def _worded(self, edit: Edit, source: str, constant: Constant) -> Diagnosis:
        kind, words, correction = edit.kind, edit.words, source
        if constant != Constant():
            their_kind, their_words = self._of_constant(constant, bool(kind))
            kind, words = kind or their_kind, f"{words}; and {their_words}" if words else their_words
            correction = trees.text(trees.parse(constant.applied(source)))
        if not self.own:
            given = trees.text(trees.parse(self.formula)) if self.formula and _parsed(self.formula) else ""
            words = words.replace(_VALUE, given or self.name)
            correction = _in_place(correction, given) if given else ""
        return Diagnosis(kind, words + ".", correction)

    def _of_constant(self, constant: Constant, also: bool) -> tuple[str, str]:
        """Kind and words for a formula that is off by a constant; `also` if it is off by something else too."""
        if constant.is_sign:
            return "sign", "its sign is wrong"
        below = " * ".join(constant.below)
        by = below if below.isidentifier() or not constant.below[1:] else f"({below})"
        if constant == Constant(1.0, (), constant.below):
            starts = any(n.startswith("d") and n in self.upstream for n in self.used)
            batch = next(iter(self.trials.sizes))
            whole = batch in constant.below or below.endswith(".size")
            if whole and self.own and not also and not starts and self.of not in self.network.inputs:
                words = f"it is the per-example gradient, {below} times too large: the loss is a mean, and its "
                words += f"gradient has the factor 1/{by}. Many courses leave that out here and put it into the "
                return "per-example", words + "gradients of weights and biases only"
            return "factor", f"it is {below} times too large: it lacks the factor 1/{by}"
        if not constant.above and not constant.below and 0 < constant.number < 1:
            return "factor", f"it is {1 / constant.number:g} times too large: it lacks the factor {constant}"
        return "factor", f"it lacks the factor {'-' if constant.number < 0 else ''}{constant}"

    def _nothing(self) -> str:
        value, expected = self.values[0], self.trials.expected[0]
        if value is not None and value.shape != expected.shape:
            return f"it has shape {value.shape}; {self.of} has {expected.shape}."
        return "no simple correction makes it right."


def _in_place(correction: str, given: str) -> str:
    """A correction with the formula itself where the name of its value stands."""
    tree = trees.parse(correction)
    places = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == _VALUE]
    return trees.text(trees.replaced(tree, places, trees.parse(given)))


def _broadcast(value: Any, like: Any) -> Any:
    """A term at the shape of the sum that it stands in."""
    try:
        return None if value is None else np.broadcast_to(value, like.shape)
    except ValueError:
        return None


def _parsed(formula: str | None) -> ast.expr | None:
    try:
        return trees.parse(formula) if formula else None
    except (SyntaxError, ValueError, RecursionError):
        return None
