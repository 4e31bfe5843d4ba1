#!/bin/bash
# Several nodes: the ranks of an MPI job draw the blocks, the first one runs the rest.
#PBS -N haarflow
#PBS -l select=4:ncpus=32:mpiprocs=32:mem=64gb
#PBS -l walltime=04:00:00
#PBS -j oe
#PBS -r y

cd "$PBS_O_WORKDIR" || exit 1
RECIPE=${RECIPE:-u1-2d}
OUT=${OUT:-runs/$RECIPE}
export OMP_NUM_THREADS=1

timeout --preserve-status --signal=USR1 230m mpiexec -n 128 haarflow run "$RECIPE" --out "$OUT" --executor mpi
code=$?
if [ "$code" -eq 75 ]; then
    qsub -v "RECIPE=$RECIPE,OUT=$OUT" pbs_nodes.sh
fi
exit "$code"
