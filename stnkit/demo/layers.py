"""Layers of a network in plain NumPy: each has a forward pass, and a backward pass that keeps its weights' cotangents.

A layer remembers what its backward pass needs, and lists its weights and their cotangents in the same order.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]

MOMENTUM, TINY = 0.9, 1e-8  # of Adam: Kingma and Ba, 2015


class Layer(Protocol):
    """What a chain is made of."""

    def forward(self, values: Floats) -> Floats:
        """Return the layer's values."""

    def backward(self, cotangent: Floats) -> Any:
        """Keep the weights' cotangents, and return that of what `forward` got."""


class Linear:
    """A fully connected layer, x W + b."""

    def __init__(self, weight: Floats, bias: Floats) -> None:
        self.weights = [weight, bias]
        self.cotangents = [np.zeros_like(weight), np.zeros_like(bias)]
        self._values = weight

    def forward(self, values: Floats) -> Floats:
        """Map (N, ...) to (N, K); what is behind the batch axis is one axis."""
        self._shape = values.shape
        self._values = values.reshape(len(values), -1)
        out: Floats = self._values @ self.weights[0] + self.weights[1]
        return out

    def backward(self, cotangent: Floats) -> Floats:
        """Keep x^T c and the sum of c, and return c W^T."""
        self.cotangents = [self._values.T @ cotangent, cotangent.sum(axis=0)]
        below: Floats = cotangent @ self.weights[0].T
        return below.reshape(self._shape)


class Tanh:
    """The hyperbolic tangent, which is smooth: a network of it learns the same in any order of additions."""

    def forward(self, values: Floats) -> Floats:
        """Return tanh(x)."""
        self._out: Floats = np.tanh(values)
        return self._out

    def backward(self, cotangent: Floats) -> Floats:
        """Return (1 - tanh(x)^2) c."""
        below: Floats = (1.0 - self._out**2) * cotangent
        return below


class Chain:
    """Layers, one after the other."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers

    def forward(self, values: Floats) -> Floats:
        """Go through all the layers."""
        for layer in self.layers:
            values = layer.forward(values)
        return values

    def backward(self, cotangent: Floats) -> Floats:
        """Go back through all the layers."""
        for layer in reversed(self.layers):
            cotangent = layer.backward(cotangent)
        return cotangent

    def linear(self) -> list[Linear]:
        """Return the layers that have weights."""
        return [layer for layer in self.layers if isinstance(layer, Linear)]


def perceptron(sizes: Sequence[int], rng: np.random.Generator, last: Sequence[float] | None = None) -> Chain:
    """Make fully connected layers with tanh between them, in float32, from the numbers per image at each.

    Weights are drawn as Glorot and Bengio did in 2010; biases are zero. `last` is what the network outputs at first,
    whatever it sees: the last layer's weight is then zero.
    """
    layers: list[Layer] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        bound = math.sqrt(6.0 / (fan_in + fan_out))
        weight = rng.uniform(-bound, bound, (fan_in, fan_out)).astype(np.float32)
        layers += [Linear(weight, np.zeros(fan_out, np.float32)), Tanh()]
    layers.pop()
    if last is not None:
        layers[-1] = Linear(np.zeros(sizes[-2:], np.float32), np.asarray(last, np.float32))
    return Chain(layers)


def cross_entropy(scores: Floats, labels: NDArray[Any]) -> tuple[float, Floats]:
    """Measure how unlikely a softmax of scores, (N, classes), makes the right classes, (N,).

    Return the mean over the batch, and its derivative with respect to the scores.
    """
    rows = np.arange(len(scores))
    shifted = scores - scores.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - shifted[rows, labels])
    cotangent = np.exp(shifted) / total
    cotangent[rows, labels] -= 1.0
    return float(loss), cotangent / np.float32(len(scores))


class Moments:
    """Running means of an array's gradient and of its square, and the step that Adam takes of them."""

    def __init__(self, like: Floats, memory: float = 0.999) -> None:
        self.memory, self.count = memory, 0
        self.mean, self.square = np.zeros_like(like), np.zeros_like(like)

    def step(self, gradient: Floats, rate: float) -> Floats:
        """Return a step of about `rate` along a gradient, in units of its own size."""
        self.count += 1
        self.mean += (1.0 - MOMENTUM) * (gradient - self.mean)
        self.square += (1.0 - self.memory) * (gradient**2 - self.square)
        size = np.sqrt(self.square) / math.sqrt(1.0 - self.memory**self.count) + TINY
        step: Floats = rate / (1.0 - MOMENTUM**self.count) * self.mean / size
        return step


class Adam:
    """Gradient descent of the weights of layers."""

    def __init__(self, layers: Sequence[Linear]) -> None:
        self.layers = layers
        self.steps = 0
        self.count = sum(weight.size for layer in layers for weight in layer.weights)
        self._moments = [[Moments(weight) for weight in layer.weights] for layer in layers]

    def step(self, rate: float) -> None:
        """Change all weights, in place, by about `rate`."""
        self.steps += 1
        for layer, moments in zip(self.layers, self._moments, strict=True):
            for weight, cotangent, own in zip(layer.weights, layer.cotangents, moments, strict=True):
                weight -= own.step(cotangent, rate)
