#!/bin/bash
# The run of all shards: it draws nothing, and names what is missing.
#PBS -N haarflow-gather
#PBS -l select=1:ncpus=1:mem=16gb
#PBS -l walltime=01:00:00
#PBS -j oe

cd "$PBS_O_WORKDIR" || exit 1
RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}

haarflow gather "$OUT"
