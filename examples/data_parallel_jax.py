"""Chapter 1's two-layer network trained data-parallel over several JAX devices, equal to the NumPy run.

The notes' forward pass is used as it stands: its ops are written against an array namespace, so a `Tensor` may hold a
JAX array that is sharded over devices. Under `jax.jit` the forward and the backward pass become one program, and XLA
puts in the all-reduce that sums the gradients of the shards. Here one machine plays four: XLA splits the host.

Run:  python examples/data_parallel_jax.py          (needs: pip install jax 'tinygrad_notes[xp]')
"""

import os

DEVICES = 4
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tinygrad_notes import Tensor
from tinygrad_notes.notes import two_layer

jax.config.update("jax_enable_x64", True)

N_FEATURES, N_HIDDEN, N_EXAMPLES, STEPS, RATE = 8, 16, 1024, 300, 5.0


def data_and_weights(seed=0):
    """Examples as columns x (n, m), labels y (1, m), and the weights to start from."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_FEATURES, N_EXAMPLES))
    y = (x[:1] * x[1:2] > 0).astype(float)  # a XOR of signs: no single neuron can tell
    weights = {
        "w1": rng.normal(size=(N_HIDDEN, N_FEATURES)) / N_FEATURES**0.5,
        "b1": np.zeros((N_HIDDEN, 1)),
        "w2": rng.normal(size=(1, N_HIDDEN)) / N_HIDDEN**0.5,
        "b2": np.zeros((1, 1)),
    }
    return x, y, weights


def step(weights, x, y):
    """One step of gradient descent on the mean loss; the arrays may be NumPy's or JAX's."""
    given = {name: Tensor(w, name=name) for name, w in weights.items()}
    L = two_layer.forward(Tensor(x, requires_grad=False), Tensor(y, requires_grad=False), **given)["L"]
    L.backward()
    m = x.shape[1]
    return {name: w.data - RATE / m * w.grad for name, w in given.items()}, L.data / m


def train(step, weights, x, y):
    """The weights after `STEPS` steps, and the loss before each."""
    losses = []
    for _ in range(STEPS):
        weights, loss = step(weights, x, y)
        losses.append(float(loss))
    return weights, losses


def main():
    """Train both ways and compare."""
    x, y, weights = data_and_weights()
    plain, plain_losses = train(step, weights, x, y)

    mesh = Mesh(np.array(jax.devices()), ("batch",))
    over_examples = NamedSharding(mesh, PartitionSpec(None, "batch"))  # columns are examples: each device has its share
    everywhere = NamedSharding(mesh, PartitionSpec())
    x, y = jax.device_put(x, over_examples), jax.device_put(y, over_examples)
    weights = jax.device_put(weights, everywhere)
    parallel_step = jax.jit(step)
    program = parallel_step.lower(weights, x, y).compile().as_text()
    parallel, parallel_losses = train(parallel_step, weights, x, y)

    difference = max(float(np.abs(np.asarray(parallel[k]) - plain[k]).max()) for k in plain)
    print(f"devices                 {len(jax.devices())}, {x.sharding.shard_shape(x.shape)[1]} examples each")
    print(f"all-reduces in program  {program.count(' all-reduce(')}")
    print(f"loss, NumPy             {plain_losses[0]:.6f} -> {plain_losses[-1]:.6f}")
    print(f"loss, data-parallel     {parallel_losses[0]:.6f} -> {parallel_losses[-1]:.6f}")
    print(f"largest difference of a weight after {STEPS} steps: {difference:.1e}")
    return difference


if __name__ == "__main__":
    assert main() < 1e-12
