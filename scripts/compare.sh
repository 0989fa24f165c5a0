#!/usr/bin/env bash
# Every method side by side, base to new: compare.sh [DATASET], then one table. SEEDS="1 2 3"; METHODS names a few
# trainers instead of all. Finished runs are kept; the same command goes on where it was broken off.
set -euo pipefail
: "${PYTHON:=python}" "${OUTPUT:=output}"
target=${1:-emojinet}
folder=$(dirname "${BASH_SOURCE[0]}")

# TRAINER FOLDER: a method and where its scripts are
all="CoOp coop
CoCoOp cocoop
KgCoOp kgcoop
ProGrad prograd
LPT lpt
VPT vpt
IVLP ivlp
MaPLe maple
PromptSRC promptsrc
RESTORE_m restore
RESTORE_p restore"

for trainer in ZeroshotCLIP ZeroshotCLIP2; do
    TRAINER=$trainer QUIET=1 bash "$folder/zsclip/base2new_test.sh" "$target"
done
while read -r trainer scripts; do
    [[ " ${METHODS:-$trainer} " == *" $trainer "* ]] || continue
    for seed in ${SEEDS:-1 2 3}; do
        TRAINER=$trainer QUIET="train $trainer, seed $seed: base" bash "$folder/$scripts/base2new_train.sh" "$target" "$seed"
        TRAINER=$trainer QUIET="test  $trainer, seed $seed: new" bash "$folder/$scripts/base2new_test.sh" "$target" "$seed"
    done
done <<<"$all"
"$PYTHON" -m report.base2new "$OUTPUT/base2new"
