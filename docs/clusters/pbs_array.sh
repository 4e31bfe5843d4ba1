#!/bin/bash
# A job array of shards, each on one GPU, all in one folder. Without GPUs leave ngpus out, here and in pbs_train.sh.
#PBS -N haarflow-shards
#PBS -J 1-16
#PBS -l select=1:ncpus=4:ngpus=1:mem=16gb
#PBS -l walltime=04:00:00
#PBS -j oe
#PBS -r y

cd "$PBS_O_WORKDIR" || exit 1
RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}
BACKEND=${BACKEND:-jax}
SHARDS=16

timeout --preserve-status --signal=USR1 230m \
    haarflow run "$RECIPE" --out "$OUT" --backend "$BACKEND" --shard "$PBS_ARRAY_INDEX/$SHARDS"
