"""Maps of U(1) between two couplings: replica swaps and correlated ensembles, plain, by one number, by a trained map.

    python -m haarflow.benchmarks.studies.correlated_ensembles [--lattice 16 16] [--betas 4 4.4] [--steps 400] [--batch 64]
        [--draws 20000] [--rate 0.02] [--backend jax] [--seed 2026] [--json FILE]

From exact configurations at the first coupling: the identity; one sweep theta -> theta - c dS_1/dtheta along plaquettes, with the
c of the largest ESS on draws of its own; and F_b o F_a^-1 of a sweep flow that is conditioned on beta, trained by the reverse KL
divergence of the map alone. For each the ESS, the acceptance of a swap of exact configurations, d<P>/dbeta and its variance against
that of independent ensembles. The difference must be the exact one within 3.5 sigma. CPU seconds are those of the process.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")


PILOT, BLOCK = 1000, 500
print("draft")
