"""What the functions of `stnkit` do with TensorFlow's tensors. It is imported by itself when the first one comes.

They have the names and signatures of the public functions, and run these on the tensors' memory: at once in eager mode,
and in a graph as `tf.numpy_function`. Gradients are those of the `_vjp` functions, and theirs those of `_double_vjp`.
"""

from stnkit.tensorflow._compat import OLDEST as OLDEST  # first: what follows needs a TensorFlow that is new enough

# isort: split
from stnkit._dispatch import PUBLIC
from stnkit.tensorflow.call import signed
from stnkit.tensorflow.namespace import namespace as namespace

globals().update({name: signed(public) for name, public in PUBLIC.items()})
