"""What a derivation shows beside the networks: numbers, scalars, second order, shared nodes, names, and bad input."""

import builtins

import numpy as np
import pytest
from derived_networks import NETWORKS

import tinygrad_notes as tn
from tinygrad_notes.derive import DeriveError, algebra
from tinygrad_notes.derive.derivation import UNSIMPLIFIED
from tinygrad_notes.derive.latex import named
from tinygrad_notes.derive.sizes import Size
from tinygrad_notes.derive.writing import indexed


def value(x, name, requires_grad=True):
    return tn.Value(x, name=name, requires_grad=requires_grad)


def lines(derivation):
    return {line.name: line.forms[-1] for line in derivation.lines}


# --- scalars ----------------------------------------------------------------------------------------------------------


def test_a_perceptron_of_values():
    w, b = value(0.8, "w"), value(0.1, "b")
    x, y = value(0.5, "x", False), value(1.0, "y", False)
    a = tn.sigmoid(w * x + b).named("a")
    d = tn.derive(tn.nn.binary_cross_entropy(y, a).named("L"))
    assert str(d).splitlines() == [
        "∂L/∂a = −y/a + (1 − y)/(1 − a)",
        "∂L/∂w = ∂L/∂a · ∂a/∂w = ∂L/∂a · x · a · (1 − a) = x · a · (1 − a) · (−y/a + (1 − y)/(1 − a)) = x · (a − y)",
        "∂L/∂b = ∂L/∂a · ∂a/∂b = ∂L/∂a · a · (1 − a) = a · (1 − a) · (−y/a + (1 − y)/(1 − a)) = a − y",
    ]


def test_a_number_without_a_name_stands_for_itself():
    w = value(0.8, "w")
    assert lines(tn.derive((w * 0.5 + 3.0) ** 2)) == {"w": "3 + w/2"}
    assert lines(tn.derive(w * 0.1 * w)) == {"w": "0.2 w"}


def test_several_consumers_add_up():
    x = value(2.0, "x")
    u, v = (x * x).named("u"), tn.exp(x).named("v")
    d = tn.derive((u * v + u).named("L"))
    assert str(d).splitlines()[-1] == "∂L/∂x = ∂L/∂v · ∂v/∂x + ∂L/∂u · ∂u/∂x = ∂L/∂v · v + 2 ∂L/∂u · x"


def test_second_order():
    x = value(2.0, "x")
    (x**3).named("f").backward(create_graph=True)
    assert str(tn.derive(x.grad.named("g"))) == "∂g/∂x = 6 x"


def test_the_second_derivative_of_the_cross_entropy_is_the_slope_of_the_sigmoid():
    w, b, x, y = value(0.8, "w"), value(0.1, "b"), value(0.5, "x", False), value(1.0, "y", False)
    Z = (w * x + b).named("Z")
    tn.nn.binary_cross_entropy(y, tn.sigmoid(Z).named("a")).backward(create_graph=True)
    assert lines(tn.derive(w.grad.named("g")))["Z"] == "x · a · (1 − a)"


def test_second_order_on_arrays():
    W, X = tn.Tensor([[0.3, -0.2, 0.5]], name="W"), np.random.default_rng(0).normal(size=(3, 4))
    p = (W @ X).named("p")
    tn.sum(p**3).backward(create_graph=True)
    g = W.grad.named("g")
    d = tn.derive(tn.sum(g * g).named("S"), names={"X": X})
    assert lines(d) == {"g": "2 g", "p": "6 (∂S/∂g · X) ⊙ p", "W": "∂S/∂p · Xᵀ"}


# --- what it is asked for ---------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_automatic_gradient():
    network = NETWORKS["deep"]
    known = network.record()
    d = tn.derive(known["L"], names=known, numbers=True)
    assert all(known[k].grad is None for k in known if isinstance(known[k], tn.Tensor)), ".grad is left alone"
    known["L"].backward()
    for line in d.lines:
        assert len(line.numbers) == len(line.nodes)
        for node, g in zip(line.nodes, line.numbers, strict=True):
            np.testing.assert_array_equal(g, node.grad)


def test_numbers_are_shown():
    w = value(0.5, "w")
    d = tn.derive((-w * w).named("L"), numbers=True)
    assert str(d) == "∂L/∂w = −2 w = −1"
    assert d.latex().endswith("-2 \\, w = -1\n\\end{aligned}")
    W = tn.Tensor([[1.0, -2.0]], name="W")
    (line,) = tn.derive(tn.sum(W * W), numbers=True).lines
    assert line.forms[-1] == "[[2, −4]]"
    assert line.latex.endswith(r"\begin{bmatrix} 2 & -4 \end{bmatrix}")
    large = tn.Tensor(np.arange(40.0), name="W")
    (line,) = tn.derive(tn.sum(large * large), numbers=True).lines
    assert line.forms[-1] == "[0, 2, …, 78]"


def test_wrt_limits_the_lines_to_the_way():
    known = NETWORKS["two_layer"].record()
    for wrt in (known["w2"], "w2", ["w2"]):
        assert list(lines(tn.derive(known["L"], wrt, names=known))) == ["a2", "Z2", "w2"]
    assert list(lines(tn.derive(known["L"], "Z1", names=known))) == ["a2", "Z2", "a1", "Z1"]


def test_a_line_knows_its_nodes():
    known = NETWORKS["deep"].record()
    by_name = {line.name: line for line in tn.derive(known["L"], names=known).lines}
    assert by_name["Z4"].node is known["Z4"]
    assert by_name["Z_l"].nodes == (known["Z3"], known["Z2"], known["Z1"])
    assert by_name["Z_l"].python.splitlines() == [f"dZ{i} = da{i} * (1 - a{i}**2)" for i in (3, 2, 1)]


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_network_without_names_gets_the_chapter_s_letters():
    net = tn.nn.MLP([3, 4, 4, 1], activation="tanh", rng=0)
    loss = tn.nn.mse(np.ones((5, 1)) * 2, net(np.random.default_rng(0).normal(size=(5, 3))))
    assert lines(tn.derive(loss)) == {
        "a3": "2 (a3 − y)/m",
        "Z3": "∂L/∂a3 ⊙ a3 ⊙ (1 − a3)",
        "w_l": "(∂L/∂Z_l)ᵀ · a_{l−1}   for l = 3 … 1, a0 = x",
        "b_l": "Σ_batch ∂L/∂Z_l   for l = 3 … 1",
        "a_l": "∂L/∂Z_{l+1} · w_{l+1}   for l = 2 … 1",
        "Z_l": "∂L/∂a_l ⊙ (1 − a_l²)   for l = 2 … 1",
    }


def test_what_was_computed_from_data_alone_is_recognised():
    """1 − y is an array of its own in the graph, since y takes no gradient."""
    y = np.array([0.0, 1.0, 1.0])
    Z = tn.Tensor([0.3, -0.2, 0.5], name="Z")
    a = tn.sigmoid(Z).named("a")
    L = -tn.sum(y * tn.log(a) + (1 - y) * tn.log(1 - a))
    assert lines(tn.derive(L, names={"y": y})) == {"a": "−y/a + (1 − y)/(1 − a)", "Z": "a − y"}


def test_a_sum_over_everything_is_a_sum_over_the_batch_of_data():
    W, X = tn.Tensor([[1.0, 2.0, 3.0]], name="W"), np.random.default_rng(0).normal(size=(3, 4))
    d = tn.derive(tn.sum(W @ X), names={"X": X})
    assert lines(d) == {"W": "Σ_batch Xᵀ"}
    np.testing.assert_allclose(d.backward(X=X)["dW"], X.T.sum(axis=0, keepdims=True))


@pytest.mark.parametrize(
    ("name", "tex"),
    [
        *[("Z1", "Z_1"), ("w12", "w_{12}"), ("w1_2", "w_{1,2}"), ("alpha", r"\alpha"), ("lam", r"\lambda")],
        *[("beta1", r"\beta_1"), ("loss", r"\mathrm{loss}"), ("h_t", "h_t"), ("W_out", r"W_{\mathrm{out}}")],
    ],
)
def test_names_in_latex(name, tex):
    assert named(name) == tex


def test_names_with_an_index():
    assert [indexed(n) for n in ("Z2", "h_10", "w1_2", "x", "a2b")] == [("Z", 2), ("h", 10), None, None, None]


def test_a_size_is_a_number_with_a_letter():
    m, k = (algebra.sympy().Symbol(s) for s in "mk")
    both = Size(5, m) * Size(3, k)
    assert (both, both.expression) == (15, m * k)
    assert (2 * Size(5, m)).expression == 2 * m
    assert Size(5, m) - 1 == 4


# --- verification -----------------------------------------------------------------------------------------------------


def test_a_line_that_fails_is_shown_unsimplified_and_says_so(monkeypatch):
    right = algebra.simplest
    monkeypatch.setattr(algebra, "simplest", lambda e, *weigh: 2 * right(e, *weigh) if e.is_Mul else right(e, *weigh))
    d = NETWORKS["perceptron"].derive(wrt="Z")
    line = d.lines[-1]
    assert (line.note, line.verified) == (UNSIMPLIFIED, True)
    assert line.forms[-1] == "∂L/∂a ⊙ a ⊙ (1 − a)"
    assert line.python == "dZ = da * a * (1 - a)"
    assert str(d).endswith(f"\n    ({UNSIMPLIFIED})")
    assert UNSIMPLIFIED in d.latex()


def test_a_line_that_no_input_decides_says_so():
    with np.errstate(all="ignore"):
        d = tn.derive(tn.sum(tn.asin(tn.Tensor(np.linspace(2, 5, 12), name="x"))))
    assert not d.lines[0].verified
    assert d.lines[0].note.startswith("not verified: ")


def test_an_op_whose_slope_is_wrong_in_one_reading_only_is_found_out():
    """The rule is read with symbols and with arrays; where the two differ, the line says so."""

    def partials(xp, y, x):
        return (2 * x if "derive" in type(x).__module__ else 3 * x * x,)

    cube = tn.elementwise("cube_for_derive", forward=lambda xp, x: x * x * x, partials=partials)
    d = tn.derive(tn.sum(cube(tn.Tensor([1.0, 2.0], name="x"))))
    assert not d.lines[0].verified
    assert "does not agree" in str(d)


def test_a_row_of_the_user_is_read_as_any_other():
    cube = tn.elementwise(
        "cube_for_derive", forward=lambda xp, x: x * x * x, partials=lambda xp, y, x: (3 * x * x,), tex="{0}^3"
    )
    roll = tn.structural(
        "roll_for_derive",
        forward=lambda xp, x, *, by=1: xp.concat([x[-by:], x[:-by]]),
        vjp=lambda xp, g, y, x, *, by=1: xp.concat([g[by:], g[:by]]),
    )
    x, c = tn.Tensor([1.0, 2.0, 3.0], name="x"), np.array([0.5, 1.0, 2.0])
    d = tn.derive(tn.sum(tn.exp(roll(cube(x).named("u"))) * c), names={"c": c})
    assert all(line.verified for line in d.lines)
    assert lines(d)["x"] == "3 ∂L/∂u ⊙ x²"
    u = x.data**3
    expected = tn.grad(lambda v: tn.sum(tn.exp(roll(cube(v))) * c))(x.data)
    np.testing.assert_allclose(d.backward(x=x.data, c=c, u=u)["dx"], expected)


# --- bad input --------------------------------------------------------------------------------------------------------

W = tn.Tensor([[1.0, 2.0]], name="W")


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: tn.derive(3.0), TypeError, "got 3.0; expected a Value or Tensor, the loss"),
        (lambda: tn.derive(W * 2), DeriveError, "Tensor (1, 2) of float64 is no scalar; sum it first"),
        (lambda: tn.derive(tn.Value(1.0, name="x")), DeriveError, "no gradient path leads from Value(1.0, name='x')"),
        (lambda: tn.derive(tn.Tensor(1.0, name="x", requires_grad=False) * 2), DeriveError, "no gradient path"),
        (lambda: tn.derive(tn.sum(tn.Tensor([1.0, 2.0]))), DeriveError, "Tensor (2,) of float64 has no name; give it"),
        (lambda: tn.derive(tn.sum(W * tn.Tensor([[3.0]], name="W"))), DeriveError, "are both called W; give each"),
        (lambda: tn.derive(tn.sum(tn.Tensor([1.0, 2.0], name="a b"))), DeriveError, "'a b' cannot stand in a formula"),
        (lambda: tn.derive(tn.sum(W), "q"), DeriveError, "from the loss to q; there is one to W"),
        (lambda: tn.derive(tn.sum(W), tn.Value(1.0)), DeriveError, "from the loss to Value(1.0); there is one to W"),
        (lambda: tn.derive(tn.sum(W), 3), TypeError, "wrt has 3; expected nodes of the graph or their names"),
    ],
)
def test_bad_input_gets_one_clear_sentence(call, error, says):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert message.startswith("derive: ")
    assert says in message
    assert "\n" not in message


def test_a_gradient_that_is_nowhere_real_is_refused():
    with np.errstate(all="ignore"):
        loss = tn.sum(tn.sqrt(-tn.exp(tn.Tensor([1.0, 2.0], name="x"))))
    with pytest.raises(DeriveError, match="the gradient of x is no real number"):
        tn.derive(loss)


def test_a_long_graph_without_names_is_refused_with_advice():
    h, w = tn.Tensor([0.3, 0.2], name="h0"), tn.Tensor([0.5, 0.1], name="w")
    for _ in range(12):
        h = tn.tanh(h * w) + h * w * tn.sigmoid(h)
    with pytest.raises(DeriveError, match=r"would have more than 1000 symbols; name the steps on the way, as"):
        tn.derive(tn.sum(h))


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    d = tn.derive(tn.sum(W * W))
    imported = builtins.__import__

    def without(name, *args, **options):
        if name.partition(".")[0] in ("sympy", "latex2mathml"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
        return imported(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"latex2mathml is not installed: pip install 'tinygrad_notes\[der"):
        d.html()
    algebra.sympy.cache_clear()
    try:
        with pytest.raises(ModuleNotFoundError, match=r"sympy is not installed: pip install 'tinygrad_notes\[derive\]"):
            tn.derive(tn.sum(W * W))
    finally:
        algebra.sympy.cache_clear()


def test_comparisons_are_added_as_numbers():
    """NumPy's True + True is True."""
    x = tn.Tensor([1.0, -2.0], name="x")
    y = tn.Tensor([0.5, 1.0], name="y")
    d = tn.derive(tn.sum(tn.relu(x) + tn.maximum(x, x) + tn.relu(x) * (x > y)).named("L"))
    assert not [line.note for line in d.lines if line.note]
    d.loss.backward()
    np.testing.assert_array_equal(d.backward(x=x.data, y=y.data)["dx"], x.grad)
