"""One network, one seed, three frameworks: the loss falls along the same curve in NumPy, torch and JAX.

It is float64, and smooth between knots. Each step has 40 000 coordinates: in float32 one of them is soon so near to a
knot that frameworks, whose products differ by an ulp, take different slopes there; ReLU and maxima have the same
effect. From then on trajectories part, slowly or fast, as rates are. `python -m bench.curves` measures that.
"""

import numpy as np
import pytest

from bench.curves import MARKED, PAGE, STEPS, Training, in_jax, in_numpy, in_torch, table

# Projective maps are sampled by kernels of their own in NumPy, and by a formula in torch and JAX.
TRAININGS = [Training("affine"), Training("projective")]


def losses(framework, training):
    return np.array(list(framework(training)))


@pytest.fixture(scope="module", params=TRAININGS, ids=lambda training: training.transform)
def trained(request):
    return request.param, losses(in_numpy, request.param)


def test_the_network_learns(trained):
    """From the loss of a guess, ln 10."""
    _, curve = trained
    assert len(curve) == STEPS
    assert curve[-10:].mean() < np.log(10) - 0.1 < curve[:10].mean()


@pytest.mark.parametrize("framework", [in_torch, in_jax])
def test_the_curve_is_the_same(trained, framework):
    training, curve = trained
    np.testing.assert_allclose(losses(framework, training), curve, rtol=0, atol=1e-9)


def test_the_table_says_when_curves_part():
    same = [[2.0, 1.5, 1.0]] * 3
    apart = [[2.0, 1.5, 1.0], [2.0, 1.5, 1.25], [2.0, 1.5, 1.0]]
    assert table({"affine": {"float64": same, "float32": apart}}).rows == [
        ("affine", "three frameworks, float64", "0e+00", "never"),
        ("affine", "three frameworks, float32", "2e-01", "3"),
        ("affine", "NumPy, float32 beside float64", "0e+00", "never"),
    ]


def test_the_page_has_a_place_for_the_table():
    assert len(MARKED.findall(PAGE.read_text(encoding="utf-8"))) == 1
