"""Which torch is new enough: the oldest that the tests run on, for parts of torch that are its own are used."""

import torch

OLDEST = (2, 6)

if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST:
    oldest = ".".join(map(str, OLDEST))
    msg = f"stnkit works with torch {oldest} or newer; this is torch {torch.__version__}: pip install -U torch"
    raise ImportError(msg)
