"""Dask's distributed scheduler with processes: the same bits on one worker or two, and after one was killed."""

import os
import signal

import numpy as np
import pytest

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore:.*leaked:UserWarning")
def test_processes_give_the_same_bits(tmp_path) -> None:
    """Kernels come from Python here, as the workers are new processes, and compiling is tested elsewhere."""
    import stnkit
    import stnkit.dask

    image = np.random.default_rng(0).random((1, 24, 30))
    turn = np.array([[0.9, -0.3, 0.0], [0.4, 0.9, 0.1]])
    chunked = da.from_array(image, chunks=(1, 7, 8))
    out = stnkit.affine_sample(chunked, turn, chunks=6)
    _, slope = stnkit.affine_sample_vjp(out, chunked, turn, wrt="theta")
    expected, expected_slope = stnkit.affine_sample(image, turn), slope.compute(scheduler="sync")
    environment = {"NUMBA_DISABLE_JIT": "1"}
    for workers, threads in ((2, 1), (1, 2)):
        own = {"n_workers": workers, "threads_per_worker": threads, "dashboard_address": ":0"}
        with (
            distributed.LocalCluster(processes=True, env=environment, local_directory=str(tmp_path), **own) as cluster,
            distributed.Client(cluster) as client,
        ):
            client.register_plugin(stnkit.dask.Prepare(out, slope))
            np.testing.assert_array_equal(out.compute(), expected)
            np.testing.assert_array_equal(slope.compute(), expected_slope)
            if workers == 2:
                future = client.compute(out)
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
                np.testing.assert_array_equal(future.result(120), expected)
