"""Maps of U(1) between two couplings: replica swaps and correlated ensembles, plain, by one number, by a trained map.

    python -m haarflow.benchmarks.studies.correlated_ensembles [--lattice 16 16] [--betas 4 4.4] [--steps 400] [--batch 64]
        [--draws 20000] [--rate 0.02] [--backend jax] [--seed 2026] [--json FILE]

From exact configurations at the first coupling: the identity; one sweep theta -> theta - c dS_1/dtheta along plaquettes, with the
c of the largest ESS on draws of its own; and F_b o F_a^-1 of a sweep flow that is conditioned on beta, trained by the reverse KL
divergence of the map alone. For each the ESS, the acceptance of a swap of exact configurations, d<P>/dbeta and its variance against
that of independent ensembles. The difference must be the exact one within 3.5 sigma. CPU seconds are those of the process.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.benchmarks.harness.results import write
from haarflow.benchmarks.studies.exactness import judge
from haarflow.core import random, statistics
from haarflow.core.chains.tempering import ReplicaExchange, Replicas, joined
from haarflow.flows.between import Between
from haarflow.flows.flow import Model
from haarflow.flows.training.gradients import ForwardKL
from haarflow.flows.training.loop import Training, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.flows.training.schedules import Cosine
from haarflow.flows.u1.sweep import Sweep
from haarflow.theories import U1Gauge
from haarflow.theories.samplers.u1 import exact_sample

PILOT, BLOCK = 1000, 500
print("draft")
