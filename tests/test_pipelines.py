"""What the compiler never sees: branches that a kernel's choices rule out, and machine code of leaves."""

from numba import typeof, types
from numba.core.compiler_lock import global_compiler_lock

from stnkit.kernels.jit import kernel, leaf
from stnkit.kernels.pipelines import LeafLibrary
from stnkit.spec import AFFINE, FLOW, GRID, Spec


@leaf
def read_by_source(x, spec):
    if spec.source == FLOW:
        return x.what_numbers_have_not
    if spec.mapped and spec.serial.align:
        return x + type(x)(1)
    return x


def kernel_of(spec):
    def both(x):
        if spec.source == FLOW:
            return x.what_numbers_have_not
        return read_by_source(x, spec)

    return kernel(both, spec)


def test_a_branch_that_is_ruled_out_is_not_typed():
    """Neither in a kernel nor in a leaf: the attribute that numbers lack would be a typing error."""
    assert kernel_of(Spec(2, source=GRID))(2.5) == 2.5
    assert kernel_of(Spec(2, source=AFFINE, align=True))(2.5) == 3.5


def test_a_leaf_is_code_to_be_linked_and_nothing_else():
    read_by_source.compile((types.float64, typeof(Spec(3, source=GRID))))
    (*_, result) = read_by_source.overloads.values()
    assert type(result.library) is LeafLibrary
    with global_compiler_lock:  # as Numba asks for, to finish what nobody has linked yet
        assert result.library.get_pointer_to_function(result.fndesc.mangled_name) == 0
