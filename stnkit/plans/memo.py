"""What is remembered of results that are large: how many bytes they may take."""

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

MOST = 1024  # results, however small


class Memo:
    """Results by the arguments that they follow from: those asked for last, in no more than `limit` bytes.

    What is larger than that is not kept. Threads may share one; two that miss a result at once both compute it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0  # of what is kept
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)  # a thread that is not in the child may have held it

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Hashable) -> Any:
        """Return a result that is kept, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def keep(self, key: Hashable, result: Any, nbytes: int) -> None:
        """Keep a result of a size, and let those go that were not asked for the longest."""
        if nbytes > self.limit:
            return
        with self._lock:
            self.nbytes += nbytes - self._kept.pop(key, (None, 0))[1]
            self._kept[key] = result, nbytes
            while self.nbytes > self.limit or len(self._kept) > MOST:
                self.nbytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._kept.clear()
            self.nbytes = 0
