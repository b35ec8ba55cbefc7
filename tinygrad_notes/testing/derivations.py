"""`check_derivation`: a whole backward pass derived by hand, link by link, over inputs that Hypothesis chooses."""

from __future__ import annotations

import ast
import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, find, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import NoSuchExample

from .diagnosis import Diagnosis, Sample, diagnose
from .examining import Examiner, Outcome
from .formulas import Backward, backward_of
from .judging import WRONG
from .reports import DerivationError, DerivationReport, Link
from .strategies import Shaped, inputs

SEED = 20240229
# So many inputs of each size are tried in the search for a smaller counterexample: quickly in floats, or judged.
# Counted, not timed, so that a report is always the same.
_TRIALS = {"plainly_wrong": 150, "is_wrong": 40}

_NUMERIC = (np.ndarray, np.generic, float, int)


def check_derivation(
    forward: Callable[..., Mapping[str, Any]],
    backward: Callable[..., Mapping[str, Any]] | Mapping[str, Callable[..., Any]],
    *,
    loss: str = "L",
    settings: Mapping[str, Any] | None = None,
    **given_inputs: Any,
) -> DerivationReport:
    """Hold a backward pass derived by hand against the true gradients, link by link.

    Inputs are generated; on each the forward pass is recorded and every formula judged as `check_gradient` does. If a
    formula is wrong, the smallest input that shows it is searched, and what the mistake probably is.

    Args:
        forward: computes named intermediates and the loss from named inputs and returns them (`return locals()`).
        backward: takes any of these names and returns gradients `d<name>` (`return locals()`, or those it returns in a
            dictionary); or a mapping from `"d<name>"` to a function of intermediates and upstream gradients: then each
            link is given the right ones.
        loss: the name of what is differentiated; if it has several elements, their sum is.
        settings: `max_examples` (100), `seed`, `largest` (4: the largest size of a letter).
        given_inputs: for every argument of forward an `arrays_of`, `labels`, `one_hot`, any Hypothesis strategy or a
            fixed array; and a number for each letter whose size is fixed (`n=3`).

    Returns:
        The report; `print` it.

    Raises:
        TypeError, ValueError: inputs are missing, a name is asked for that forward does not have, there is no such
            loss; the message says what to do.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise TypeError(
            f"check_derivation: given settings={settings!r}; expected a mapping such as {{'max_examples': 20}}. "
            "An argument of forward cannot be called settings."
        )
    chosen = {"max_examples": 100, "seed": SEED, "largest": 4, **(settings or {})}
    if unknown := chosen.keys() - {"max_examples", "seed", "largest"}:
        raise TypeError(
            f"check_derivation: no setting {', '.join(sorted(unknown))}; there is max_examples, seed, largest."
        )
    for name in ("max_examples", "largest"):
        if not isinstance(chosen[name], int) or chosen[name] < 1:
            raise ValueError(
                f"check_derivation: given the setting {name}={chosen[name]!r}; expected a whole number of at least 1."
            )
    parameters = list(inspect.signature(forward).parameters)
    if missing := [p for p in parameters if p not in given_inputs]:
        raise TypeError(
            f"check_derivation: given no {', '.join(missing)}; expected inputs for every argument of forward, such as "
            f'{missing[0]}=arrays_of("n", "m").'
        )
    specs = {p: given_inputs[p] for p in parameters}
    sizes = {k: v for k, v in given_inputs.items() if k not in specs}
    if strange := [k for k, v in sizes.items() if not isinstance(v, int)]:
        raise TypeError(
            f"check_derivation: given {', '.join(strange)}, which forward does not take; "
            f"it takes {', '.join(parameters)}."
        )
    taken_apart = backward_of(backward)
    search = Search(forward, taken_apart, loss, specs, sizes, chosen)
    return search.run()


def assert_derivation(
    forward: Callable[..., Mapping[str, Any]],
    backward: Callable[..., Mapping[str, Any]] | Mapping[str, Callable[..., Any]],
    *,
    loss: str = "L",
    settings: Mapping[str, Any] | None = None,
    **given_inputs: Any,
) -> DerivationReport:
    """As `check_derivation`.

    Raises:
        DerivationError: a link is wrong, or none of its inputs decided (an AssertionError with the report).
    """
    __tracebackhide__ = True  # pytest shows the caller
    report = check_derivation(forward, backward, loss=loss, settings=settings, **given_inputs)
    if not report.ok:
        raise DerivationError(report)
    return report


@dataclass
class Search:
    """One run of `check_derivation`."""

    forward: Callable[..., Mapping[str, Any]]
    backward: Backward
    loss: str
    specs: Mapping[str, Any]
    sizes: Mapping[str, int]
    chosen: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.examiner = Examiner(self.forward, self.backward, self.loss)
        self.inputs = inputs(self.specs, self.chosen["largest"], self.sizes)
        self.links: dict[str, Link] = {}
        self.first_bad: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, Exception] = {}

    def run(self) -> DerivationReport:
        """Generate, judge, shrink, diagnose."""
        self._generate(self.inputs, self.chosen["max_examples"], self._count)
        wrong = [link for link in self.links.values() if link.status == WRONG]
        if self.failed and not wrong:
            raise next(iter(self.failed.values()))
        returned = self.backward.returns
        if returned is not None and not any(link.name in returned for link in wrong):
            # What is not returned claims nothing; it is shown only where something wrong may follow from it.
            return self._report([link for link in self.links.values() if link.name in returned])
        if wrong:
            self._explain(wrong)
        return self._report(list(self.links.values()))

    def _report(self, links: list[Link]) -> DerivationReport:
        return DerivationReport(links, self.loss if self.examiner.summed else "")

    def _settings(self, examples: int, *phases: Phase) -> hypothesis_settings:
        return hypothesis_settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )

    def _generate(self, strategy: Any, examples: int, use: Callable[[dict[str, Any]], None]) -> None:
        @seed(self.chosen["seed"])
        @self._settings(examples, Phase.generate)
        @given(strategy)
        def run(values: dict[str, Any]) -> None:
            use(values)

        run()

    def _count(self, values: dict[str, Any]) -> None:
        for name, outcome in self.examiner.examine(values).items():
            link = self.links.setdefault(name, Link(name, self.examiner.texts.get(name, "")))
            link.add(outcome)
            if outcome.status == WRONG:
                kept = self.first_bad.setdefault(name, values)
                if _size(values) < _size(kept):
                    self.first_bad[name] = values
        self.failed |= self.examiner.failed

    def _explain(self, wrong: Sequence[Link]) -> None:
        samples = self._samples()
        first = True
        for link in wrong:
            alone = self.examiner.alone_is_wrong(link.name, [v for v, _ in samples])
            if not alone and not first and not self.backward.apart:
                link.follows = self._source_of(link, wrong)
                continue
            link.counterexample, link.finding = self._smallest(link.name, self.first_bad[link.name])
            link.diagnosis = self._diagnose(link, [s for _, s in samples])
            first = False

    def _source_of(self, link: Link, wrong: Sequence[Link]) -> str:
        """The nearest wrong gradient that the formula of a link names."""
        before = [w.name for w in wrong[: list(wrong).index(link)]]
        named = [n for n in before if n in self.examiner.names_in(link.name)]
        return (named or before)[-1]

    def _smallest(self, name: str, fallback: dict[str, Any]) -> tuple[dict[str, Any], Outcome]:
        """The smallest input that shows a wrong link: found with plain floats, then confirmed."""
        for is_wrong, trials in _TRIALS.items():
            predicate = partial(getattr(self.examiner, is_wrong), name)
            if predicate(fallback) and (values := self._search(predicate, trials)) is not None:
                outcome = self.examiner.examine(values).get(name)
                if outcome is not None and outcome.status == WRONG:
                    return values, outcome
        return fallback, self.examiner.examine(fallback)[name]

    def _search(self, is_wrong: Callable[[dict[str, Any]], bool], trials: int) -> dict[str, Any] | None:
        """The smallest input found for which a predicate holds: of small sizes first, each with so many trials."""
        letters = _letters(self.specs) - self.sizes.keys()
        for largest in range(1, self.chosen["largest"] + 1) if letters else [1]:
            trial = _Trial(is_wrong, trials)
            with contextlib.suppress(NoSuchExample, _Enough):
                find(
                    inputs(self.specs, largest, self.sizes),
                    trial,
                    settings=self._settings(trials, Phase.generate, Phase.shrink),
                    random=Random(self.chosen["seed"]),
                )
            if trial.smallest is not None:
                return trial.smallest
        return None

    # --- samples for the diagnosis ------------------------------------------------------------------------------------

    def _samples(self, count: int = 4) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Generic inputs with sizes that differ, and every name's value and right gradient there."""
        letters = sorted(_letters(self.specs))
        drawn: list[dict[str, Any]] = []
        for shift in range(3):  # from 3 on, and not always the same: 1/m with m = 2 would look like 1/2
            distinct = {letter: self.sizes.get(letter, i + 3 + shift) for i, letter in enumerate(letters)}
            of_these_sizes: list[dict[str, Any]] = []
            self._generate(inputs(self.specs, 4, distinct), count, of_these_sizes.append)
            drawn += of_these_sizes[1:] or of_these_sizes  # the first is the simplest: zeros
        ranges = {}
        for name, spec in self.specs.items():
            if isinstance(spec, Shaped):
                seen = np.concatenate([np.ravel(v[name]) for v in drawn])
                lies = (max(seen.min(), -2.0), min(seen.max(), 2.0))
                ranges[name] = None if set(np.unique(seen)) <= {0.0, 1.0} else lies
        random = np.random.default_rng(self.chosen["seed"])
        samples = []
        for values in drawn:
            generic = dict(values)
            for name, ends in ranges.items():
                if ends is not None and ends[0] < ends[1]:
                    generic[name] = random.uniform(*ends, size=np.shape(values[name]))
            known = self.examiner.known_floats(generic)
            if known is not None:
                samples.append((generic, known))
        return samples

    def _diagnose(self, link: Link, samples: Sequence[dict[str, Any]]) -> Diagnosis | None:
        cases, found = [], []
        for known in samples:
            expected = known.get(link.name)
            if expected is None:
                continue
            value, helpers = self.examiner.alone(link.name, known)
            usable = {k: v for k, v in helpers.items() if callable(v) or isinstance(v, _NUMERIC)}
            names = {k: v for k, v in (known | usable).items() if k != link.name}
            cases.append(Sample(names, expected))
            found.append(value)
        if not cases:
            return None
        diagnosis = diagnose(
            link.name,
            link.formula or None,
            cases,
            self.examiner.network(samples),
            scope=self.backward.scope,
            found=found,
        )
        if diagnosis is None and self.backward.in_place:
            words = (
                "its formula is right, but a statement before it changes an array that it uses in place; copy it first."
            )
            return Diagnosis("changed in place", words)
        return diagnosis and self._with_names(diagnosis, samples[0])

    def _with_names(self, diagnosis: Diagnosis, known: Mapping[str, Any]) -> Diagnosis:
        """Say what a gradient is that the correction uses and the backward pass does not have."""
        used = {n.id for n in ast.walk(ast.parse(diagnosis.correction)) if isinstance(n, ast.Name)}
        new = sorted(n for n in used - self.examiner.names - self.examiner.texts.keys() if n in known)
        if not new or self.backward.apart:
            return diagnosis
        words = "".join(f" ({n} is the gradient by {n[1:]}.)" for n in new)
        return replace(diagnosis, words=diagnosis.words + words)


class _Enough(BaseException):  # no Exception, which Hypothesis would take for a failure to shrink
    """The search for a smaller input has had its trials."""


@dataclass
class _Trial:
    """A predicate that keeps the smallest input for which it holds, and ends the search after so many inputs."""

    is_wrong: Callable[[dict[str, Any]], bool]
    left: int
    smallest: dict[str, Any] | None = None

    def __call__(self, values: dict[str, Any]) -> bool:
        if self.left <= 0:
            raise _Enough
        self.left -= 1
        found = self.is_wrong(values)
        if found and (self.smallest is None or _complexity(values) < _complexity(self.smallest)):
            self.smallest = values
        return found


def _letters(specs: Mapping[str, Any]) -> set[str]:
    return {s for spec in specs.values() if isinstance(spec, Shaped) for s in spec.sizes if isinstance(s, str)}


def _size(values: Mapping[str, Any]) -> int:
    return sum(np.size(v) for v in values.values())


def _complexity(values: Mapping[str, Any]) -> tuple[float, ...]:
    """How hard an input is to read: its size, then fractions, numbers that are not 0, their size and minus signs."""
    flat = np.concatenate([np.ravel(np.asarray(v, dtype=float)) for v in values.values()])
    measures = (flat != np.rint(flat), flat != 0, np.abs(flat), flat < 0)
    return (_size(values), *(float(np.sum(m)) for m in measures))
