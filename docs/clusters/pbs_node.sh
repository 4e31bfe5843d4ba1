#!/bin/bash
# One node: a run with as many worker processes as the job has cores. PBS sends no early signal: `timeout` does, ten minutes before
# the end; the run then commits what is under way, exits with 75, and the job is submitted again.
#PBS -N haarflow
#PBS -l select=1:ncpus=16:mem=32gb
#PBS -l walltime=04:00:00
#PBS -j oe
#PBS -r y

cd "$PBS_O_WORKDIR" || exit 1
RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}
export OMP_NUM_THREADS=1

timeout --preserve-status --signal=USR1 230m haarflow run "$RECIPE" --out "$OUT" --executor "processes:$NCPUS"
code=$?
if [ "$code" -eq 75 ]; then
    qsub -v "RECIPE=$RECIPE,OUT=$OUT" pbs_node.sh
fi
exit "$code"
