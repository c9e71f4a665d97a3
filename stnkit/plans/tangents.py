"""Plans of forward mode, of the second order, and of derivatives in the coordinates."""

import functools

from stnkit.dtypes import bar_dtype, dot_dtype
from stnkit.kernels.cpu import factories
from stnkit.kernels.cpu.call import IMAGE_BAR, OUT, OUT_DOT, SOURCE_BAR
from stnkit.plans.launch import Buffer, Launch, Plan, backward_call, forward_call, planned, source_bar
from stnkit.plans.layout import ITEMS, Layout, Shape, backward_parts, out_strides, sampling
from stnkit.spec import CHOOSING, Options


@functools.lru_cache(maxsize=4096)
def jvp(
    image: Layout, source: Layout, kind: int, size: Shape, options: Options, image_dot: bool, source_dot: bool
) -> Plan:
    """Plan the sampling of an image, and its tangent along those that are given; arrays lie as their tangents do."""
    call = sampling(image, source, kind, size, options)
    spec = call.spec._replace(image_dot=image_dot, source_dot=source_dot)
    launch = Launch(factories.SAMPLE_JVP, spec, 2 * call.work, forward_call(call, options), (OUT, OUT_DOT))
    dot = Buffer(OUT_DOT, call.out_shape, dot_dtype(image[2], source[2]))
    return planned((Buffer(OUT, call.out_shape, image[2]), dot), launch)


@functools.lru_cache(maxsize=4096)
def double_vjp(
    image: Layout,
    gapless: Layout,
    source: Layout,
    kind: int,
    size: Shape,
    options: Options,
    dots: tuple[bool, bool],
    cotangent: Shape,
) -> Plan:
    """Plan the derivative of a vjp: the cotangents of the output's cotangent, the image and the source.

    `dots` tells whether cotangents of those of image and source are given. `cotangent` has the strides of the output's
    cotangent.
    """
    first = sampling(image, source, kind, size, options)
    bars = source_bar(image[0][0], source, kind, size)
    buffers = (
        Buffer(OUT, first.out_shape, dot_dtype(image[2], source[2]), cleared=True),
        Buffer(IMAGE_BAR, image[0], bar_dtype(image[2], source[2]), cleared=True),
        bars,
    )
    images, sources = image[0][0], source[0][0]
    slopes = options.interp not in CHOOSING
    bent = slopes and dots[1]  # whether the image has a cotangent
    if not (first.work and any(dots)):
        passes = []
    elif image == gapless and min(images, sources) >= ITEMS:
        passes = [(True, bent, slopes)]
    else:
        passes = [(True, False, slopes), (False, bent, False)]
    launches = []
    for out_too, image_too, source_too in passes:
        if not (out_too or image_too):
            continue
        call = sampling(gapless if image_too else image, source, kind, size, options)
        parts = backward_parts(call, images, sources, (image_too, source_too or out_too))
        spec = call.spec._replace(
            image_dot=dots[0], source_dot=dots[1], image_bar=image_too, source_bar=source_too, out_bar=out_too
        )
        words = backward_call(call, parts, cotangent, bars)._replace(out=out_strides(call, options))
        writes = (OUT,) * out_too + (IMAGE_BAR,) * image_too + (SOURCE_BAR,) * source_too
        launches.append(Launch(factories.SAMPLE_DOUBLE_VJP, spec, 3 * call.work, words, writes))
    return planned(buffers, *launches)


@functools.lru_cache(maxsize=4096)
def gradient(image: Layout, source: Layout, kind: int, size: Shape, options: Options) -> Plan:
    """Plan the derivatives of a sampled image with respect to its coordinates, one for each axis."""
    call = sampling(image, source, kind, size, options)
    out = Buffer(OUT, (*call.out_shape, len(size)), dot_dtype(image[2], source[2]), cleared=True)
    if options.interp in CHOOSING:
        return Plan((out,), ())
    spec, words = call.spec._replace(source_bar=True), forward_call(call, options)
    return planned((out,), Launch(factories.SAMPLE_GRADIENT, spec, 2 * call.work, words, (OUT,)))


@functools.lru_cache(maxsize=4096)
def derivative(image: Layout, source: Layout, kind: int, size: Shape, options: Options, order: Shape) -> Plan:
    """Plan a derivative of a sampled image in its coordinates, of an order, which is not 0, for each of x, y, z."""
    call = sampling(image, source, kind, size, options)
    spec, words = call.spec._replace(source_bar=True), forward_call(call, options)._replace(order=xyz(order))
    out = Buffer(OUT, call.out_shape, image[2])
    return planned((out,), Launch(factories.SAMPLE_ORDER, spec, call.work, words, (OUT,)))


@functools.lru_cache(maxsize=4096)
def splat(
    image: Layout, source: Layout, kind: int, size: Shape, options: Options, cotangent: Shape, order: Shape
) -> Plan:
    """Plan the adjoint, in the image, of a derivative in the coordinates; that of order 0 is sampling itself.

    `image` is the layout of an image without gaps, in the dtype of the values that are added to it, and `cotangent` has
    the strides of these.
    """
    call = sampling(image, source, kind, size, options)
    bar = Buffer(IMAGE_BAR, image[0], bar_dtype(image[2], source[2]), cleared=True)
    if not call.work:
        return Plan((bar,), ())
    parts = backward_parts(call, image[0][0], source[0][0], (True, False))
    words = backward_call(call, parts, cotangent, None)._replace(order=xyz(order))
    factory, spec = factories.SAMPLE_VJP, call.spec._replace(image_bar=True)
    if any(order):
        factory, spec = factories.SPLAT_ORDER, call.spec._replace(source_bar=True)
    return planned((bar,), Launch(factory, spec, call.work, words, (IMAGE_BAR,)))


def xyz(order: Shape) -> Shape:
    """Return an order on three axes."""
    return (*order, 0, 0)[:3]
