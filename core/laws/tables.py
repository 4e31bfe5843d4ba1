"""The laws of this layer by kind: backends, random numbers, groups, Markov kernels.

A row of a table is a `Law`. To check a further object against all laws of its kind, add one line where objects are listed.
"""

from haarflow.core.laws.backend import BACKEND_LAWS
from haarflow.core.laws.chain import KERNEL_LAWS
from haarflow.core.laws.group import GROUP_LAWS
from haarflow.core.laws.random import RANDOM_LAWS
from haarflow.core.laws.stationary import Chained, ExactScalars

__all__ = ["BACKEND_LAWS", "GROUP_LAWS", "KERNEL_LAWS", "RANDOM_LAWS", "Chained", "ExactScalars"]
