"""How a stage's code lies in functions, and its values in slots of the scratch memory."""

from __future__ import annotations

from .engine import vector_bytes
from .lines import BYTES
from .stage import Access, Product, Stage, access, operands, remade

PART = 512  # entries in a function: the fastest to run of 192 to 768, and LLVM takes as long for any
FEW = 6  # vectors of less than full size that are quicker than larger ones and a rest
COPIES = 4
SHORT = 32  # entries of a stage whose sums are taken in several copies


def widest(element: str) -> int:
    """Elements in the machine's widest vector."""
    return vector_bytes() // BYTES[element]


def width_of(lanes: int, element: str) -> int:
    """Elements in a vector: no more than there are lanes for, rounded up; and so that a few vectors leave none over."""
    width = widest(element)
    while width > 1 and width // 2 >= lanes:
        width //= 2
    even = lanes & -lanes  # the largest power of two that divides them
    return min(width, even) if even > 1 and lanes <= FEW * even else width


def totals_by_place(stage: Stage) -> dict[Access, list[int]]:
    """The totals of a stage, by buffer and strides; the offset in a key is 0."""
    found: dict[Access, list[int]] = {}
    for k, entry in enumerate(stage.code):
        place = access(entry)
        if entry[0] == "total" and place:
            found.setdefault(place._replace(offset=0), []).append(k)
    return found


class CodeLayout:
    """What one vector's code needs to know.

    Attributes:
        remade: The values that are written anew where they are used.
        crossing: Value → slot, for values that are used in another part than their own.
        sums: Total over lanes → its slot in the first copy, and how many slots on the next copy's is.
        direct: Whether there is one vector only, whose sums are stored as they are.
        staged: Load, store or total → slot, which stands in for the buffer when lanes fill no vector.
        dump: The slot for what nobody reads.
        tail: Lanes that fill no whole vector.
    """

    def __init__(self, number: int, stage: Stage | Product, element: str) -> None:
        self.number, self.code, self.element = number, stage.code, element
        self.lanes, self.tail = stage.lanes, 0
        self.remade = remade(stage)
        self.crossing: dict[int, int] = {}
        self.staged: dict[int, int] = {}
        self.sums: dict[int, tuple[int, int]] = {}
        self.direct, self.dump = False, 0


class Layout(CodeLayout):
    """A stage, the parts of its code and the slots of its values.

    Attributes:
        parts: The entries in each function.
        copies: So many vectors are summed side by side: one sum waits for its last addition.
    """

    def __init__(self, number: int, stage: Stage, element: str, shared: bool) -> None:
        super().__init__(number, stage, element)
        self.stage, self.copies, self.slots = stage, 1, 0
        code = self.stage.code
        self.width = width_of(self.stage.lanes, self.element)
        self.parts = [range(k, min(k + PART, len(code))) for k in range(0, len(code), PART)] or [range(0)]
        self.tail = stage.lanes % self.width
        self._place_crossing()
        sums = [(e[2], e[3]) for e in code if e[0] == "total" and not e[5]]
        alone = len(set(sums)) == len(sums) == sum(e[0] == "total" for e in code)
        single = self.stage.rows == 1 and self.stage.lanes == self.width > 1
        self.direct = alone and single and not shared
        over_lanes = [totals for place, totals in totals_by_place(self.stage).items() if not place.lane_stride]
        if over_lanes and len(code) <= SHORT and self.stage.lanes >= 2 * COPIES * self.width:
            self.copies = COPIES
        for totals in over_lanes if not self.direct else ():
            self.sums |= {k: (self.new_slot(), len(totals)) for k in totals}
            self.slots += (self.copies - 1) * len(totals)
        for k, entry in enumerate(code):
            place = access(entry)
            if entry[0] != "gather" and place and place.lane_stride == 1 and self.tail:
                self.staged[k] = self.new_slot()
        self.dump = self.new_slot()

    def _place_crossing(self) -> None:
        """Slots for values that cross parts; a slot is free again after the last part that uses it."""
        code = self.stage.code
        last_use = {a: k for k, entry in enumerate(code) for a in operands(entry) if a not in self.remade}
        ending: dict[int, list[int]] = {}
        free: list[int] = []
        for part in self.parts:
            for a in part:
                if last_use.get(a, 0) >= part.stop:
                    self.crossing[a] = free.pop() if free else self.new_slot()
                    ending.setdefault(last_use[a] // PART, []).append(self.crossing[a])
            free += ending.get(part.start // PART, [])

    def sums_by_place(self) -> dict[Access, tuple[range, list[int]]]:
        """For each buffer and stride: the slots of the sums that go there, one copy after the other, and
        the offsets of the sums."""
        return {
            place: (
                range(self.sums[ks[0]][0], self.sums[ks[0]][0] + self.copies * len(ks)),
                [self.stage.code[k][3] for k in ks],
            )
            for place, ks in totals_by_place(self.stage).items()
            if not place.lane_stride and not self.direct
        }

    @property
    def scratch(self) -> int:
        """Elements of scratch memory that a thread needs."""
        return self.slots * self.width

    @property
    def has_totals(self) -> bool:
        """Whether the stage adds to anything."""
        return not self.direct and any(entry[0] == "total" for entry in self.stage.code)

    def new_slot(self) -> int:
        """A new slot of the scratch memory."""
        self.slots += 1
        return self.slots - 1
