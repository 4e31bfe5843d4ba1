"""One compiled loop at a time where JAX is loaded.

JAX runs its programs on threads of XLA while Python goes on: a loop that one of them calls, or still loads, then meets a loop of the
main thread. In all crashes seen (numba 0.68, jaxlib 0.10) two threads were in one; without JAX threads are the user's own, and loops run
side by side.
"""

from __future__ import annotations

import contextlib
import sys
import threading

LOCK = threading.RLock()


def alone() -> contextlib.AbstractContextManager[object]:
    """Return what a thread holds while it calls functions of host arrays: a lock where JAX is loaded, nothing elsewhere.

    >>> with alone():
    ...     "no other thread calls one now"
    'no other thread calls one now'
    """
    return LOCK if "jax" in sys.modules else contextlib.nullcontext()
