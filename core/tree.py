"""Trees of arrays, as `haarflow.backends.tree` defines them: the words that functions of states and parameters use."""

from haarflow.backends.tree import Tree, flatten, leaves, paths, tree_map

__all__ = ["Tree", "flatten", "leaves", "paths", "tree_map"]
