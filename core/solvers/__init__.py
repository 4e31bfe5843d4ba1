"""Solvers of linear systems A x = b for any map A: conjugate gradients, rational functions, extreme eigenvalues."""
