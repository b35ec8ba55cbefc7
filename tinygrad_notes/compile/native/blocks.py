"""Stages that are run for one block of samples after the other; threads share out the blocks.

Each thread has memory of its own for what is kept on the way, sums over samples among it. It runs what comes before the
blocks itself. When all have done their blocks, the first adds the others' sums to its own, in the threads' order, and
goes on alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .lines import Lines
from .program import Program, Word
from .stage import Product, Stage


class Blocks(NamedTuple):
    """Stages that are run for each block of samples, where `step` stands for the number of the block.

    Attributes:
        first: the first of them.
        end: the first after them; the stages from here to before `after` are run once, on the samples that are left.
        after: the first after those, to be run when all samples are done.
        repeats: how many blocks there are. Several threads share them out.
        buffer: what is kept on the way; each thread has its own, and runs what comes before the blocks itself.
        offset, sums: where in that buffer the sums over samples are, and how many: those of all threads are added up.
    """

    first: int
    end: int
    after: int
    repeats: int
    buffer: int
    offset: int
    sums: int

    def times(self, stage: int) -> int:
        """How often a stage is run in a step."""
        return self.repeats if self.first <= stage < self.end else 1


class BlockedProgram(Program):
    """The text of a module that runs stages, some of them for each block.

    Args:
        stages, element: as of every `Program`.
        blocks: which stages are run for each block.
        together: whether several threads may run it together.
    """

    def __init__(self, stages: Sequence[Stage | Product], element: str, blocks: Blocks, together: bool) -> None:
        self.blocks, self.together = blocks, together
        super().__init__(stages, element, shared=False)  # no stage is shared out

    def run(self) -> None:
        """The functions that Python calls."""
        if self.together:
            self.wait()
            self.join_sums()
        super().run()

    def step(self, w: Lines, step: str) -> None:
        """A step; the last thread takes the samples that are left."""
        blocks = self.blocks
        first, last, is_first, is_last = "0", str(blocks.repeats), "true", "true"
        if self.together:
            thread, threads = self.word(w, Word.THREAD), self.word(w, Word.THREADS)
            first, last = self.share(w, "block.bound", blocks.repeats, thread, threads, "true")
            is_first = w.value(f"icmp eq i64 {thread}, 0", "is.first")
            is_last = w.value(f"icmp eq i64 {w.value(f'add i64 {thread}, 1', 'next')}, {threads}", "is.last")
        self.stages(w, 0, blocks.first, step)
        with w.loop("block", first, last) as block:
            self.stages(w, blocks.first, blocks.end, block)
        with w.when("left", is_last):
            self.stages(w, blocks.end, blocks.after, step)
        if self.together:
            self.call(w, "wait")
        with w.when("after", is_first):
            if self.together:
                self.call(w, "join")
            self.stages(w, blocks.after, len(self.layouts), step)
        if self.together:
            self.call(w, "wait")

    def stages(self, w: Lines, first: int, end: int, step: str) -> None:
        """Some stages, one after the other."""
        for number in range(first, end):
            self.call(w, f"stage{number}", step=step)

    def join_sums(self) -> None:
        """The function that adds the other threads' sums over samples to those of the first."""
        blocks = self.blocks
        with self.function("join") as w:
            tables, threads = self.word(w, Word.ALL_TOTALS, "ptr"), self.word(w, Word.THREADS)
            sums = w.argument("ptr noalias", f"buffer{blocks.buffer}")
            with w.loop("other", "1", threads) as other:
                table = w.value(f"load ptr, ptr {w.value(f'getelementptr ptr, ptr {tables}, i64 {other}')}")
                own = w.value(f"load ptr, ptr {w.value(f'getelementptr ptr, ptr {table}, i64 {blocks.buffer}')}")
                with w.loop("place", str(blocks.offset), str(blocks.offset + blocks.sums)) as place:
                    to, source = (
                        w.value(f"getelementptr {w.element}, ptr {base}, i64 {place}", "at") for base in (sums, own)
                    )
                    number, total = (w.value(f"load {w.element}, ptr {at}", "number") for at in (source, to))
                    w.line(f"store {w.element} {w.add(total, number)}, ptr {to}")
            self.load_arguments(w)
