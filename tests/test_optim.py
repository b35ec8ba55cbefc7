"""SGD against PyTorch's, on every kind of data."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value
from tinygrad_notes.nn import MLP, binary_cross_entropy
from tinygrad_notes.optim import SGD

rates = st.floats(1e-3, 1.0)
momenta = st.just(0.0) | st.floats(0.0, 0.99)
decays = st.just(0.0) | st.floats(0.0, 0.5)
STEPS = 5


@st.composite
def courses(draw):
    """A start, a gradient for each step (`None`: the parameter took no part), and settings."""
    shape = draw(st.sampled_from([(), (3,), (2, 2)]))
    elements = arrays(float, shape, elements=st.floats(-3, 3))
    gradients = draw(st.lists(st.none() | elements, min_size=STEPS, max_size=STEPS))
    settings = {"lr": draw(rates), "momentum": draw(momenta), "weight_decay": draw(decays)}
    return draw(elements), gradients, settings


@given(courses())
def test_the_course_is_pytorchs(course):
    torch = pytest.importorskip("torch")
    start, gradients, settings = course
    q = torch.nn.Parameter(torch.tensor(start))
    theirs = torch.optim.SGD([q], **settings)
    p = Tensor(start)
    ours = SGD([p], **settings)
    values = [Value(v) for v in start.ravel().tolist()]
    scalar = SGD(values, **settings)
    for g in gradients:
        q.grad = None if g is None else torch.tensor(g)
        p.grad = g
        for v, gv in zip(values, [None] * len(values) if g is None else g.ravel().tolist(), strict=True):
            v.grad = gv
        for optimiser in (theirs, ours, scalar):
            optimiser.step()
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose([v.data for v in values], p.data.ravel(), rtol=1e-12, atol=1e-14)
        assert {type(v.data) for v in values} == {float}


@pytest.mark.parametrize("settings", [{"lr": 0.5}, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}])
def test_training_takes_pytorchs_course_on_arrays_and_on_values(settings):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), np.array([0.0, 1, 1, 0, 1, 0])
    net, scalar = MLP([2, 3, 1], rng=1), MLP([2, 3, 1], of=Value, rng=1)
    twin = torch.nn.Sequential(
        torch.nn.Linear(2, 3), torch.nn.Sigmoid(), torch.nn.Linear(3, 1), torch.nn.Sigmoid()
    ).double()
    for q, a in zip(twin.parameters(), net.state_dict().values(), strict=True):
        q.data = torch.tensor(a)
    optimisers = SGD(net.parameters(), **settings), SGD(scalar.parameters(), **settings)
    theirs = torch.optim.SGD(twin.parameters(), **settings)
    for _ in range(20):
        losses = [
            binary_cross_entropy(y[:, None], net(x)),
            binary_cross_entropy(y, [scalar(row)[0] for row in x]),
            torch.nn.functional.binary_cross_entropy(twin(torch.tensor(x)), torch.tensor(y[:, None])),
        ]
        for optimiser, loss in zip((*optimisers, theirs), losses, strict=True):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert losses[0].item() == pytest.approx(losses[2].item(), rel=1e-10)
        assert losses[1].item() == pytest.approx(losses[2].item(), rel=1e-10)
    for a, b, q in zip(net.state_dict().values(), scalar.state_dict().values(), twin.parameters(), strict=True):
        np.testing.assert_allclose(a, q.detach().numpy(), rtol=1e-9)
        np.testing.assert_allclose(b, q.detach().numpy(), rtol=1e-9)


@given(st.floats(0.01, 0.9), st.floats(-5, 5))
def test_the_quadratic_has_a_closed_form(lr, start):
    """Descent on w²/2 multiplies w by 1 − lr at each step."""
    w = Value(start)
    sgd = SGD([w], lr)
    for _ in range(10):
        sgd.zero_grad()
        (w * w / 2).backward()
        sgd.step()
    assert math.isclose(w.data, start * (1 - lr) ** 10, rel_tol=1e-9, abs_tol=1e-300)


def test_the_users_array_and_gradient_are_never_written_to():
    mine = np.array([1.0, 2.0])
    mine.flags.writeable = False
    g = np.array([1.0, 1.0])
    w = Tensor(mine)
    sgd = SGD([w], 0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        w.grad = g
        sgd.step()
    assert mine.tolist() == [1.0, 2.0]
    assert g.tolist() == [1.0, 1.0]


def test_the_velocity_is_not_the_users_gradient():
    w = Tensor([0.0])
    sgd = SGD([w], 1.0, momentum=0.5)
    w.grad = np.array([1.0])
    sgd.step()
    w.grad[...] = 0.0  # a gradient zeroed in place
    sgd.step()
    assert w.tolist() == [-1.5]


def test_a_parameter_without_a_gradient_is_left_alone():
    a, b = Value(1.0), Tensor([1.0])
    sgd = SGD([a, b], 0.1, momentum=0.9, weight_decay=0.5)
    sgd.step()
    assert (a.data, b.tolist()) == (1.0, [1.0])
    a.backward()
    sgd.step()
    assert a.data == 1 - 0.1 * 1.5
    assert b.tolist() == [1.0]


def test_zero_grad_of_the_given_parameters_only():
    a, b = Value(1.0), Value(2.0)
    (a * b).backward()
    SGD([a], 0.1).zero_grad()
    assert (a.grad, b.grad) == (None, 1.0)


def test_a_parameter_given_twice_moves_once():
    w = Value(1.0)
    w.grad = 1.0
    SGD([w, w], 0.25).step()
    assert w.data == 0.75


def test_the_learning_rate_may_change():
    w = Value(1.0)
    sgd = SGD([w], 0.5)
    sgd.lr = 0.25
    w.grad = 1.0
    sgd.step()
    assert w.data == 0.75


@pytest.mark.parametrize("lr", [0.5, np.float64(0.5), 1, np.float32(0.5)])
def test_float32_and_floats_stay(lr):
    a, b, c = Tensor(np.ones(2, np.float32)), Value(1.0), Tensor(np.ones((), np.float32))
    sgd = SGD([a, b, c], lr, momentum=np.float64(0.5), weight_decay=np.float64(0.5))
    for _ in range(2):
        a.grad, b.grad, c.grad = np.ones(2), np.float64(1.0), np.float64(1.0)
        sgd.step()
    assert a.dtype == c.dtype == np.float32
    assert isinstance(c.data, np.ndarray)
    assert type(b.data) is float


def test_torch_and_jax_data():
    pytest.importorskip("array_api_compat")
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    for make in (torch.tensor, jnp.asarray, np.asarray):
        start = make(np.array([1.0, 2.0], np.float32))
        w = Tensor(start)
        sgd = SGD([w], 0.25, momentum=0.5, weight_decay=0.5)
        for _ in range(2):
            sgd.zero_grad()
            tn.sum(w * w).backward()
            sgd.step()
        assert type(w.data) is type(start)
        assert str(w.dtype).endswith("float32")
        np.testing.assert_allclose(np.asarray(w.data), [-0.171875, -0.34375])
        assert start.tolist() == [1.0, 2.0]


def test_gradients_that_are_nodes_are_taken_as_numbers():
    w = Value(3.0)
    (w * w).backward(create_graph=True)
    sgd = SGD([w], 0.25, momentum=0.5)
    sgd.step()
    assert w.data == 1.5
    assert type(w.data) is type(sgd.velocities[0]) is float


def test_a_gradient_of_another_shape_moves_nothing():
    a, b = Value(1.0), Tensor([1.0, 2.0])
    a.grad, b.grad = 1.0, np.ones((3, 2))
    with pytest.raises(
        ValueError, match=r"SGD: Tensor \(2,\) of float64 has a gradient of shape \(3, 2\); expected \(2,\)"
    ):
        SGD([a, b], 0.1).step()
    assert a.data == 1.0


@pytest.mark.parametrize("parameters", [[], iter([]), (p for p in ())])
def test_no_parameters(parameters):
    with pytest.raises(ValueError, match=r"SGD: no parameters; a generator .* only once"):
        SGD(parameters, 0.1)


def test_an_exhausted_iterator():
    parameters = MLP([1, 1]).parameters()
    SGD(parameters, 0.1)
    with pytest.raises(ValueError, match="no parameters"):
        SGD(parameters, 0.1)


@pytest.mark.parametrize(
    "parameters", [None, 0.1, Tensor([1.0]), Value(1.0), MLP([1, 1]), [1.0], "w", [np.ones(2)], [[Value(1.0)]]]
)
def test_what_is_no_list_of_nodes(parameters):
    with pytest.raises(TypeError, match=r"SGD: got .*; expected"):
        SGD(parameters, 0.1)


def test_a_computed_node_is_no_parameter():
    with pytest.raises(ValueError, match="was computed by multiply; expected leaves"):
        SGD([Value(1.0) * 2], 0.1)


@pytest.mark.parametrize(
    ("name", "x", "error"),
    [
        *[("lr", x, ValueError) for x in (0, -0.1, math.nan, math.inf)],
        *[("momentum", x, ValueError) for x in (-0.1, 1.0, 2, math.nan)],
        *[("weight_decay", x, ValueError) for x in (-0.1, math.nan, math.inf)],
        *[(name, x, TypeError) for name in ("lr", "momentum", "weight_decay") for x in ("0.1", None, True, [0.1])],
    ],
)
def test_settings_out_of_range(name, x, error):
    with pytest.raises(error, match=f"SGD: {name} is .*; expected a number"):
        SGD([Value(1.0)], **{"lr": 0.1, name: x})
