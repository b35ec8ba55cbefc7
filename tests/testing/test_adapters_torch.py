"""Backward passes of `torch.autograd.Function`s: right ones are never accused, wrong ones are, and it says why."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_notes as tn
from tinygrad_notes.testing.adapters import pair_for
from tinygrad_notes.testing.verdicts import check_gradient

torch = pytest.importorskip("torch")
Function = torch.autograd.Function


# --- right ones -------------------------------------------------------------------------------------------------------


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, x):
        e = torch.exp(-x.abs())
        y = torch.where(x >= 0, 1 / (1 + e), e / (1 + e))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        e = torch.exp(-x.abs())
        return g * e / (1 + e) ** 2


class Clamp(Function):
    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.between = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        low, high = ctx.between
        return g * ((x >= low) & (x <= high)), None, None


class MatMul(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        da = g @ b.T if ctx.needs_input_grad[0] else None
        db = a.T @ g if ctx.needs_input_grad[1] else None
        return da, db


class LogSumExp(Function):
    @staticmethod
    def forward(ctx, x, axis):
        y = torch.logsumexp(x, axis)
        ctx.save_for_backward(x, y)
        ctx.axis = axis
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g.unsqueeze(ctx.axis) * torch.exp(x - y.unsqueeze(ctx.axis)), None


class LayerNorm(Function):
    """Forward and context apart, as newer code has them."""

    @staticmethod
    def forward(x, gamma, beta):
        mean = x.mean(1, keepdim=True)
        scale = 1 / torch.sqrt(((x - mean) ** 2).mean(1, keepdim=True) + 1e-3)
        return gamma * (x - mean) * scale + beta

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx, g):
        x, gamma = ctx.saved_tensors
        centred = x - x.mean(1, keepdim=True)
        scale = 1 / torch.sqrt((centred**2).mean(1, keepdim=True) + 1e-3)
        normed = centred * scale
        h = g * gamma
        dx = scale * (h - h.mean(1, keepdim=True) - normed * (h * normed).mean(1, keepdim=True))
        return dx, (g * normed).sum(0), g.sum(0)


class SumAndProduct(Function):
    """Two outputs; the cotangent of one that is not used may be None."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a + b, a * b

    @staticmethod
    def backward(ctx, g, h):
        a, b = ctx.saved_tensors
        return g + h * b, g + h * a


SMALL = st.floats(-3, 3, width=32)
WIDE = SMALL | st.sampled_from([0.0, 1.0, -1.0, 40.0, -40.0, 1e-6]) | st.floats(-100, 100)


def matrices(*shape, elements=SMALL):
    return hnp.arrays(float, shape, elements=elements)


@settings(max_examples=8)
@given(matrices(2, 3, elements=WIDE), matrices(3, 2), matrices(3))
def test_right_backward_passes_are_never_accused(x, b, v):
    assert check_gradient(Exp, x).ok
    assert check_gradient(Sigmoid, x).ok
    assert check_gradient(Clamp, x, -1.0, 1.0).ok
    assert check_gradient(MatMul.apply, torch.tensor(b.T), torch.tensor(b)).ok
    assert check_gradient(LogSumExp, x, 1).ok
    assert check_gradient(SumAndProduct, v, v + 1).ok


@settings(max_examples=3)
@given(matrices(2, 3), matrices(3), matrices(3))
def test_nor_is_layer_norm(x, gamma, beta):
    assert check_gradient(LayerNorm, x, gamma, beta).ok


ORDINARY = np.array([[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]])


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (Exp, [ORDINARY]),
        (Exp, [0.5]),
        (Sigmoid, [torch.tensor(ORDINARY)]),
        (Clamp, [torch.tensor(ORDINARY), -1, 1]),
        (MatMul, [ORDINARY, ORDINARY.T]),
        (LogSumExp, [ORDINARY, -1]),
        (LayerNorm, [ORDINARY, ORDINARY[0], ORDINARY[1]]),
        (SumAndProduct, [ORDINARY, ORDINARY + 1]),
        (lambda x: Exp.apply(x).sum(), [torch.tensor(ORDINARY)]),
        (torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Softmax(1)), [ORDINARY]),
    ],
)
def test_and_they_are_decided_at_ordinary_points(function, inputs):
    found = check_gradient(function, *inputs)
    assert (found.status, found.tier) == ("correct", "black box")


@pytest.mark.parametrize("function", [Exp, Sigmoid, SumAndProduct])
def test_second_derivatives(function):
    inputs = [np.array([0.5, -1.0]), np.array([1.5, 0.25])][: 1 + (function is SumAndProduct)]
    assert check_gradient(function, *inputs, order=2).status == "correct"


@pytest.mark.parametrize("given", [0.0, 0.25, 1.0])
def test_at_a_kink_any_subgradient_is_right(given):
    class Relu(Exp):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * torch.where(x == 0, given, (x > 0).double())

    assert check_gradient(Relu, np.array([0.0, 1.0])).status == "kink"


# --- wrong ones -------------------------------------------------------------------------------------------------------


def with_backward(function, backward):
    return type("Wrong", (function,), {"backward": staticmethod(backward)})


def transposed(ctx, g):
    a, b = ctx.saved_tensors
    return (b @ g).T, a.T @ g


def first_row_only(ctx, g):
    dx, dgamma, _ = LayerNorm.backward(ctx, g)
    return dx, dgamma, g[0]


def no_mean(ctx, g):
    x, gamma = ctx.saved_tensors
    scale = 1 / torch.sqrt(((x - x.mean(1, keepdim=True)) ** 2).mean(1, keepdim=True) + 1e-3)
    return scale * g * gamma, *LayerNorm.backward(ctx, g)[1:]


def forgets_the_cotangent(ctx, g):
    return ctx.saved_tensors[0].clone()


def detached(ctx, g):
    return g * ctx.saved_tensors[0].detach()


def cotangent_in_place(ctx, g):
    return g.mul_(ctx.saved_tensors[0])


def saved_in_place(ctx, g):
    return ctx.saved_tensors[0].mul_(g)


def input_in_place(ctx, g):
    x = ctx.saved_tensors[0].data
    e = torch.exp(-x.abs())
    x += 1
    return g * e / (1 + e) ** 2


def asks_for_both(ctx, g):
    a, b = ctx.saved_tensors
    both = all(ctx.needs_input_grad)
    return g @ b.T * (1 if both else 2), a.T @ g


def by_storage(ctx, g):
    """Reads the cotangent's memory as if it were contiguous."""
    return torch.as_strided(g, g.shape, (3, 1)) * ctx.saved_tensors[0]


def only_contiguous(ctx, g):
    return g * ctx.saved_tensors[0] * (0 if g.stride() == (0, 0) else 1)


def views(ctx, g):
    return g.view(-1).view(2, 3) * ctx.saved_tensors[0]


def wrong_shape(ctx, g):
    return g.new_ones(5)


@pytest.mark.parametrize(
    ("function", "backward", "inputs", "words"),
    [
        (Exp, lambda ctx, g: -Exp.backward(ctx, g), [ORDINARY], "∂/∂x[0, 0]: given "),
        (Exp, lambda ctx, g: Exp.backward(ctx, g) * (1 + 1e-6), [ORDINARY], "∂/∂x[0, 0]: given "),
        (Exp, lambda ctx, g: None, [ORDINARY], "∂/∂x[0, 0]: given 0.0"),
        (Exp, lambda ctx, g: g * float("nan"), [ORDINARY], "given nan"),
        (Exp, forgets_the_cotangent, [0.5], "∂/∂x: given "),
        (Sigmoid, lambda ctx, g: g * ctx.saved_tensors[0] * (1 - ctx.saved_tensors[0]), [ORDINARY], "∂/∂x"),
        (MatMul, transposed, [ORDINARY[:, :2], ORDINARY[:, 1:]], "∂/∂a"),
        (LayerNorm, first_row_only, [ORDINARY, ORDINARY[0], ORDINARY[1]], "∂/∂beta[0]"),
        (LayerNorm, no_mean, [ORDINARY, ORDINARY[0], ORDINARY[1]], "∂/∂x[0, 0]"),
        (SumAndProduct, lambda ctx, g, h: (g + h, g + h), [ORDINARY, ORDINARY + 1], "∂/∂a"),
        (Exp, cotangent_in_place, [ORDINARY], "the backward pass changes its cotangent in place"),
        (Exp, saved_in_place, [ORDINARY], "the backward pass changes its output in place"),
        (Sigmoid, input_in_place, [ORDINARY], "the backward pass changes its input in place"),
        (
            MatMul,
            asks_for_both,
            [ORDINARY, ORDINARY.T],
            "with only a requiring a gradient, the gradient by a is another",
        ),
        (Exp, by_storage, [ORDINARY], "for a non-contiguous cotangent, the gradient is another one"),
        (Exp, only_contiguous, [ORDINARY], "for an expanded cotangent (stride 0), the gradient is another one"),
        (Exp, views, [ORDINARY], "for a non-contiguous cotangent, the backward pass raises RuntimeError: view"),
        (Exp, wrong_shape, [ORDINARY], "the backward pass raises RuntimeError: "),
    ],
)
def test_wrong_backward_passes_are_found(function, backward, inputs, words):
    found = check_gradient(with_backward(function, backward), *inputs)
    assert found.status == "wrong", str(found)
    assert words in str(found)


@settings(max_examples=15)
@given(matrices(2, 3, elements=st.floats(-2, 2)))
def test_a_wrong_sign_is_found_everywhere(x):
    assert check_gradient(with_backward(Exp, lambda ctx, g: -Exp.backward(ctx, g)), x).status == "wrong"


def test_a_detached_second_derivative():
    wrong = with_backward(Exp, detached)
    assert check_gradient(wrong, ORDINARY).status == "correct"
    found = check_gradient(wrong, 0.5, order=2)
    assert (found.status, found.finding.found) == ("wrong", 0.0)


def test_a_saved_tensor_that_depends_on_nothing_else_is_seen_changed_on_a_second_run():
    class Counts(Exp):
        @staticmethod
        def forward(ctx, x):
            ctx.slope = x.exp()
            return ctx.slope.clone()

        @staticmethod
        def backward(ctx, g):
            return ctx.slope.mul_(g)

    found = check_gradient(Counts, ORDINARY)
    assert found.status == "wrong"
    assert "a second run gives another gradient: the first changes what was saved" in str(found)


def test_memory_of_an_input_read_as_if_contiguous():
    class ByStorage(Sigmoid):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * torch.as_strided(x, x.shape, (3, 1)).cos()

    found = check_gradient(ByStorage, ORDINARY)
    assert found.status == "wrong"
    assert "for a non-contiguous input, the gradient is another one" in str(found)


# --- what is given ----------------------------------------------------------------------------------------------------


def test_a_reference_certifies():
    found = check_gradient(Exp, ORDINARY, reference=tn.exp)
    assert (found.status, found.tier) == ("correct", "certified")
    wrong = with_backward(Exp, lambda ctx, g: Exp.backward(ctx, g) * (1 + 1e-12))
    assert check_gradient(wrong, ORDINARY, reference=tn.exp).status == "wrong"
    assert check_gradient(Exp, ORDINARY, reference=tn.exp, order=2).status == "correct"
    assert check_gradient(with_backward(Exp, detached), 0.5, reference=tn.exp, order=2).status == "wrong"


def test_a_reference_takes_the_other_arguments_too():
    def clamp(x, low, high):
        return tn.clip(x, low, high)

    assert check_gradient(Clamp, torch.tensor(ORDINARY), -1.0, 1.0, reference=clamp).status == "correct"


def test_a_reference_that_computes_something_else_is_refused():
    with pytest.raises(ValueError, match="expected a function that computes the same"):
        check_gradient(Exp, ORDINARY, reference=tn.sin)


def test_an_input_in_single_precision_is_checked_in_double():
    pair = pair_for(Exp, [torch.tensor(ORDINARY, dtype=torch.float32)])
    assert (pair.library, pair.name, pair.names, pair.dtype) == ("torch", "Exp", ["x"], "float64")


def test_a_function_of_single_precision_is_judged_in_its_own_numbers():
    weight = torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.25]])

    class Linear(Function):
        @staticmethod
        def forward(ctx, x):
            return x @ weight

        @staticmethod
        def backward(ctx, g):
            return g @ weight.T

    x = torch.tensor(ORDINARY, dtype=torch.float32)
    assert pair_for(Linear, [x]).dtype == "float32"
    assert check_gradient(Linear, x).status == "correct"
    found = check_gradient(with_backward(Linear, lambda ctx, g: 1.01 * (g @ weight.T)), x)
    assert found.status == "wrong"
    assert "Wrong computes in float32" in str(found)


def test_other_functions_are_none_of_ours():
    x = torch.tensor([1.0])
    for f in (tn.exp, lambda x: x * x, torch.exp, abs):
        assert pair_for(f, [x]) is None
    assert pair_for(tn.exp, [1.0]) is None


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: check_gradient(Exp, 3),
            TypeError,
            "for Exp; expected a tensor, an array or a number of floating point",
        ),
        (
            lambda: check_gradient(Exp, ORDINARY, cotangent=np.ones(3)),
            ValueError,
            r"has shape \(3,\); expected that of Exp",
        ),
    ],
)
def test_what_cannot_be_checked_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_backward_pass_that_can_be_run_once_only_has_no_second_derivative():
    once = with_backward(Exp, torch.autograd.function.once_differentiable(Exp.backward))
    assert check_gradient(once, 0.5).status == "correct"
    with pytest.raises(TypeError, match="given order=2, but the backward pass of Wrong cannot be differentiated"):
        check_gradient(once, 0.5, order=2)


def test_the_report():
    wrong = with_backward(Exp, lambda ctx, g: g * 0)
    first, second, *rest = str(check_gradient(wrong, torch.tensor([0.0, 1.0]))).split("\n")
    assert [first, *rest] == ["gradient: wrong (black box)", "  x = [0., 1.]"]
    assert second.startswith("  ∂/∂x[0]: given 0.0; expected between 1.1")
