"""Random networks and programs over the whole op table: `d.python()` run with NumPy is the automatic gradient."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.derive.derivation import DISAGREES, UNSIMPLIFIED
from tinygrad_notes.testing import graphs

ACTIVATIONS = ("sigmoid", "tanh", "relu", "softplus", "sin", "silu", "identity")


def run(derivation, known):
    """What the generated function gives on named values."""
    takes = derivation.backward.__code__.co_varnames[: derivation.backward.__code__.co_argcount]
    with np.errstate(all="ignore"):
        return derivation.backward(**{k: known[k] for k in takes})


@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.lists(st.sampled_from(ACTIVATIONS), min_size=3, max_size=3),
    st.booleans(),
    st.sampled_from(("mse", "sum", "softmax")),
    st.integers(0, 10**6),
)
def test_random_networks(sizes, activations, biased, loss, seed):
    random = np.random.default_rng(seed)
    a = x = random.normal(size=(sizes[0], 3))
    known = {"x": x}
    for i, (n_in, n_out, f) in enumerate(zip(sizes, sizes[1:], activations, strict=False), start=1):
        w = known[f"w{i}"] = tn.Tensor(random.normal(size=(n_out, n_in)), name=f"w{i}")
        Z = w @ a
        if biased:
            b = known[f"b{i}"] = tn.Tensor(random.normal(size=(n_out, 1)), name=f"b{i}")
            Z = Z + b
        known[f"Z{i}"] = Z
        a = known[f"a{i}"] = Z if f == "identity" else tn.ops.TABLE[f](Z)
    y = known["y"] = np.eye(sizes[-1])[:, random.integers(0, sizes[-1], size=3)]
    if loss == "softmax":
        L = -tn.mean(tn.sum(y * tn.log_softmax(a, axis=0), axis=0))
    else:
        L = tn.mean((a - y) ** 2) if loss == "mse" else tn.sum((a - y) ** 2) / 2
    d = tn.derive(L.named("L"), names=known)
    assert not [line for line in d.lines if not line.verified]
    L.backward()
    found = run(d, {k: v.data if isinstance(v, tn.Tensor) else v for k, v in known.items()})
    for k, v in known.items():
        if isinstance(v, tn.Tensor) and f"d{k}" in found:
            assert found[f"d{k}"].shape == v.shape
            np.testing.assert_allclose(found[f"d{k}"], v.grad, rtol=1e-9, atol=1e-11)
    assert {f"dw{i}" for i in range(1, len(sizes))} <= found.keys()


@settings(max_examples=40)
@given(graphs(max_ops=5), st.integers(0, 7), st.booleans())
def test_random_programs(program, named, tensors):
    """Every row of the table, nodes shared and used twice, some named and some not, Values and Tensors mixed."""
    leaves = [
        tn.Tensor(np.asarray(x, dtype=float), name=f"x{c}") if tensors or np.ndim(x) else tn.Value(x, name=f"x{c}")
        for c, x in zip("abc", program.inputs, strict=False)
    ]
    tape = program.run(*leaves)
    for i, node in enumerate(tape[len(leaves) :]):
        if getattr(node, "op", None) is not None and (named >> i % 3) & 1:
            node.named(f"y{'abcdefghijklmnopqrst'[i]}")
    total = None
    for i in program.left_over:
        term = tn.sum(tape[i]) if tape[i].shape else tape[i]
        total = term if total is None else total + term
    if total.op is None:
        return  # the program is one of its inputs
    d = tn.derive(total.named("L"))
    # Where a program is degenerate, as the hypotenuse of 0 and 0, no input decides.
    assert [line.text for line in d.lines if line.note in (UNSIMPLIFIED, DISAGREES)] == []
    assert d.latex().count(r"\left") == d.latex().count(r"\right")
    compile(d.python(), "d.python()", "exec")


def test_products_of_arrays_of_every_shape():
    """Axes of one element, vectors and stacks; the product has a name, or is passed on to another op."""
    shapes = [s for ndim in (1, 2, 3) for s in itertools.product((1, 2, 3), repeat=ndim) if s[0] < 3 or ndim < 3]
    random = np.random.default_rng(0)
    for left, right in itertools.product(shapes, shapes):
        many = len(left) == len(right) == 3 and 3 in left + right
        if many or left[-1] != (right[-2] if len(right) > 1 else right[0]):
            continue
        for after in (tn.sum, lambda Z: tn.sum(Z.named("Z")), lambda Z: tn.mean(tn.sin(Z))):
            xa, xb = tn.Tensor(random.normal(size=left), name="xa"), tn.Tensor(random.normal(size=right), name="xb")
            d = tn.derive(after(xa @ xb).named("L"))
            assert [(left, right, line.text, line.note) for line in d.lines if line.note] == []
