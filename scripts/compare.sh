#!/usr/bin/env bash
# Every method side by side, base to new: compare.sh [DATASET], then one table. SEEDS="1 2 3"; METHODS names a few
# trainers instead of all. Finished runs are kept; the same command goes on where it was broken off.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
target=${1:-emojinet}

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
    TRAINER=$trainer QUIET=1 pass_on bash scripts/zsclip/base2new_test.sh "$target" || exit $?
done
while read -r trainer scripts; do
    [[ " ${METHODS:-$trainer} " == *" $trainer "* ]] || continue
    for seed in ${SEEDS:-1 2 3}; do
        for part in "train $trainer, seed $seed: base" "test  $trainer, seed $seed: new"; do
            TRAINER=$trainer QUIET=$part pass_on bash "scripts/$scripts/base2new_${part%% *}.sh" "$target" "$seed" || exit $?
        done
    done
done <<<"$all"
"$PYTHON" -m report tables "$OUTPUT/base2new" --table 1
