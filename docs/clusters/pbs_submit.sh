#!/bin/bash
# Submits training, shards and gather, each after the one before has ended well: RECIPE=u1-2d OUT=runs/u1-2d ./pbs_submit.sh
# Repeat it after a time limit: what is trained or drawn is kept.
set -e
here=$(dirname "$0")
words="RECIPE=${RECIPE:-u1-2d},OUT=${OUT:-runs/${RECIPE:-u1-2d}}"
train=$(qsub -v "$words" "$here/pbs_train.sh")
shards=$(qsub -v "$words" -W depend="afterok:$train" "$here/pbs_array.sh")
gather=$(qsub -v "$words" -W depend="afterok:$shards" "$here/pbs_gather.sh")
echo "training $train, shards $shards, gather $gather"
