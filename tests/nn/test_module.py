"""`Module`: what is found, under which name, and what is loaded."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value
from tinygrad_notes.nn import MLP, Linear, Module, Neuron


class Holder(Module):
    """A module with whatever fields a test gives it; no `super().__init__()`."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


def trees():
    """Nested fields: what is found in them is counted by `leaves`."""
    leaf = st.builds(lambda n: Tensor(np.zeros(n)), st.integers(1, 3)) | st.builds(Value, st.floats(-1, 1))
    other = st.none() | st.integers() | st.text(max_size=3) | st.just(np.ones(2)) | st.just(tn.tanh)
    return st.recursive(
        leaf | other,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
            | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3).map(lambda d: Holder(**d))
        ),
        max_leaves=8,
    )


def leaves(item):
    if isinstance(item, (Tensor, Value)):
        return [item]
    inner = vars(item) if isinstance(item, Module) else item
    if isinstance(inner, dict):
        inner = list(inner.values())
    return [leaf for i in inner for leaf in leaves(i)] if isinstance(inner, (list, tuple)) else []


@given(st.lists(trees(), max_size=3))
def test_every_parameter_is_found_once_in_order_of_definition(fields):
    module = Holder(**{f"f{i}": field for i, field in enumerate(fields)})
    expected = {id(leaf): leaf for leaf in leaves(module)}
    assert [id(p) for p in module.parameters()] == list(expected)
    names = [name for name, _ in module.named_parameters()]
    assert len(set(names)) == len(names)
    assert sum(a.size for a in module.state_dict().values()) == sum(
        p.size if isinstance(p, Tensor) else 1 for p in expected.values()
    )


@given(st.lists(trees(), max_size=3), st.data())
def test_a_state_comes_back(fields, data):
    module = Holder(**{f"f{i}": field for i, field in enumerate(fields)})
    state = {
        name: np.array(data.draw(st.lists(st.floats(-9, 9), min_size=a.size, max_size=a.size))).reshape(a.shape)
        for name, a in module.state_dict().items()
    }
    assert module.load_state_dict(state) == ([], [])
    again = module.state_dict()
    assert list(again) == list(state)
    assert all(np.array_equal(again[name], state[name]) for name in state)


def test_names_are_dotted_paths():
    class Net(Module):
        def __init__(self):
            self.layers = [Linear(2, 3), Linear(3, 1, bias=False)]
            self.heads = {"left": Neuron(3), "right": (Neuron(3),)}
            self.scale = Value(2.0)
            self.note = "no parameter"

    names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "heads.left.weight", "heads.left.bias"]
    names += ["heads.right.0.weight", "heads.right.0.bias", "scale"]
    assert [name for name, _ in Net().named_parameters()] == names
    assert list(Net().state_dict()) == names


def test_a_grid_of_values_is_one_array_and_a_ragged_list_is_several():
    grid, ragged = [[Value(1.0), Value(2.0)]] * 1, [[Value(3.0)], [Value(4.0), Value(5.0)]]
    state = Holder(grid=grid, ragged=ragged).state_dict()
    assert {name: a.tolist() for name, a in state.items()} == {
        "grid": [[1.0, 2.0]],
        "ragged.0": [3.0],
        "ragged.1": [4.0, 5.0],
    }
    names = [name for name, _ in Holder(grid=grid).named_parameters()]
    assert names == ["grid.0.0", "grid.0.1"]


@pytest.mark.parametrize("of", [Tensor, Value])
def test_what_is_shared_is_one_parameter_under_its_first_name(of):
    layer = Linear(2, 2, of=of)
    tied = Linear(2, 2, of=of)
    tied.weight = layer.weight
    net = Holder(a=layer, b=layer, tied=tied)
    assert list(net.state_dict()) == ["a.weight", "a.bias", "tied.bias"]
    assert len(list(net.parameters())) == len({id(p) for p in net.parameters()})
    assert len(list(net.modules())) == 3


def test_computed_nodes_are_no_parameters_but_frozen_leaves_are():
    w = Tensor(np.ones(2))
    frozen = Tensor(np.ones(3), requires_grad=False)
    module = Holder(w=w, cached=w * 2, cached_values=[Value(1.0) * 2], frozen=frozen)
    assert list(module.state_dict()) == ["w", "frozen"]


def test_modules_in_a_circle():
    child = Holder(w=Value(1.0))
    parent = Holder(child=child)
    child.parent = parent
    assert len(list(parent.parameters())) == 1
    assert parent.eval().training is child.training is False
    assert "…" in repr(parent)


def test_two_parameters_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two parameters are called 'a\.0'"):
        Holder(a={0: Value(1.0), "0": Tensor([1.0])}).state_dict()


def test_the_state_is_a_copy():
    for of in (Tensor, Value):
        net = MLP([2, 2, 1], of=of)
        before = net.state_dict()
        for a in net.state_dict().values():
            a[...] = 9.0
        assert all(np.array_equal(a, before[name]) for name, a in net.state_dict().items())


def test_loading_keeps_no_hold_of_the_given_arrays_and_keeps_the_dtype():
    net = Linear(2, 2)
    for p in net.parameters():
        p.data = p.data.astype(np.float32)
    given = {"weight": np.ones((2, 2)), "bias": np.ones(2, dtype=int)}
    net.load_state_dict(given)
    given["weight"][...] = 5.0
    assert net.weight.dtype == net.bias.dtype == np.float32
    assert net.weight.tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("of", [Tensor, Value])
def test_loading_lists_everything_wrong_and_changes_nothing(of):
    net = MLP([3, 2, 1], of=of, rng=0)
    before = net.state_dict()
    state = {name: a + 1 for name, a in before.items()}
    del state["layers.1.bias"]
    state |= {"extra": np.ones(1), "layers.0.weight": np.ones((8, 3)), "layers.0.bias": "text"}
    with pytest.raises(ValueError, match="MLP") as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert "missing: layers.1.bias" in message
    assert "unexpected: extra" in message
    assert "layers.0.weight: given (8, 3), expected (2, 3)" in message
    assert "layers.0.bias: given 'text'" in message
    assert all(np.array_equal(a, before[name]) for name, a in net.state_dict().items())
    with pytest.raises(ValueError, match=r"given \(8, 3\), expected \(2, 3\)"):  # wrong shapes are never skipped
        net.load_state_dict(state, strict=False)
    assert all(np.array_equal(a, before[name]) for name, a in net.state_dict().items())


def test_not_strict_skips_names_and_tells_them():
    net = Linear(2, 1, rng=0)
    before = net.state_dict()
    assert net.load_state_dict({"bias": [7.0], "other": 0}, strict=False) == (["weight"], ["other"])
    assert net.bias.tolist() == [7.0]
    assert np.array_equal(net.weight.data, before["weight"])


def test_a_state_is_a_mapping():
    with pytest.raises(TypeError, match="load_state_dict: got 3"):
        Linear(1, 1).load_state_dict(3)


def test_train_and_eval_reach_all_within_and_return_the_module():
    net = Holder(layers=[Holder(), {"x": Holder()}])
    assert all(m.training for m in net.modules())
    assert net.eval() is net
    assert [m.training for m in net.modules()] == [False] * 3
    assert net.train() is net
    assert [m.training for m in net.modules()] == [True] * 3


@pytest.mark.parametrize("of", [Tensor, Value])
def test_zero_grad(of):
    neuron = Neuron(2, of=of)
    neuron([1.0, 2.0]).backward()
    assert all(p.grad is not None for p in neuron.parameters())
    neuron.zero_grad()
    assert all(p.grad is None for p in neuron.parameters())


@pytest.mark.parametrize("of", [Tensor, Value])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_independent(of, copied):
    net = MLP([2, 3, 1], of=of, rng=0)
    other = copied(net)
    other.load_state_dict({name: a + 1 for name, a in net.state_dict().items()})
    first, second = net.state_dict(), other.state_dict()
    assert all(np.array_equal(first[name] + 1, second[name]) for name in first)


def test_the_text_shows_the_structure():
    net = Holder(body=MLP([3, 2, 1], of=Value), head=Linear(1, 1, bias=False), scale=2.5, f=tn.relu, g=abs)
    net.head.weight.data = net.head.weight.data.astype(np.float32)
    assert repr(net) == (
        "Holder(\n"
        "  body: MLP(\n"
        "    layers.0: Linear(weight=(2, 3) of Value, bias=(2,) of Value)\n"
        "    layers.1: Linear(weight=(1, 2) of Value, bias=(1,) of Value)\n"
        "    activation=sigmoid\n"
        "    output=sigmoid\n"
        "  )\n"
        "  head: Linear(weight=(1, 1) float32, bias=None)\n"
        "  scale=2.5\n"
        "  f=relu\n"
        "  g=abs\n"
        ")"
    )
    assert "training=False" in repr(net.eval())


def test_torch_and_jax_parameters_go_through_numpy_and_stay_what_they_are():
    pytest.importorskip("array_api_compat")
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    for make in (lambda a: torch.tensor(a, dtype=torch.float32), lambda a: jnp.asarray(a, dtype=jnp.float32)):
        net = Linear(2, 2, rng=0)
        for p in net.parameters():
            p.data = make(p.data)
        kind = type(net.weight.data)
        state = net.state_dict()
        assert {type(a) for a in state.values()} == {np.ndarray}
        assert state["weight"].dtype == np.float32
        net.load_state_dict({name: a + 1 for name, a in state.items()})
        assert type(net.weight.data) is kind
        assert str(net.weight.dtype).endswith("float32")
        np.testing.assert_array_equal(net.state_dict()["weight"], state["weight"] + 1)
