#!/bin/bash
# Training on one GPU. The shards that follow take the same GPUs: a run is of one backend and one kind of device.
#SBATCH --job-name=haarflow-train
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:1
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}
BACKEND=${BACKEND:-jax}

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" haarflow train "$RECIPE" --out "$OUT" --backend "$BACKEND"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
