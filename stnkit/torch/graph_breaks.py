"""What torch's compiler does not trace. Imported while it traces: its own import takes nearly as long as torch's."""

from stnkit.antialias import compose
from stnkit.torch import _compat
from stnkit.torch.unsupported import unknown_numbers

antialiased = _compat.uncompiled(compose.antialiased, unknown_numbers("theta or the flow"))
