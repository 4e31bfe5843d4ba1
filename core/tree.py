"""Trees of arrays, as `haarflow.backends.tree` defines them: the words that functions of states and parameters use."""

from haarflow.backends.tree import flatten, leaves, paths, tree_map
from haarflow.backends.types import Tree

__all__ = ["Tree", "flatten", "leaves", "paths", "tree_map"]
