"""Backward passes as people write them otherwise: examples in rows, loops, masks in place, returned dictionaries.

Right ones, which must not be accused, and wrong ones with the links that are wrong by themselves and the diagnoses that
are right, by kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_notes import cross_entropy, log, sigmoid, softmax, sqrt, stack, tanh, where
from tinygrad_notes.testing import arrays_of, labels, one_hot, reals

Function = Callable[..., Any]
RIGHT: list[tuple[Function, Function, dict[str, Any]]] = []
WRONG: list[tuple[Function, Function, dict[str, Any], dict[str, str]]] = []


def right(forward: Function) -> Callable[[Function], Function]:
    def register(backward: Function) -> Function:
        RIGHT.append((forward, backward, INPUTS[forward]))
        return backward

    return register


def wrong(forward: Function, **kinds: str) -> Callable[[Function], Function]:
    def register(backward: Function) -> Function:
        WRONG.append((forward, backward, INPUTS[forward], kinds))
        return backward

    return register


# --- forward passes ---------------------------------------------------------------------------------------------------


def perceptron(x, y, w, b):
    Z = np.dot(w, x) + b
    a = sigmoid(Z)
    L = ((a - y) ** 2).sum() / 2
    return locals()


def logistic(x, y, w, b):
    Z = w @ x + b
    a = 1 / (1 + np.exp(-Z))
    L = -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a))
    return locals()


def scalar(x, y, w, b):
    z = w * x + b
    a = tanh(z)
    L = 0.5 * (a - y) ** 2
    return locals()


def rows(X, Y, W1, b1, W2):
    Z1 = X @ W1 + b1
    H = np.maximum(Z1, 0)
    P = H @ W2
    L = ((P - Y) ** 2).mean()
    return locals()


def deep(x, y, w1, w2, w3):
    Z1 = w1 @ x
    a1 = tanh(Z1)
    Z2 = w2 @ a1
    a2 = tanh(Z2)
    Z3 = w3 @ a2
    a3 = sigmoid(Z3)
    L = cross_entropy(y, a3).sum()
    return locals()


def softmax_rows(X, Y, W, b):
    Z = X @ W + b
    P = softmax(Z, axis=1)
    L = -(Y.T * log(P)).sum() / X.shape[0] + 0.5 * (W**2).sum()
    return locals()


def softmax_sum(X, Y, W):
    Z = np.einsum("mn,kn->mk", X, W)
    P = softmax(Z, axis=1)
    L = -(Y.T * log(P)).sum()
    return locals()


def one_softmax(z, y):
    p = softmax(z)
    L = -(y * log(p)).sum()
    return locals()


def line(x, y, w, b):
    L = 0
    for i in range(3):
        L = L + (w * x[i] + b - y[i]) ** 2
    return locals()


def layer_norm(X, y, g, b):
    mu = X.mean(axis=1, keepdims=True)
    s = sqrt(((X - mu) ** 2).mean(axis=1, keepdims=True) + 1e-5)
    N = (X - mu) / s
    out = g * N + b
    L = ((out - y) ** 2).sum() / 2
    return locals()


def rnn_step(x, h0, y, W, U):
    z = W @ x + U @ h0
    h = np.tanh(z)
    L = 0.5 * ((h - y) ** 2).sum()
    return locals()


def lstm_cell(zf, zi, zg, zo, c0, y):
    f = sigmoid(zf)
    i = sigmoid(zi)
    g = tanh(zg)
    o = sigmoid(zo)
    c = f * c0 + i * g
    t = tanh(c)
    h = o * t
    L = ((h - y) ** 2).sum()
    return locals()


def attention(Q, K, V, Y):
    d = Q.shape[1]
    S = Q @ K.T
    T = S / np.sqrt(d)
    P = softmax(T, axis=1)
    out = P @ V
    L = ((out - Y) ** 2).sum()
    return locals()


def convolution(x, y, k):
    o = stack([(x[i : i + 3] * k).sum() for i in range(4)])
    L = ((o - y) ** 2).sum()
    return locals()


def hinge(x, y, w):
    s = w @ x
    g = 1 - y * s
    L = np.maximum(g, 0).sum()
    return locals()


def huber(x, y, w):
    e = w @ x - y
    L = where(np.abs(e) <= 1, 0.5 * e**2, np.abs(e) - 0.5).sum()
    return locals()


def tied(x, W):
    h = tanh(W @ x)
    r = W.T @ h
    L = ((r - x) ** 2).sum()
    return locals()


A = arrays_of
ONE_UNIT = {"x": A("n", "m"), "y": labels(1, "m"), "w": A(1, "n"), "b": A(1, 1)}
NUMBERS = {"x": reals(-3, 3), "y": labels(), "w": reals(-3, 3), "b": reals(-3, 3)}
INPUTS: dict[Function, dict[str, Any]] = {
    perceptron: ONE_UNIT,
    logistic: ONE_UNIT,
    scalar: NUMBERS,
    rows: {"X": A("m", "n"), "Y": A("m", "k"), "W1": A("n", "h"), "b1": A("h"), "W2": A("h", "k")},
    deep: {"x": A("n", "m"), "y": labels("k", "m"), "w1": A("h", "n"), "w2": A("h", "h"), "w3": A("k", "h")},
    softmax_rows: {"X": A("m", "n"), "Y": one_hot("k", "m"), "W": A("n", "k"), "b": A("k")},
    softmax_sum: {"X": A("m", "n"), "Y": one_hot("k", "m"), "W": A("k", "n")},
    one_softmax: {"z": A(3), "y": one_hot(3)},
    line: {"x": A(3), "y": A(3), "w": reals(-3, 3), "b": reals(-3, 3)},
    layer_norm: {"X": A("m", "n"), "y": A("m", "n"), "g": A("n"), "b": A("n")},
    rnn_step: {"x": A("n"), "h0": A("h"), "y": A("h"), "W": A("h", "n"), "U": A("h", "h")},
    lstm_cell: {k: A("h") for k in ("zf", "zi", "zg", "zo", "c0", "y")},
    attention: {"Q": A("t", "d"), "K": A("s", "d"), "V": A("s", "e"), "Y": A("t", "e")},
    convolution: {"x": A(6), "y": A(4), "k": A(3)},
    hinge: {"x": A("n", "m"), "y": A(1, "m"), "w": A(1, "n")},
    huber: {"x": A("n", "m"), "y": A(1, "m"), "w": A(1, "n")},
    tied: {"x": A("n", "m"), "W": A("h", "n")},
}

# --- right backward passes --------------------------------------------------------------------------------------------


@right(logistic)
def example_by_example(x, y, w, a):
    dZ = a - y
    dw = 0
    for i in range(x.shape[1]):
        dw = dw + dZ[:, i : i + 1] @ x[:, i : i + 1].T
    db = np.sum(dZ, axis=1, keepdims=True)
    return locals()


@right(logistic)
def quotients(x, y, w, a):
    da = -(np.divide(y, a) - np.divide(1 - y, 1 - a))
    dZ = da * a * (1 - a)
    dw, db = np.dot(dZ, np.transpose(x)), dZ.sum(1, keepdims=True)
    return {"da": da, "dZ": dZ, "dw": dw, "db": db, "dx": np.matmul(w.T, dZ)}


@right(scalar)
def by_the_math_module(x, y, w, a):
    a = float(a)
    dz = (a - float(y)) * (1 - math.pow(a, 2))
    return {"dz": dz, "dw": dz * float(x)}


@right(scalar)
def other_names(x, y, w, z, a):
    error = (a - y) / np.cosh(z) ** 2
    return dict(dz=error, dw=error * x, db=error)  # noqa: C408 - a style that is read, too


@right(rows)
def methods_of_arrays(X, Y, W2, Z1, H, P):
    """NumPy's arrays have methods that nodes have not: `dot`, `copy`."""
    dP = 2 * (P - Y) / P.size
    dW2 = H.T.dot(dP)
    dZ1 = dP.dot(W2.T).copy()
    dZ1[Z1 <= 0] = 0
    dW1 = X.T.dot(dZ1)
    db1 = dZ1.sum(0)
    return locals()


@right(rows)
def the_other_subgradient(X, Y, W2, Z1, P):
    dP = 2 * (P - Y) / P.size
    dZ1 = (dP @ W2.T) * (Z1 >= 0).astype(float)
    return locals()


@right(deep)
def layers_in_a_loop(x, y, w2, w3, a1, a2, a3):
    g, grads = a3 - y, {}
    for i, (w, a, before) in reversed(list(enumerate([(None, a1, x), (w2, a2, a1), (w3, a3, a2)], 1))):
        if i < 3:
            g = g * (1 - a**2)
        grads[f"dw{i}"] = g @ before.T
        if w is not None:
            g = w.T @ g
    return grads


@right(softmax_rows)
def in_place(X, Y, W, P):
    dZ = P.copy()
    dZ -= Y.T
    dZ /= X.shape[0]
    dW = X.T @ dZ
    dW += W
    db = dZ.sum(0)
    return locals()


@right(softmax_sum)
def by_einsum(X, Y, W, P):
    dP = -Y.T / P
    dZ = P * (dP - np.sum(dP * P, axis=1, keepdims=True))
    dW = np.einsum("mk,mn->kn", dZ, X)
    dX = np.einsum("mk,kn->mn", dZ, W)
    return locals()


@right(one_softmax)
def by_the_jacobian(z, y, p):
    dp = -y / p
    J = np.diag(p) - np.outer(p, p)
    dz = J @ dp
    return locals()


@right(line)
def sums_in_a_loop(x, y, w, b):
    dw = db = 0.0
    for xi, yi in zip(x, y, strict=True):
        e = w * xi + b - yi
        dw += 2 * e * xi
        db += 2 * e
    return locals()


@right(rnn_step)
def outer_products(x, h0, y, W, U, h):
    dz = (h - y) * (1 - h * h)
    dW = np.outer(dz, x)
    dU = dz[:, None] * h0[None, :]
    dh0 = dz @ U
    return locals()


@right(layer_norm)
def annotated(X, y, g, N, s, out):
    """A docstring, an annotation, an assertion."""
    dout: np.ndarray = out - y
    dN = dout * g
    dX = (dN - np.mean(dN, axis=-1, keepdims=True) - N * np.mean(dN * N, axis=-1, keepdims=True)) / s
    assert dX.shape == X.shape
    return locals()


@right(attention)
def all_names(**v):
    dout = 2 * (v["out"] - v["Y"])
    dP = dout @ v["V"].T
    dT = v["P"] * (dP - (dP * v["P"]).sum(axis=1, keepdims=True))
    dS = dT / v["d"] ** 0.5
    return {"dQ": dS @ v["K"], "dK": dS.T @ v["Q"], "dV": v["P"].T @ dout}


@right(convolution)
def by_numpys_convolve(x, y, k, o, scale=2.0):
    do = scale * (o - y)
    dk = np.correlate(x, do, mode="valid")
    dx = np.convolve(do, k)
    return locals()


@right(convolution)
def four_loops(x, y, k, o):
    do = 2 * (o - y)
    dk, dx = np.zeros(3), np.zeros(6)
    for i in range(4):
        for j in range(3):
            dk[j] += do[i] * x[i + j]
            dx[i + j] += do[i] * k[j]
    return locals()


@right(hinge)
def masked(x, y, w, s, g):
    ds = np.where(g > 0, -y, 0 * y)
    dw = ds @ x.T
    return locals()


@right(huber)
def clipped(x, y, w, e):
    de = np.clip(e, -1, 1)
    dw = de @ x.T
    return locals()


@right(tied)
def a_helper_of_its_own(x, W, h, r):
    def slope(v):
        return 1 - v**2

    dr = 2 * (r - x)
    dW = (W @ dr * slope(h)) @ x.T + h @ dr.T
    dx = W.T @ (W @ dr * slope(h)) - dr
    return locals()


# --- wrong ones -------------------------------------------------------------------------------------------------------


@wrong(perceptron, dZ="missing slope", db="not summed")
def two_mistakes(x, y, w, a):
    dZ = np.multiply(a - y, a)
    dw = np.dot(dZ, x.T)
    db = np.sum(dZ)
    return locals()


@wrong(perceptron, dZ="evaluated at")
def slope_of_a_helper(x, y, Z, a):
    def slope(v):
        return a * (1 - v)

    da = a - y
    dZ = da * slope(Z)
    dw = dZ @ x.T
    return locals()


@wrong(logistic, db="factor", dw="factor")
def averaged_by_augmenting(x, y, a):
    m = x.shape[1]
    dZ = a - y
    dw, db = dZ @ x.T, dZ.sum(axis=1, keepdims=True) / m
    dw /= m
    return locals()


@wrong(logistic, dw="sign")
def returned_under_another_name(x, y, a):
    error = y - a
    slope = error @ x.T
    return {"dw": slope}


@wrong(scalar, dz="sign")
def plus_for_minus(x, y, w, a):
    dz = (a - y) * (1 + a**2)
    return {"dz": dz, "dw": dz * x, "db": dz}


@wrong(rows, dP="factor")
def mean_over_one_axis(X, Y, W2, Z1, H, P):
    """All else follows, the mask in place too."""
    dP = 2 * (P - Y) / len(X)
    dH = dP @ W2.T
    dZ1 = np.array(dH)
    dZ1[Z1 <= 0] = 0
    dW1 = X.T @ dZ1
    return locals()


@wrong(rows, dZ1="operand")
def mask_of_the_gradient(X, Y, W2, Z1, H, P):
    dP = 2 * (P - Y) / P.size
    dH = dP @ W2.T
    dZ1 = dH * (dH > 0)
    return locals()


@wrong(softmax_sum, dZ="missing term")
def softmax_by_elements(X, Y, W, P):
    dP = -Y.T / P
    dZ = dP * P * (1 - P)
    return locals()


@wrong(softmax_rows, dW="missing term")
def no_weight_decay(X, Y, W, P):
    dZ = (P - Y.T) / X.shape[0]
    return {"dZ": dZ, "dW": X.T @ dZ, "db": dZ.sum(axis=0)}


@wrong(perceptron, dZ="changed in place")
def an_array_under_two_names(x, y, a):
    da = a
    da -= y
    dZ = da * a * (1 - a)
    return locals()


@wrong(line, db="factor")
def two_left_out_in_a_loop(x, y, w, b):
    dw, db = 0.0, 0.0
    for i in range(3):
        e = w * x[i] + b - y[i]
        dw += 2 * e * x[i]
        db += e
    return locals()


@wrong(rnn_step, dW="transposed", dU="operand")
def outer_the_wrong_way_round(x, h0, y, h):
    dz = (h - y) * (1 - h * h)
    dW = np.outer(x, dz)
    dU = np.outer(dz, h)
    return locals()


@wrong(lstm_cell, df="operand", dzg="missing slope")
def cell(c0, y, f, i, g, o, c, t, h):
    dh = 2 * (h - y)
    dc = dh * o * (1 - t**2)
    df = dc * c
    dg = dc * i
    dzf = df * f * (1 - f)
    dzg = dg * g * (1 - g)
    return locals()


@wrong(attention, dS="factor")
def root_left_out(Q, K, V, Y, P, out):
    dP = 2 * (out - Y) @ V.T
    dT = P * (dP - (dP * P).sum(axis=1, keepdims=True))
    dS = dT
    dQ = dS @ K
    return locals()


@wrong(hinge, ds="missing slope")
def mask_left_out(x, y, w, s, g):
    ds = -y
    dw = ds @ x.T
    return locals()


@wrong(huber, de="missing slope")
def sign_left_out(x, y, w, e):
    de = np.where(np.abs(e) <= 1, e, 1)
    return locals()


@wrong(tied, dW="missing term")
def tied_weights_once(x, W, h, r):
    dr = 2 * (r - x)
    dh = W @ dr
    dW = (dh * (1 - h**2)) @ x.T
    return locals()


__all__ = ["RIGHT", "WRONG"]
