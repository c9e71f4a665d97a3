"""What is remembered: no more than a number of bytes, and what was asked for last."""

import os
import threading

import pytest

from stnkit.plans import memo
from stnkit.plans.memo import Memo


def test_what_was_not_asked_for_goes_first():
    kept = Memo(100)
    for key in "abc":
        kept.keep(key, key.upper(), 30)
    assert [kept.find(key) for key in "cba"] == ["C", "B", "A"]  # "c" is the oldest now
    kept.keep("d", "D", 40)
    assert (kept.find("c"), kept.nbytes, len(kept)) == (None, 100, 3)
    kept.keep("e", "E", 100)
    assert [kept.find(key) for key in "abde"] == [None, None, None, "E"]
    kept.keep("f", "F", 101)  # too large: what is there stays
    assert (kept.find("f"), kept.find("e"), kept.nbytes) == (None, "E", 100)


def test_a_result_that_is_kept_twice_counts_once():
    kept = Memo(100)
    kept.keep("a", 1, 60)
    kept.keep("a", 2, 70)
    assert (kept.find("a"), kept.nbytes, len(kept)) == (2, 70, 1)
    kept.clear()
    assert (kept.find("a"), kept.nbytes, len(kept)) == (None, 0, 0)


def test_small_results_are_counted():
    kept = Memo(2**30)
    for key in range(memo.MOST + 5):
        kept.keep(key, key, 1)
    assert (len(kept), kept.nbytes, kept.find(4), kept.find(5)) == (memo.MOST, memo.MOST, None, 5)


def test_threads_share_one():
    """Its bytes are those of its results, whatever was kept and let go at once."""
    kept, started = Memo(1000), threading.Barrier(4)

    def work(mine):
        started.wait()
        for k in range(3000):
            key = (k * mine) % 50
            found = kept.find(key)
            assert found in (None, key)
            kept.keep(key, key, 10 + key)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.nbytes == sum(10 + key for key in range(50) if kept.find(key) is not None) <= 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_child_has_a_lock_of_its_own():
    kept = Memo(100)
    kept.keep("a", 7, 1)
    with kept._lock:
        child = os.fork()
        if child == 0:
            os._exit(kept.find("a"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
