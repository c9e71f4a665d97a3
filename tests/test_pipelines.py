"""How leaves are compiled: what a kernel's choices rule out is never seen, and kernels share what they agree on."""

import pytest
from numba import njit, typeof, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import TypingError
from numba.core.registry import cpu_target

from stnkit.kernels.compiler.jit import leaf
from stnkit.kernels.compiler.leaves import compiled
from stnkit.kernels.compiler.pipelines import KernelPipeline
from stnkit.spec import AFFINE, BICUBIC, FLOW, GRID, Spec


@leaf
def read_by_source(x, spec):
    if spec.source == FLOW:
        return x.what_numbers_have_not
    if spec.mapped and spec.reading.align:
        return x + type(x)(1)
    return x


like_a_kernel = njit(pipeline_class=KernelPipeline, error_model="numpy")


def kernel_of(spec):
    def called(x):
        return read_by_source(x, spec)

    return like_a_kernel(called)


def code_of(function, *kinds, target=cpu_target):
    with global_compiler_lock:
        target.typing_context.refresh()  # as compilers do before they begin
        target.target_context.refresh()
        return compiled(function.py_func, kinds, target.typing_context, target.target_context)


def test_a_branch_that_is_ruled_out_is_not_typed():
    """The attribute that numbers lack would be a typing error."""
    assert kernel_of(Spec(2, source=GRID))(2.5) == 2.5
    assert kernel_of(Spec(2, source=AFFINE, align=True))(2.5) == 3.5
    with pytest.raises(TypingError, match=r"read_by_source.*what_numbers_have_not"):
        code_of(read_by_source, types.float64, Spec(2, source=FLOW))


def test_a_leaf_is_code_to_be_linked_and_nothing_else():
    read_by_source.compile((types.float64, typeof(Spec(3, source=GRID))))
    (*_, result) = read_by_source.overloads.values()
    with global_compiler_lock:  # as Numba asks for, to finish what nobody has linked yet
        (name,) = (f.name for f in result.library._get_module_for_linking().functions)
    assert not cpu_target.target_context.codegen()._engine.is_symbol_defined(name)


def test_kernels_share_leaves_that_read_nothing_in_which_they_differ():
    grid, other = Spec(2, source=GRID), Spec(3, BICUBIC, source=GRID, align=True, digest=1)
    assert code_of(read_by_source, types.float64, grid) is code_of(read_by_source, types.float64, other)
    assert code_of(read_by_source, types.float64, grid) is not code_of(read_by_source, types.float32, grid)
    mapped = code_of(read_by_source, types.float64, Spec(2, source=AFFINE))
    assert mapped is not code_of(read_by_source, types.float64, Spec(2, source=AFFINE, align=True))
    assert mapped is code_of(read_by_source, types.float64, Spec(1, source=AFFINE))
    assert set(mapped.reads) == {(1, "source"), (1, "mapped"), (1, "reading", "align")}


def test_targets_do_not_share_leaves(compiler):
    """What a GPU and a CPU would read alike too: instructions differ."""
    from numba.cuda.descriptor import cuda_target

    kinds = types.float64, Spec(2, source=AFFINE)
    here, there = code_of(read_by_source, *kinds), code_of(read_by_source, *kinds, target=cuda_target)
    assert "nvptx64" in there.text
    assert there is not here is code_of(read_by_source, *kinds)


@leaf
def collatz(n, steps):
    """Do what leaves do with variables: loop, take sides, change types, unpack, and leave early."""
    last, pair, k = n, (n, 0.0), 0
    for k in range(1, steps):
        half, odd = last // 2, last % 2
        last = half if odd == 0 else 3 * last + 1
        value = pair[1]
        pair = (last, value + last)
        if last == 1:
            return pair[0] + k, pair[1], (n, k, last)[steps % 3]
    count = 0
    while not (count >= k or last < 0):
        count += 1
    last = max(last * 0.5, count, -1.5)
    return count, last, min(-n, steps)


@leaf
def backwards(n):
    total = n
    for k in range(n, 0, -1):
        total += k
    return total


def test_a_range_with_a_step_is_refused():
    with pytest.raises(TypingError, match=r"backwards.*range with a step"):
        code_of(backwards, types.int64)


def test_a_leaf_does_what_python_does():
    def run(n, steps):
        return collatz(n, steps)

    compiled_run = like_a_kernel(run)
    for n in range(1, 12):
        for steps in (1, 2, 5, 30):
            assert compiled_run(n, steps) == collatz.py_func(n, steps)
