"""The errors a user is meant to read: one line each, no traceback on the command line.

Those that the runtime on devices raises, too, are its own (`tprune_runtime.errors`).
"""

from tprune_runtime.errors import ENDS as ENDS
from tprune_runtime.errors import HIDDEN as HIDDEN
from tprune_runtime.errors import LONGEST as LONGEST
from tprune_runtime.errors import USERS as USERS
from tprune_runtime.errors import InputError as InputError
from tprune_runtime.errors import TpruneError as TpruneError
from tprune_runtime.errors import printable as printable

USAGE = 2  # exit code of a command line that is wrong


class OptionError(InputError):
    """An option that is wrong whatever its files hold, such as one of another task; the command line ends with 2."""


class DivergedError(TpruneError):
    """Training ran away: the loss is no longer a number."""


class CertificateError(TpruneError):
    """The realised model does not compute what the masked model computes."""


class UnreachableError(TpruneError, ValueError):
    """A size was asked that no allowed cut reaches; the message says what can be reached."""


class NoisyMachineError(TpruneError):
    """Measurements of the same thing differ too much between repetitions."""


class TpruneWarning(UserWarning):
    """Something odd that does not stop the work."""
