#!/bin/bash
# One node: a run with as many worker processes as the job has cores. USR1 comes five minutes before the time limit; the run then
# commits what is under way, exits with 75, and the job goes back into the queue.
#SBATCH --job-name=haarflow
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}
export OMP_NUM_THREADS=1

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" haarflow run "$RECIPE" --out "$OUT" --executor "processes:$SLURM_CPUS_PER_TASK"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
