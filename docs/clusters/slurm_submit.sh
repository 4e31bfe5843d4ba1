#!/bin/bash
# Submits training, shards and gather, each after the one before has ended well: RECIPE=u1-2d OUT=runs/u1-2d ./slurm_submit.sh
set -e
here=$(dirname "$0")
train=$(sbatch --parsable "$here/slurm_train.sh")
shards=$(sbatch --parsable --dependency="afterok:$train" "$here/slurm_array.sh")
gather=$(sbatch --parsable --dependency="afterok:$shards" "$here/slurm_gather.sh")
echo "training $train, shards $shards, gather $gather"
