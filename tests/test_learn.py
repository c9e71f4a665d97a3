"""The learning demo: its layers differentiate, the network with the transformer wins, and it repeats itself."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stnkit.cli.app import run
from stnkit.demo.layers import Adam, Chain, Linear, Tanh, cross_entropy, perceptron
from stnkit.demo.learn.sheet import _stages
from stnkit.demo.learn.task import READ, learners, learning, one_epoch, unit_digits
from stnkit.demo.poses import EXTENT, differences, distorted
from stnkit.transforms.centred_affine import theta_of


def test_the_network_with_the_transformer_is_clearly_ahead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tenth of the epochs is enough to see it."""
    out = tmp_path / "picture.png"
    assert run(["demo", "--epochs", "40", "--seed", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    seen = []
    result = learning(40, 1, lambda *errors: seen.append(errors))
    assert len(seen) == 40
    assert result.transformed[-1] <= 0.6 * result.plain[-1]
    assert result.measured[0] == 0
    assert result.measured[-1] == 40
    assert seen[-1] == (result.plain[-1], result.transformed[-1])
    assert f"{result.plain[-1]:.1%}" in shown  # the same seed gave the same errors
    assert f"{result.transformed[-1]:.1%}" in shown
    first, last = result.poses[0], result.poses[-1]
    assert last.place < 0.5 * first.place  # what it learns first
    with Image.open(out) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_the_layers_differentiate() -> None:
    """Along a random direction of all weights and of the input; float64, so that the quotient is near enough.

    The quotient's own error is about step^2 times a third derivative of order 1, and eps / step by rounding.
    """
    rng = np.random.default_rng(0)
    network = Chain(
        [
            Linear(rng.standard_normal((12, 5)), rng.standard_normal(5)),
            Tanh(),
            Linear(rng.standard_normal((5, 3)), np.ones(3)),
        ]
    )
    images, labels = rng.standard_normal((4, 1, 3, 4)), np.array([0, 2, 1, 1])
    loss, cotangent = cross_entropy(network.forward(images), labels)
    below = network.backward(cotangent)
    weights = [weight for layer in network.linear() for weight in layer.weights]
    slopes = [slope for layer in network.linear() for slope in layer.cotangents]
    along = [rng.standard_normal(weight.shape) for weight in (*weights, images)]
    expected = sum(float((a * b).sum()) for a, b in zip((*slopes, below), along, strict=True))
    step, losses = 1e-5, []
    for sign in (1, -1):
        for weight, direction in zip((*weights, images), along, strict=True):
            weight += sign * step * direction
        losses.append(cross_entropy(network.forward(images), labels)[0])
        for weight, direction in zip((*weights, images), along, strict=True):
            weight -= sign * step * direction
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(expected, rel=1e-7)
    assert loss == pytest.approx(cross_entropy(network.forward(images), labels)[0], rel=1e-12)


def test_huge_scores_have_a_finite_loss() -> None:
    loss, cotangent = cross_entropy(np.array([[1e4, -1e4]], np.float32), np.array([1]))
    assert loss == 2e4
    np.testing.assert_array_equal(cotangent, [[1.0, -1.0]])


def test_adam_takes_first_steps_of_the_rate() -> None:
    layer = Linear(np.zeros((2, 1)), np.zeros(1))
    layer.cotangents = [np.array([[3.0], [-1e-3]]), np.array([0.0])]
    Adam([layer]).step(0.01)
    np.testing.assert_allclose(layer.weights[0], [[-0.01], [0.01]], rtol=2e-5)  # TINY / 1e-3
    assert layer.weights[1] == 0.0


def test_a_network_can_begin_with_what_it_is_told() -> None:
    network = perceptron((7, 5, 3), np.random.default_rng(0), last=(1.0, 0.0, -2.0))
    out = network.forward(np.random.default_rng(1).standard_normal((4, 7)).astype(np.float32))
    np.testing.assert_array_equal(out, np.tile(np.float32([1.0, 0.0, -2.0]), (4, 1)))
    assert out.dtype == np.float32


def test_both_networks_see_the_same_and_stay_in_float32() -> None:
    plain, seeing = learners(0)
    digits, labels = unit_digits("train")
    one_epoch((plain, seeing), digits[:20], labels[:20], np.random.default_rng(0), 0.0, 0.5)
    for learner in (plain, seeing):
        assert {weight.dtype for layer in learner.optimiser.layers for weight in layer.weights} == {np.dtype("float32")}
        assert learner.optimiser.steps == 1
    assert seeing.optimiser.count < plain.optimiser.count  # the transformer does not win by size


def test_what_undoes_the_distortions_leaves_no_difference() -> None:
    digits, _ = unit_digits("test")
    _, maps = distorted(digits[:50], np.random.default_rng(0))
    whole = np.tile(np.eye(2, 3), (50, 1, 1))
    before = differences(maps, whole)
    assert 30 < before.turn < 40  # a uniform angle within 60 degrees deviates by 60 / sqrt(3), less on a circle
    inverse = np.linalg.inv(np.concatenate([maps, np.tile([[[0.0, 0.0, 1.0]]], (50, 1, 1))], axis=1))[:, :2]
    undone = theta_of(inverse, EXTENT, EXTENT)
    np.testing.assert_allclose(differences(maps, undone), 0.0, atol=1e-6)  # the turn is a root of what rounding leaves


def test_stages_run_from_the_start_to_the_end() -> None:
    assert _stages([0, 1]) == [0, 1]
    assert _stages(list(range(401)))[:2] == [0, 1]
    assert _stages(list(range(401)))[-1] == 400


def test_what_is_read_is_what_the_classifier_sees() -> None:
    _, seeing = learners(0)
    images = np.ones((2, 1, *EXTENT), np.float32)
    assert seeing.transformer.forward(images).shape == (2, 1, *READ)
