"""One network, one seed, three frameworks: the loss falls along the same curve in NumPy, torch and JAX.

It is float64, and smooth between knots. Each step has 40 000 coordinates: in float32 one of them is soon so near to a
knot that frameworks, whose products differ by an ulp, take different slopes there; ReLU and maxima have the same
effect. From then on trajectories part, slowly or fast, as rates are.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from stnkit.demo.layers import cross_entropy, perceptron
from stnkit.demo.learn import READ, unit_digits
from stnkit.demo.poses import EXTENT, distorted
from stnkit.jax.nn import SpatialTransformer as JaxTransformer
from stnkit.nn import SpatialTransformer
from stnkit.torch.nn import SpatialTransformer as TorchTransformer
from stnkit.transforms import identity_parameters

STEPS, BATCH = 100, 50
LOOK, CLASSIFY = 0.02, 0.5  # the rates of both networks
TRANSFORM = "affine"


def networks():
    """Return the localisation network and the classifier, with the same weights every time."""
    rng = np.random.default_rng(0)
    identity = identity_parameters(TRANSFORM)
    looking = perceptron((EXTENT[0] * EXTENT[1], 16, len(identity)), rng, last=identity)
    classifier = perceptron((READ[0] * READ[1], 32, 10), rng)
    for layer in (*looking.linear(), *classifier.linear()):
        layer.weights = [weight.astype(np.float64) for weight in layer.weights]
    return looking, classifier


def batches():
    digits, labels = unit_digits("train")
    rng = np.random.default_rng(1)
    for _ in range(STEPS):
        chosen = rng.permutation(len(digits))[:BATCH]
        yield distorted(digits[chosen], rng)[0].astype(np.float64), labels[chosen].astype(np.int64)


def weights_of(chain):
    return [layer.weights for layer in chain.linear()]


def in_numpy():
    looking, classifier = networks()
    transformer = SpatialTransformer(looking, TRANSFORM, READ)
    for images, labels in batches():
        loss, bar = cross_entropy(classifier.forward(transformer.forward(images)), labels)
        transformer.backward(classifier.backward(bar), image=False)
        for network, rate in ((looking, LOOK), (classifier, CLASSIFY)):
            for layer in network.linear():
                for weight, slope in zip(layer.weights, layer.cotangents, strict=True):
                    weight -= rate * slope
        yield loss


def in_torch():
    def module(chain):
        layers = [torch.nn.Flatten()]
        for weight, bias in weights_of(chain):
            layer = torch.nn.Linear(*weight.shape, dtype=torch.float64)
            layer.load_state_dict({"weight": torch.from_numpy(weight.T), "bias": torch.from_numpy(bias)})
            layers += [layer, torch.nn.Tanh()]
        return torch.nn.Sequential(*layers[:-1])

    looking, classifier = map(module, networks())
    network = torch.nn.Sequential(TorchTransformer(looking, TRANSFORM, READ), classifier)
    rates = ((looking, LOOK), (classifier, CLASSIFY))
    optimiser = torch.optim.SGD([{"params": part.parameters(), "lr": rate} for part, rate in rates])
    for images, labels in batches():
        loss = torch.nn.functional.cross_entropy(network(torch.from_numpy(images)), torch.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield float(loss.detach())


def in_jax():
    def apply(layers, values):
        values = values.reshape(len(values), -1)
        for weight, bias in layers[:-1]:
            values = jnp.tanh(values @ weight + bias)
        weight, bias = layers[-1]
        return values @ weight + bias

    def loss_of(weights, images, labels):
        looking, classifier = weights
        transformer = JaxTransformer(lambda images: apply(looking, images), READ, transform=TRANSFORM)
        likely = jax.nn.log_softmax(apply(classifier, transformer(images)))
        return -jnp.mean(jnp.take_along_axis(likely, labels[:, None], axis=1))

    @jax.jit
    def step(weights, images, labels):
        loss, slopes = jax.value_and_grad(loss_of)(weights, images, labels)
        moved = [
            jax.tree.map(lambda weight, slope, rate=rate: weight - rate * slope, *part)
            for *part, rate in zip(weights, slopes, (LOOK, CLASSIFY), strict=True)
        ]
        return tuple(moved), loss

    weights = jax.tree.map(jnp.array, tuple(map(weights_of, networks())))
    for images, labels in batches():
        weights, loss = step(weights, images, labels)
        yield float(loss)


@pytest.fixture(scope="module")
def curve():
    return np.array(list(in_numpy()))


def test_the_network_learns(curve):
    """From the loss of a guess, ln 10."""
    assert curve[-10:].mean() < np.log(10) - 0.1 < curve[:10].mean()


@pytest.mark.parametrize("framework", [in_torch, in_jax])
def test_the_curve_is_the_same(curve, framework):
    with jax.enable_x64(True):
        np.testing.assert_allclose(np.array(list(framework())), curve, rtol=0, atol=1e-9)
