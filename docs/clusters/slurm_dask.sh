#!/bin/bash
# Several nodes with dask: a scheduler and the run on the first node, a worker of one thread on every core. A worker that dies is
# replaced by the others.
#SBATCH --job-name=haarflow
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=32
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.out

RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}
PLACE=$PWD/dask-$SLURM_JOB_ID.json
export OMP_NUM_THREADS=1

dask scheduler --scheduler-file "$PLACE" --no-dashboard &
scheduler=$!
srun --overlap dask worker --scheduler-file "$PLACE" --nthreads 1 --no-dashboard &
sleep 30
haarflow run "$RECIPE" --out "$OUT" --executor "dask:$PLACE"
code=$?
kill "$scheduler"
exit "$code"
