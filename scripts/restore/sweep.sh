#!/usr/bin/env bash
# Train and test over seeds and epochs, then a summary: SEEDS="1 2 3" EPOCHS="5 10" sweep.sh [DATASET] [KEY VALUE ...]
# JOBS=2 does two runs at once. Whole tables: python sweep.py, docs/sweeps.md.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method RESTORE_m vit_b16_c2_ep10_batch4 RESTORE_p vit_b16_c4_ep10_batch4
sweep "$@"
