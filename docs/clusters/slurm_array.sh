#!/bin/bash
# A job array of shards, each on one GPU, all in one folder. Without GPUs leave --gres out, here and in slurm_train.sh.
#SBATCH --job-name=haarflow-shards
#SBATCH --array=1-16
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --gres=gpu:1
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.out

RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}
BACKEND=${BACKEND:-jax}
SHARD=$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" haarflow run "$RECIPE" --out "$OUT" --backend "$BACKEND" --shard "$SHARD"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
