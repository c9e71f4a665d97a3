"""The spatial transformer network as a model of Keras, on any backend, beside the same network without a transformer.

    KERAS_BACKEND=jax python docs/examples/keras_transformer.py --data mnist.npz
    python docs/examples/keras_transformer.py --table      writes the table of kept results into the documentation

Digits are turned, scaled and moved on a canvas of 42 x 42, anew in every epoch: RTS of `distortions`. A localisation
network of fully connected layers says which part of the canvas is read, as six numbers; the grid and the sampler are
`SpatialTransformer`; the classifier sees 28 x 28 pixels. A run that was interrupted goes on from its last whole epoch
if the same command is given again. After each epoch, FOLDER/NAME.png has a row more: what the transformer makes of the
digits of the first row.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import data
import distortions
import keras
import numpy as np

from stnkit.keras import IdentityHead, SpatialTransformer

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "pages" / "guides" / "keras.md"
OPEN, CLOSE = "<!-- table: written by docs/examples/keras_transformer.py -->\n", "<!-- end of the table -->"
NETWORKS = ("FCN", "ST-FCN")
SIDE, SHOWN = 28, 12
TEST_SEED = 2015  # of the test digits' distortions, the same for every network
HEAD = """\
| backend | network | test error | its share of that without a transformer | seeds | epochs | minutes each |
| --- | --- | ---: | ---: | --- | ---: | ---: |
"""


def build(network: str) -> keras.Model:
    """Make a classifier of fully connected layers; behind a transformer, or behind a reading of the whole canvas."""
    relu = {"activation": "relu"}
    layers: list[keras.Layer] = [keras.Input((42, 42, 1))]
    if network == "ST-FCN":
        looking = [keras.layers.Flatten(), *[keras.layers.Dense(32, **relu) for _ in range(3)], IdentityHead("affine")]
        layers.append(SpatialTransformer(keras.Sequential(looking), "affine", (SIDE, SIDE), name="transformer"))
    layers += [keras.layers.Flatten(), keras.layers.Dense(128, **relu), keras.layers.Dense(128, **relu)]
    model = keras.Sequential([*layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


def distorted(digits: np.ndarray, *seed: int) -> np.ndarray:
    """Return distorted digits with their channels last."""
    return np.moveaxis(distortions.DISTORTIONS["RTS"].make(digits, np.random.default_rng(seed)), 1, -1)


def train(network: str, digits: data.Digits, seed: int, options: argparse.Namespace) -> None:
    """Train one network to the end, from its last epoch if there is one, and write the result."""
    options.folder.mkdir(parents=True, exist_ok=True)
    name = f"keras-{keras.backend.backend()}-{network}-seed{seed}"
    kept, notes = options.folder / f"{name}.keras", options.folder / f"{name}.json"
    run: dict[str, Any] = {
        "backend": keras.backend.backend(),
        "network": network,
        "seed": seed,
        "epochs": options.epochs,
    }
    run |= {"losses": [], "errors": [], "seconds": 0.0}
    keras.utils.set_random_seed(seed)
    model = build(network)
    if notes.exists() and kept.exists():
        found = json.loads(notes.read_text(encoding="utf-8"))
        if found["epochs"] != options.epochs:
            msg = f"{notes}: of a run of {found['epochs']} epochs; choose another --folder, or delete it to begin anew"
            raise ValueError(msg)
        run, model = found, keras.saving.load_model(kept)
    test = distorted(digits.test, TEST_SEED)
    sheet = options.folder / f"{name}.png"
    for epoch in range(len(run["errors"]), options.epochs):
        print(f"{name}: epoch {epoch + 1} of {options.epochs}", file=sys.stderr)
        start = time.perf_counter()
        keras.utils.set_random_seed(1000 * seed + epoch)  # of the order of batches
        inputs = distorted(digits.train, seed, epoch)
        model.optimizer.learning_rate = 1e-3 * 0.1 ** (3 * epoch // options.epochs)
        history = model.fit(inputs, digits.train_labels, batch_size=128, verbose=1 if sys.stderr.isatty() else 2)
        run["losses"].append(history.history["loss"][0])
        run["seconds"] += time.perf_counter() - start
        guessed = model.predict(test, batch_size=1000, verbose=0).argmax(axis=1)
        run["errors"].append(float((guessed != digits.test_labels).mean()))
        print(f"test error {run['errors'][-1]:.2%}", file=sys.stderr)
        if network == "ST-FCN":
            show(sheet, model.get_layer("transformer"), test[:SHOWN], new=epoch == 0)
        model.save(kept)
        notes.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


def show(path: Path, transformer: SpatialTransformer, inputs: np.ndarray, *, new: bool) -> None:
    """Add a row to a picture: what the transformer makes of inputs, which are its first row."""
    read = keras.ops.convert_to_numpy(transformer(inputs))
    framed = np.zeros_like(inputs)
    edge = (inputs.shape[1] - SIDE) // 2
    framed[:, edge : edge + SIDE, edge : edge + SIDE] = read
    rows = [np.concatenate([*one], axis=1) for one in (inputs, framed)]
    if not new and path.exists():
        before = keras.utils.img_to_array(keras.utils.load_img(path, color_mode="grayscale")) / 255
        rows = [before, rows[1]]
    keras.utils.save_img(path, 255 * np.concatenate(rows), scale=False)


def text(folder: Path) -> str:
    """Return the table of a folder as Markdown."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("keras-*.json"))]
    rows = []
    for backend, runs in itertools.groupby(found, key=lambda run: run["backend"]):
        by_network = {network: [] for network in NETWORKS}
        for run in runs:
            by_network[run["network"]].append(run)
        errors = {
            network: statistics.mean(r["errors"][-1] for r in some) for network, some in by_network.items() if some
        }
        for network, some in by_network.items():
            if some:
                share = f"{errors[network] / errors['FCN']:.2f}" if "FCN" in errors else ""
                seeds = ", ".join(str(run["seed"]) for run in some)
                minutes = statistics.mean(run["seconds"] for run in some) / 60
                cells = (
                    backend,
                    network,
                    f"{errors[network]:.2%}",
                    share,
                    seeds,
                    str(some[0]["epochs"]),
                    f"{minutes:.1f}",
                )
                rows.append(f"| {' | '.join(cells)} |")
    return HEAD + "\n".join(rows)


def write() -> None:
    """Put the table of the kept results into the documentation."""
    above, rest = PAGE.read_text(encoding="utf-8").split(OPEN)
    _, below = rest.split(CLOSE)
    PAGE.write_text(f"{above}{OPEN}\n{text(RESULTS)}\n\n{CLOSE}{below}", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    options = argparse.ArgumentParser(description="A spatial transformer network in Keras, on distorted MNIST.")
    options.add_argument("--data", type=Path, help="mnist.npz, or the folder of the four IDX files")
    options.add_argument("--folder", type=Path, default=Path("runs"), help="for models, results and pictures (runs)")
    options.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    options.add_argument("--seed", type=int, nargs="+", default=[0], help="one or more; each is a run of its own (0)")
    options.add_argument("--epochs", type=int, default=9, help="of each run (9)")
    options.add_argument("--table", action="store_true", help="write the table of kept results into the documentation")
    return options


def main() -> int:
    """Train what was asked for, and print the table; return 2, with one line, for what a user can set right."""
    options = parser().parse_args()
    try:
        if options.table:
            write()
            return 0
        if options.data is None or options.epochs < 1 or min(options.seed) < 0:
            msg = "--data is needed; --epochs must be at least 1, and --seed at least 0"
            raise ValueError(msg)
        digits = data.load(options.data)
        for seed, network in itertools.product(options.seed, options.network):
            train(network, digits, seed, options)
        print(text(options.folder))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last whole epoch", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"keras_transformer.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
