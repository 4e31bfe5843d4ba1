#!/bin/bash
# Training on one GPU. The shards that follow take the same GPUs: a run is of one backend and one kind of device.
#PBS -N haarflow-train
#PBS -l select=1:ncpus=8:ngpus=1:mem=32gb
#PBS -l walltime=12:00:00
#PBS -j oe
#PBS -r y

cd "$PBS_O_WORKDIR" || exit 1
RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}
BACKEND=${BACKEND:-jax}

timeout --preserve-status --signal=USR1 710m haarflow train "$RECIPE" --out "$OUT" --backend "$BACKEND"
