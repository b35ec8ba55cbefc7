"""Programs are safe, say what they compute, and shrink to the one op that is wrong."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings

import tinygrad_notes as tn
from tinygrad_notes.ops import TABLE, shape_of
from tinygrad_notes.testing.programs import Instruction, Program, graphs

quick = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
search = settings(quick, max_examples=2000, database=None, derandomize=True)
# Whether there is one: not the smallest.
reach = settings(search, phases=[Phase.generate])


def gradient(program):
    return tn.grad(program, argnums=tuple(range(len(program.inputs))))(*program.inputs)


@quick
@given(graphs())
def test_a_program_is_a_scalar_with_a_finite_gradient(program):
    assert 1 <= len(program.inputs) <= 3
    assert shape_of(program(*program.inputs)) == ()
    assert all(np.all(np.abs(y) <= 1e6) for y in program.run(*program.inputs))
    for x, g in zip(program.inputs, gradient(program), strict=True):
        assert np.shape(g) == np.shape(x)
        assert np.all(np.isfinite(g))


@quick
@given(graphs())
def test_nodes_and_plain_numbers_give_the_same(program):
    plain = program(*program.inputs)
    nodes = program(*(tn.Tensor(x) if np.ndim(x) else tn.Value(x) for x in program.inputs))
    assert float(nodes.data) == pytest.approx(float(plain), rel=1e-9, abs=1e-9)


@quick
@given(graphs())
def test_the_source_computes_what_the_program_does(program):
    namespace = {"tn": tn, "np": np}
    exec(str(program).replace("\nprogram(", "\nresult = program("), namespace)
    assert float(namespace["result"]) == pytest.approx(float(program(*program.inputs)), rel=1e-9, abs=1e-9)


@quick
@given(graphs(arrays=False, max_ops=5, inputs=2))
def test_without_arrays_all_is_floats(program):
    assert len(program.inputs) <= 2
    assert all(type(y) in (float, bool) for y in program.run(*program.inputs))
    assert all(step.op.elementwise for step in program.instructions)


@quick
@given(graphs())
def test_nothing_is_dead(program):
    used = {i for step in program.instructions for i in step.operands} | set(program.left_over)
    count = len(program.inputs)
    assert used == set(range(count + len(program.instructions)))
    assert all(TABLE[program.instructions[i - count].op.name].differentiable for i in program.left_over if i >= count)


def test_shared_nodes_ties_and_broadcasting_are_reached():
    def uses(program):
        return [i for step in program.instructions for i in step.operands]

    assert find(graphs(), lambda p: any(uses(p).count(i) > 2 for i in range(len(p.inputs))), settings=reach)
    same = find(graphs(ops=["subtract"]), lambda p: bool(p.instructions), settings=search)
    assert same.source == "def program(x1):\n    y1 = x1 - x1\n    return y1"
    assert same.inputs == (0.0,)
    assert find(
        graphs(ops=["add"]),
        lambda p: any(np.shape(a) != np.shape(b) != () != np.shape(a) for a in p.inputs for b in p.inputs),
        settings=reach,
    )


def test_every_differentiable_row_is_drawn_by_its_name():
    left_out = {"astype", "identity", "one_minus", "cross_entropy"}
    for name, op in list(TABLE.items()):
        if op.differentiable and name not in left_out:
            assert find(graphs(ops=[name], max_ops=3), lambda p, n=name: n in ops_of(p), settings=reach)


def ops_of(program):
    return [step.op.name for step in program.instructions]


def test_replace_changes_one_instruction():
    program = Program((3.0,), (Instruction(TABLE["square"], (0,)), Instruction(TABLE["square"], (1,))))
    wrong = dataclasses.replace(TABLE["square"], partials=lambda xp, y, x: (x,))
    assert tn.grad(program)(3.0) == 4 * 3**3
    assert tn.grad(program.replace(1, wrong))(3.0) == 2 * 3**3
    assert program.instructions[1].op is TABLE["square"]
    assert ops_of(program.replace(0, TABLE["exp"])) == ["exp", "square"]


def test_shown_as_python():
    index = {"index": np.array([0, 0])}
    program = Program(
        (np.array([1.0, 2.0]), -1.0),
        (
            Instruction(TABLE["getitem"], (0,), index),
            Instruction(TABLE["matmul"], (2, 0)),
            Instruction(TABLE["greater"], (3, 1)),
            Instruction(TABLE["where"], (4, 3, 1)),
            Instruction(TABLE["sum_to"], (0,), {"shape": (1,)}),
        ),
    )
    assert str(program) == (
        "def program(x1, x2):\n"
        "    y1 = tn.getitem(x1, index=np.array([0, 0]))\n"
        "    y2 = y1 @ x1\n"
        "    y3 = tn.greater(y2, x2)\n"
        "    y4 = tn.where(y3, y2, x2)\n"
        "    y5 = tn.sum_to(x1, shape=(1,))\n"
        "    return y4 + tn.sum(y5)\n"
        "\n"
        "program(np.array([1.0, 2.0]), -1.0)"
    )
    assert program(*program.inputs) == 3.0 + 3.0
    with pytest.raises(TypeError, match=r"given 1 input\(s\); expected 2"):
        program(1.0)


@quick
@given(graphs(min_ops=12, max_ops=12, ops=["add", "tanh"], arrays=False))
def test_as_many_ops_as_are_asked_for(program):
    assert len(program.instructions) == 12  # numbers fit everywhere


# --- shrinking --------------------------------------------------------------------------------------------------------

WRONG = {
    "multiply": lambda xp, y, a, b: (a, b),
    "tanh": lambda xp, y, x: (1 - y,),
    "maximum": lambda xp, y, a, b: (xp.where(a >= b, 1.0, 0.0), xp.where(b >= a, 1.0, 0.0)),
    "where": lambda xp, y, c, a, b: (None, xp.where(c, 0.0, 1.0), xp.where(c, 1.0, 0.0)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_op_shrinks_to_few_ops_on_small_whole_numbers(name):
    wrong = dataclasses.replace(TABLE[name], partials=WRONG[name])
    failing = []

    @seed(1)
    @settings(
        max_examples=2000,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs())
    def same_gradient(program):
        faulty = program
        for i, step in enumerate(program.instructions):
            faulty = faulty.replace(i, wrong) if step.op.name == name else faulty
        if faulty is not program:
            with np.errstate(all="ignore"):
                for right, found in zip(gradient(program), gradient(faulty), strict=True):
                    if not np.allclose(right, found, rtol=1e-9, atol=1e-12):
                        failing.append(program)
                        raise AssertionError

    with pytest.raises(AssertionError):
        same_gradient()
    smallest = failing[-1]
    assert len(smallest.instructions) <= 4
    assert all(np.all(np.isin(x, range(-3, 4))) for x in smallest.inputs)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"graphs: given max_ops=.*0.*; expected a whole number of at least 1"):
        graphs(max_ops=0)
    with pytest.raises(ValueError, match="graphs: given min_ops=3 and max_ops=2"):
        graphs(min_ops=3, max_ops=2)
    with pytest.raises(ValueError, match="graphs: given the op 'sine'; expected a row of the table or its name"):
        graphs(ops=["sine"])
    with pytest.raises(ValueError, match="graphs: given matmul; expected an elementwise op, since arrays=False"):
        graphs(ops=[TABLE["matmul"]], arrays=False)
    with pytest.raises(ValueError, match="graphs: given less; expected a differentiable op"):
        graphs(ops=["less"])
    with pytest.raises(ValueError, match="graphs: given no op"):
        graphs(ops=[])
