"""The conformance checks, for our code and others'.

They are of methods, constraints, structures, couplings, families, tasks, realisations and runtimes.

They need no test runner.

Every check raises `AssertionError` with a message that names what disagrees, and returns nothing. Models are compared
in double precision, where a correct cut agrees to about 1e-15 and a mistake does not.
"""

from tprune.testing.common import TOLERANCE, randomise_
from tprune.testing.constraint import check_constraint
from tprune.testing.coupling import check_coupling
from tprune.testing.family import check_agrees, check_family, check_saved, random_kept
from tprune.testing.method import check_method
from tprune.testing.realisation import check_realisation
from tprune.testing.runtime import check_runtime
from tprune.testing.structure import check_structure
from tprune.testing.task import check_task

__all__ = [
    "TOLERANCE",
    "check_agrees",
    "check_constraint",
    "check_coupling",
    "check_family",
    "check_method",
    "check_realisation",
    "check_runtime",
    "check_saved",
    "check_structure",
    "check_task",
    "random_kept",
    "randomise_",
]
