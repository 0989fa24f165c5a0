#!/usr/bin/env bash
# Train on a data set's base classes: base2new_train.sh [DATASET] [SEED] [KEY VALUE ...]
# Without arguments: the demonstration, RESTORE_m against zero-shot CLIP on the embedded benchmark, in one table.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method RESTORE_m vit_b16_c2_ep10_batch4
base2new_train "$@"
