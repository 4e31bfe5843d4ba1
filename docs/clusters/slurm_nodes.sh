#!/bin/bash
# Several nodes: the ranks of an MPI job draw the blocks, the first one runs the rest.
#SBATCH --job-name=haarflow
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=32
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}
export OMP_NUM_THREADS=1

srun --mpi=pmix haarflow run "$RECIPE" --out "$OUT" --executor mpi
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
