#!/bin/bash
# The run of all shards: it draws nothing, and names what is missing.
#SBATCH --job-name=haarflow-gather
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=16G
#SBATCH --time=01:00:00
#SBATCH --output=%x-%j.out

RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}

haarflow gather "$OUT"
