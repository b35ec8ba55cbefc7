"""A program in blocks of samples: how many a block has, and the stages of a block and of what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..native import Blocks, Product, Stage
from ..tape import DeclinedError, Tape
from .samples import AFTER, BEFORE, WITHIN, Samples, sizes
from .schedule import Schedule
from .stages import Stages

NEAR, FAR = 8_192, 32_768
"""How many numbers are kept for a block: so many that they stay in the first cache or near it, and the most."""
SMALLEST = 64
"""The fewest samples of a block: fewer take longer to add up than to compute."""


class Blocked(NamedTuple):
    """A program in blocks.

    Attributes:
        main: the stages of a block.
        stages: all stages, in order.
        blocks: which of them are run for each block.
    """

    main: Stages
    stages: list[Stage | Product]
    blocks: Blocks


def blocked(tape: Tape, roots: Sequence[int], kept: int) -> Blocked | None:
    """A program in blocks of samples; None where it is not to run so.

    Args:
        tape: the program, lowered.
        roots: the rows to return.
        kept: how many numbers it keeps on the way when it runs for all samples at once.
    """
    for size in sizes(tape, tape.live(roots)):
        try:
            samples = Samples(tape, roots, size)
            block = block_size(size, kept / size)
            return _written(samples, roots, block) if samples.axes and 2 * block <= size else None
        except DeclinedError:
            continue
    return None


def block_size(samples: int, each: float) -> int:
    """How many samples a block has: if possible so many that all blocks are alike.

    Args:
        samples: how many there are.
        each: how many numbers are kept of one.
    """
    if each * SMALLEST > FAR:
        raise DeclinedError("many numbers of each sample")
    most = max(SMALLEST, int(NEAR / max(each, 1.0)))
    return next((n for n in range(most, most // 2, -1) if samples % n == 0), most)


def _written(samples: Samples, roots: Sequence[int], size: int) -> Blocked:
    def on(size: int, beside: Stages | None = None, done: int = 0) -> Stages:
        return Stages(Schedule(samples.narrowed(size), roots, len(roots), samples=samples), {}, beside, done)

    count, left = divmod(samples.size, size)
    main = on(size)
    rest = on(left, main, count * size) if left else None
    begin, add = _summing(main)
    before = [*main.phases[BEFORE], *begin]
    block = [*main.phases[WITHIN], *add]
    others = [*rest.phases[WITHIN], *add] if rest else []
    first, end = len(before), len(before) + len(block)
    blocks = Blocks(first, end, end + len(others), count, main.kept, *main.sums)
    return Blocked(main, [*before, *block, *others, *main.phases[AFTER]], blocks)


def _summing(stages: Stages) -> tuple[list[Stage], list[Stage]]:
    """Stages that let the sums over samples begin at 0, and that add those of a block."""
    (offset, count), kept = stages.sums, stages.kept
    if not count:
        return [], []
    begin = [("constant", 0.0), ("store", 0, kept, offset, 0, 1, 0)]
    add = [("load", kept, place, 0, 1, 0) for place in (offset, offset + count)]
    return [Stage(count, 1, begin)], [Stage(count, 1, [*add, ("add", 0, 1), ("store", 2, kept, offset, 0, 1, 0)])]
