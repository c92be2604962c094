"""The errors a user is meant to read: one line each, no traceback on the command line."""

LONGEST = 1500  # characters of a message; what is quoted from a damaged file may be as long as the file
USERS = 3  # exit code of a worker process where what it was given is at fault


class TpruneError(Exception):
    """Something the user can mend: says what was given, what was expected and where.

    Example:
        >>> len(str(TpruneError("x" * 10_000)))
        1500
    """

    def __str__(self) -> str:
        said = super().__str__()
        half = (LONGEST - 5) // 2
        return said if len(said) <= LONGEST else f"{said[: LONGEST - 5 - half]} ... {said[-half:]}"


class InputError(TpruneError, ValueError):
    """A file, recipe, model directory or argument that cannot be used as given."""


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
