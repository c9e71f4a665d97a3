"""What differs between the backends: how a gradient is taken."""

import keras
import numpy as np

BACKEND = keras.backend.backend()


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def gradients(function, cotangent, *arrays):
    """Return the gradients of the sum of a function's values times a cotangent, as NumPy's arrays."""

    weights = keras.ops.convert_to_tensor(cotangent)

    def total(*tensors):
        return keras.ops.sum(function(*tensors) * weights)

    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    if BACKEND == "jax":
        import jax

        found = jax.grad(total, argnums=tuple(range(len(tensors))))(*tensors)
    elif BACKEND == "torch":
        import torch

        tensors = [tensor.clone().requires_grad_() for tensor in tensors]
        found = torch.autograd.grad(total(*tensors), tensors)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = total(*tensors)
        found = tape.gradient(value, tensors)
    return [np.asarray(numbers(one)) for one in found]
