"""Layers against PyTorch, and scalar layers against array layers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value
from tinygrad_notes.nn import MLP, Linear, Module, Neuron, Perceptron, glorot, he

SMOOTH = ["sigmoid", "tanh", "softplus", "relu", None]
seeds = st.integers(0, 2**32)
sizes = st.lists(st.integers(1, 4), min_size=2, max_size=4)


def examples(n_in, m=3):
    return arrays(float, (m, n_in), elements=st.floats(-3, 3))


def torch_twin(net):
    """The same network in PyTorch, with the same weights."""
    torch = pytest.importorskip("torch")
    named = {"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "softplus": torch.nn.Softplus, "relu": torch.nn.ReLU}
    parts = []
    for k, layer in enumerate(net.layers):
        n_out, n_in = layer.weight.shape
        linear = torch.nn.Linear(n_in, n_out, dtype=torch.float64)
        linear.load_state_dict({name: torch.tensor(a) for name, a in layer.state_dict().items()})
        parts.append(linear)
        f = net.output if k == len(net.layers) - 1 else net.activation
        if f is not None:
            parts.append(named[f.name]())
    return torch.nn.Sequential(*parts)


@given(st.data(), sizes, st.sampled_from(SMOOTH), st.sampled_from(SMOOTH), seeds)
def test_mlp_and_its_gradients_are_pytorchs(data, sizes, activation, output, seed):
    torch = pytest.importorskip("torch")
    net = MLP(sizes, activation=activation, output=output, rng=seed)
    x = data.draw(examples(sizes[0]))
    twin = torch_twin(net)
    ours, theirs = net(x), twin(torch.tensor(x))
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)
    tn.sum(ours * ours).backward()
    (theirs * theirs).sum().backward()
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-10, atol=1e-12)


@given(st.data(), sizes, st.sampled_from([*SMOOTH, "gelu", "leaky_relu"]), st.sampled_from(SMOOTH), seeds)
def test_scalar_and_array_networks_are_one(data, sizes, activation, output, seed):
    arrayed = MLP(sizes, activation=activation, output=output, rng=seed)
    scalar = MLP(sizes, activation=activation, output=output, of=Value, rng=seed)
    x = data.draw(examples(sizes[0], m=1))[0]
    a, values = arrayed(x), scalar(x.tolist())
    assert a.shape == (sizes[-1],)
    assert all(type(v) is Value for v in values)
    np.testing.assert_allclose([v.data for v in values], a.data, rtol=1e-13, atol=1e-15)
    tn.sum(a * a).backward()
    sum((v * v for v in values[1:]), values[0] * values[0]).backward()
    by_array = {p.name: p.grad for p in arrayed.parameters()}
    found = {name: np.zeros_like(g) for name, g in by_array.items()}
    for p in scalar.parameters():
        name, *place = p.name.split("_")
        found[name][tuple(int(i) - 1 for i in place)] = p.grad
    for name, g in by_array.items():
        np.testing.assert_allclose(found[name], g, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("make", [lambda of: MLP([3, 4, 2], of=of, rng=7), lambda of: Neuron(3, "relu", of=of, rng=7)])
def test_one_seed_gives_one_set_of_weights_of_one_form(make):
    a, b = make(Tensor).state_dict(), make(Value).state_dict()
    assert {n: x.shape for n, x in a.items()} == {n: x.shape for n, x in b.items()}
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_weights_trained_on_arrays_load_into_the_scalar_model_and_back():
    arrayed, scalar = MLP([3, 4, 2], rng=1), MLP([3, 4, 2], of=Value, rng=2)
    x = [0.3, -1.0, 2.0]
    scalar.load_state_dict(arrayed.state_dict())
    np.testing.assert_allclose([v.data for v in scalar(x)], arrayed(x).data, rtol=1e-14)
    back = MLP([3, 4, 2], rng=3)
    back.load_state_dict(scalar.state_dict())
    assert all(np.array_equal(a, back.state_dict()[name]) for name, a in arrayed.state_dict().items())


@given(st.data(), st.integers(1, 4), seeds)
def test_a_neuron_is_a_layer_of_one_unit(data, n_in, seed):
    neuron, layer = Neuron(n_in, "tanh", rng=seed), Linear(n_in, 1, rng=seed)
    x = data.draw(examples(n_in))
    assert np.array_equal(neuron.weight.data, layer.weight.data[0])
    assert neuron(x).shape == (3,)
    np.testing.assert_allclose(neuron(x).data, np.tanh(layer(x).data[:, 0]), rtol=1e-12, atol=1e-15)
    scalar = Neuron(n_in, "tanh", of=Value, rng=seed)(x[0])
    assert type(scalar) is Value
    assert math.isclose(scalar.data, neuron(x[0]).item(), rel_tol=1e-12, abs_tol=1e-15)


def test_the_perceptron_is_the_formula_of_the_notes():
    x, w, b = np.array([0.5, -1.0]), np.array([0.8, -0.3]), 0.1
    for of in (Tensor, Value):
        unit = Perceptron(2, of=of)
        unit.load_state_dict({"weight": w, "bias": b})
        z = w @ x + b
        assert math.isclose(unit(x).item(), 1 / (1 + math.exp(-z)), rel_tol=1e-15)
        assert math.isclose(unit.logits(x).item(), z, rel_tol=1e-15)


def test_shapes_of_arrays():
    assert Linear(3, 2)(np.ones(3)).shape == (2,)
    assert Linear(3, 2)(np.ones((5, 4, 3))).shape == (5, 4, 2)
    assert Linear(3, 2)([[1, 2, 3]]).shape == (1, 2)
    assert Linear(3, 2)(np.ones((0, 3))).shape == (0, 2)
    assert MLP([3, 2, 1])(np.ones((5, 3))).shape == (5, 1)
    assert Neuron(3)(np.ones((5, 4, 3))).shape == (5, 4)
    assert Linear(2, 2)([Value(1.0), 2.0]).shape == (2,)  # Values enter an array layer as one array


def test_a_scalar_layer_takes_any_sequence_of_numbers():
    layer = Linear(2, 2, of=Value, rng=0)
    expected = [z.data for z in layer([1.0, 2.0])]
    for x in (
        (1, 2),
        np.array([1.0, 2.0]),
        np.array([1, 2], dtype=np.float32),
        [Value(1.0), np.float64(2.0)],
        [True, 2],
    ):
        z = layer(x)
        assert [zj.data for zj in z] == expected
        assert {type(p) for n in tn.topological_order(*z) for p in n.parents} <= {Value, float}


def test_the_graph_of_a_scalar_layer_has_a_node_for_every_multiplication():
    (z,) = Linear(3, 1, of=Value)([Value(1.0), Value(2.0), Value(3.0)])
    ops = [n.op.name for n in tn.topological_order(z) if n.op]
    assert sorted(ops) == ["add"] * 3 + ["multiply"] * 3


def test_no_bias():
    assert list(Linear(2, 3, bias=False).state_dict()) == ["weight"]
    assert not Linear(2, 3, bias=False)(np.zeros((4, 2))).data.any()
    assert [z.data for z in Linear(2, 3, bias=False, of=Value)([0.0, 0.0])] == [0.0] * 3


def test_parameters_have_names_for_pictures():
    assert [p.name for p in Linear(2, 1).parameters()] == ["weight", "bias"]
    assert [p.name for p in Linear(2, 2, of=Value).parameters()] == ["w1_1", "w1_2", "w2_1", "w2_2", "b1", "b2"]
    assert [p.name for p in MLP([1, 1, 1]).parameters()] == ["w1", "b1", "w2", "b2"]
    assert [p.name for p in MLP([1, 2, 1], of=Value).parameters()] == [
        "w1_1_1",
        "w1_2_1",
        "b1_1",
        "b1_2",
        "w2_1_1",
        "w2_1_2",
        "b2_1",
    ]
    assert [p.name for p in Neuron(2, of=Value).parameters()] == ["w1", "w2", "b"]


@given(st.integers(1, 30), st.integers(1, 30), seeds)
def test_initial_weights_lie_within_their_limits(n_in, n_out, seed):
    for init, limit in ((glorot, math.sqrt(6 / (n_in + n_out))), (he, math.sqrt(6 / n_in))):
        w = init(n_in, n_out, np.random.default_rng(seed))
        assert w.shape == (n_out, n_in)
        assert np.abs(w).max() <= limit


def test_initial_weights_have_the_variance_that_the_papers_ask_for():
    rng = np.random.default_rng(0)
    assert math.isclose(glorot(300, 200, rng).var(), 2 / (300 + 200), rel_tol=0.05)
    assert math.isclose(he(300, 200, rng).var(), 2 / 300, rel_tol=0.05)


@pytest.mark.parametrize(
    ("activation", "limit"), [("relu", 6 / 50), ("gelu", 6 / 50), ("tanh", 6 / 100), (None, 6 / 100), (tn.relu, 6 / 50)]
)
def test_the_activation_chooses_the_initial_weights(activation, limit):
    found = np.abs(MLP([50, 50, 50], activation=activation, output=None, rng=0).layers[0].weight.data).max()
    assert 0.97 * math.sqrt(limit) < found <= math.sqrt(limit)
    last = np.abs(MLP([50, 50, 50], activation=None, output=activation, rng=0).layers[1].weight.data).max()
    assert 0.97 * math.sqrt(limit) < last <= math.sqrt(limit)
    assert not MLP([50, 50, 50], activation=activation).layers[0].bias.data.any()


def test_the_random_numbers_come_from_rng():
    same = [MLP([2, 2], rng=np.random.default_rng(5)).state_dict()["layers.0.weight"] for _ in range(2)]
    assert np.array_equal(*same)
    rng = np.random.default_rng(5)
    assert not np.array_equal(*(Linear(2, 2, rng=rng).weight.data for _ in range(2)))
    assert not np.array_equal(Linear(2, 2).weight.data, Linear(2, 2).weight.data)


def test_activations_by_name_op_or_function():
    x = np.array([[1.0, -2.0]])
    for f in ("tanh", tn.tanh, lambda z: tn.sinh(z) / tn.cosh(z)):
        net = MLP([2, 2, 1], activation=f, output=f, rng=0)
        expected = MLP([2, 2, 1], activation="tanh", output="tanh", rng=0)(x).data
        np.testing.assert_allclose(net(x).data, expected, rtol=1e-12)
    np.testing.assert_allclose(np.tanh(net.logits(x).data), net(x).data, rtol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "add", "sum", "less", "logical_not", "nonsense", "", 3])
@pytest.mark.parametrize("build", [lambda f: MLP([2, 1], output=f), lambda f: Neuron(2, f)])
def test_an_unknown_activation_is_refused_with_the_choices(build, name):
    with pytest.raises(ValueError, match=r"(MLP|Neuron): no activation .*choose one of .*relu, sigmoid.*tanh"):
        build(name)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Linear(3, 2)(np.ones((5, 4))), ValueError, r"Linear\(3, 2\): given array \(5, 4\).*expected \(…, 3\)"),
        (lambda: Linear(3, 2)(np.ones((3, 5))), ValueError, r"give x\.T"),
        (lambda: Linear(3, 2)(1.0), ValueError, r"Linear\(3, 2\): given 1\.0; expected \(…, 3\)"),
        (lambda: Perceptron(3)(np.ones(4)), ValueError, r"Perceptron\(3\): given array \(4,\).*expected \(…, 3\)"),
        (lambda: MLP([3, 2, 1])(np.ones(4)), ValueError, r"Linear\(3, 2\): given array \(4,\)"),
        (lambda: Linear(2, 1)([[1.0], [1.0, 2.0]]), ValueError, r"Linear\(2, 1\): got a ragged list"),
        (lambda: Linear(2, 1, of=Value)([1.0]), ValueError, r"Linear\(2, 1\) of Value: given 1 elements; .*list of 2"),
        (lambda: Linear(2, 1, of=Value)(np.ones((4, 2))), ValueError, r"array \(4, 2\).*one example.*of=Tensor"),
        (lambda: Linear(2, 1, of=Value)(Tensor([1.0, 2.0])), ValueError, r"given Tensor \(2,\).*of=Tensor"),
        (lambda: Linear(2, 1, of=Value)(3.0), ValueError, r"given 3\.0; expected one example"),
        (lambda: Linear(2, 1, of=Value)(None), ValueError, r"given None; expected one example"),
        (lambda: Linear(2, 1, of=Value)([1.0, "x"]), TypeError, r"x\[1\] is 'x'"),
        (lambda: Neuron(2, of=Value)([[1.0], [2.0]]), TypeError, r"Neuron\(2\) of Value: x\[0\] is \[1\.0\]"),
        (lambda: Linear(0, 1), ValueError, "Linear: n_in is 0; expected an integer of at least 1"),
        (lambda: Linear(1, -1), ValueError, "Linear: n_out is -1"),
        (lambda: Linear(1.5, 1), TypeError, "Linear: n_in is 1.5"),
        (lambda: Perceptron(0), ValueError, "Perceptron: n_in is 0"),
        (lambda: MLP([3]), ValueError, r"MLP: given sizes \[3\]; expected at least two"),
        (lambda: MLP([3, 0]), ValueError, "MLP: one of the sizes is 0"),
        (lambda: Linear(1, 1, of=float), TypeError, "expected tn.Tensor .* or tn.Value"),
    ],
)
def test_errors_name_the_layer_what_was_given_and_what_is_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_float32_stays_float32():
    net = MLP([3, 2, 1], rng=0)
    for p in net.parameters():
        p.data = p.data.astype(np.float32)
    a = net(np.ones((4, 3), np.float32))
    assert a.dtype == np.float32
    tn.sum(a).backward()
    assert {p.grad.dtype for p in net.parameters()} == {np.dtype(np.float32)}


def test_torch_and_jax_arrays_flow_through():
    pytest.importorskip("array_api_compat")
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    x = np.array([[1.0, -2.0], [0.5, 3.0]])
    expected = MLP([2, 2, 1], rng=0)(x).data
    for make in (torch.tensor, jnp.asarray):
        net = MLP([2, 2, 1], rng=0)
        for p in net.parameters():
            p.data = make(p.data)
        a = net(make(x))
        assert type(a.data) is type(make(x))
        np.testing.assert_allclose(np.asarray(a.data), expected, rtol=1e-6)


def test_fields_are_written_down_before_the_code():
    for kind in (Linear, Neuron, MLP):
        made = MLP([2, 1]) if kind is MLP else kind(2, 1) if kind is Linear else kind(2)
        assert set(kind.__annotations__) == set(vars(made))
        assert isinstance(made, Module)
