"""The learning demo: two classifiers see the same turned, scaled and moved digits, one through a spatial transformer.

Both are fully connected, in plain NumPy, and take every step side by side on the same images. Every image is distorted
anew each time it is learnt; the test digits are other digits, and their distortions stay.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stnkit.api.affine import affine_sample, affine_sample_vjp
from stnkit.demo.align.task import seconds_of
from stnkit.demo.data import load_digits
from stnkit.demo.descent import Images
from stnkit.demo.layers import Adam, Chain, cross_entropy, perceptron
from stnkit.demo.poses import EXTENT, Poses, differences, distorted
from stnkit.nn import SpatialTransformer
from stnkit.transforms import identity_parameters

Floats = NDArray[Any]
Labels = NDArray[np.uint8]

TRANSFORM, READ = "affine", (20, 20)  # what the transformer reads of the canvas, and its classifier sees

HIDDEN, LOOKING = (128, 128), (64, 32)  # units of the classifiers, and of the localisation network
BATCH, RATE = 100, 1e-3  # the rate falls to nothing on a cosine
TEST_COPIES, TEST_SEED = 4, 2015  # each test digit is distorted so often, whatever the demo's seed is
STEADY, MEASURED = 50, 100  # stages at which errors are measured, at most; images that times are measured on


class Result(NamedTuple):
    """What the demo found."""

    epochs: int
    measured: list[int]  # the epochs after which the following was measured; 0 is before the first
    plain: list[float]  # the share of test images that the plain network gets wrong
    transformed: list[float]  # the same of the network with the transformer
    poses: list[Poses]  # how much turn, size and place differ in what the transformer read
    labels: Labels  # of the digits that are shown
    distorted: Images
    read: list[Images]  # what the transformer made of them, at each stage
    theta: Floats  # where it looks in the end
    weights: tuple[int, int]  # numbers that are learnt, of the plain network and of the other
    seconds: tuple[float, float]  # per epoch, of the plain network and of the other
    sampling: float  # the share of the transformer network's time that sampling and its derivative take
    compile_seconds: float
    total: float


class Learner:
    """A network and its optimiser; it counts the time it spends."""

    def __init__(self, classifier: Chain, transformer: SpatialTransformer | None = None, looking: Chain | None = None):
        self.classifier, self.transformer = classifier, transformer
        self.optimiser = Adam(classifier.linear() + (looking.linear() if looking else []))
        self.seconds = 0.0

    def scores(self, images: Images) -> Floats:
        """Return what the network says of images."""
        return self.classifier.forward(self.transformer.forward(images) if self.transformer else images)

    def learn(self, images: Images, labels: Labels, rate: float) -> float:
        """Take one step, and return the loss before it."""
        start = time.perf_counter()
        loss, cotangent = cross_entropy(self.scores(images), labels)
        below = self.classifier.backward(cotangent)
        if self.transformer:
            self.transformer.backward(below, image=False)
        self.optimiser.step(rate)
        self.seconds += time.perf_counter() - start
        return loss

    def error(self, images: Images, labels: Labels) -> float:
        """Return the share of images that the network gets wrong."""
        return float(np.mean(self.scores(images).argmax(axis=1) != labels))


def learners(seed: int) -> tuple[Learner, Learner]:
    """Make the plain network and the one with a transformer in front, which looks at the whole canvas at first."""
    rng = np.random.default_rng((seed, 0))
    plain = Learner(perceptron((math.prod(EXTENT), *HIDDEN, 10), rng))
    identity = identity_parameters(TRANSFORM)
    looking = perceptron((math.prod(EXTENT), *LOOKING, len(identity)), rng, last=identity)
    classifier = perceptron((math.prod(READ), *HIDDEN, 10), rng)
    return plain, Learner(classifier, SpatialTransformer(looking, TRANSFORM, READ), looking)


def learning(epochs: int, seed: int, advance: Callable[[float, float], None]) -> Result:
    """Train both networks side by side for at least one epoch, and measure them on the way.

    `seed` draws weights, order and distortions. `advance` is called after each epoch, with the last measured errors of
    the plain network and of the other.
    """
    start = time.perf_counter()
    digits, labels = unit_digits("train")
    tested, answers = unit_digits("test")
    answers = np.tile(answers, TEST_COPIES)
    test, maps = distorted(np.tile(tested, (TEST_COPIES, 1, 1)), np.random.default_rng(TEST_SEED))
    shown = np.array([np.flatnonzero(answers == digit)[0] for digit in range(10)])
    rng = np.random.default_rng((seed, 1))
    stages = set(np.unique(np.geomspace(1, epochs, STEADY).round().astype(int)))

    with one_thread():
        for learner in learners(seed):  # others, to compile what follows
            learner.learn(test[:BATCH], answers[:BATCH], RATE)
        compiled = time.perf_counter()
        plain, seeing = learners(seed)
        assert seeing.transformer is not None
        measured, errors, poses, read = [], [], [], []
        for epoch in range(epochs + 1):
            if epoch:
                one_epoch((plain, seeing), digits, labels, rng, (epoch - 1) / epochs, 1.0 / epochs)
            if epoch in stages or epoch == 0:
                measured.append(epoch)
                errors.append((plain.error(test, answers), seeing.error(test, answers)))
                theta = seeing.transformer.theta(seeing.transformer.localization.forward(test))
                poses.append(differences(maps, theta))
                read.append(affine_sample(test[shown], theta[shown], READ))
            if epoch:
                advance(*errors[-1])
        finished = time.perf_counter()
        sampling = sampling_share(seeing, test[:BATCH], answers[:BATCH])
    return Result(
        epochs=epochs,
        measured=measured,
        plain=[first for first, _ in errors],
        transformed=[second for _, second in errors],
        poses=poses,
        labels=answers[shown],
        distorted=test[shown],
        read=read,
        theta=theta[shown],
        weights=(plain.optimiser.count, seeing.optimiser.count),
        seconds=(plain.seconds / epochs, seeing.seconds / epochs),
        sampling=sampling,
        compile_seconds=compiled - start,
        total=finished - start,
    )


def one_epoch(
    learners: tuple[Learner, Learner],
    digits: Images,
    labels: Labels,
    rng: np.random.Generator,
    done: float,
    share: float,
) -> None:
    """Let both networks learn every digit, (N, 28, 28), once, from the same images.

    `done` is the share of the whole training that is done, and `share` that of this epoch.
    """
    order = rng.permutation(len(digits))
    for first in range(0, len(order), BATCH):
        chosen = order[first : first + BATCH]
        images, _ = distorted(digits[chosen], rng)
        rate = RATE * 0.5 * (1.0 + math.cos(math.pi * (done + share * first / len(order))))
        for learner in learners:
            learner.learn(images, labels[chosen], rate)


def unit_digits(split: str) -> tuple[Images, Labels]:
    """Load digits of a split, (N, 28, 28) in float32, where 1 is ink, and their labels, (N,)."""
    images, labels = load_digits(split)
    return (images / np.float32(255)).astype(np.float32), labels


def sampling_share(learner: Learner, images: Images, labels: Labels) -> float:
    """Measure which share of a step sampling takes, forwards and backwards, by median times of one batch.

    The learner, which has the transformer, is not changed.
    """
    assert learner.transformer is not None
    theta = learner.transformer.theta(learner.transformer.localization.forward(images))
    out = affine_sample(images, theta, READ)
    forward = seconds_of(lambda: affine_sample(images, theta, READ), MEASURED)
    backward = seconds_of(lambda: affine_sample_vjp(out, images, theta, wrt="theta"), MEASURED)
    return (forward + backward) / seconds_of(lambda: learner.learn(images, labels, 0.0), MEASURED)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sample and multiply matrices on one thread.

    Batches this small gain little by more, and lose tenfold where another program runs, as threads wait for each other.
    And sums of products then have one order on every machine with the same BLAS.
    """
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        numba.set_num_threads(before)
