#!/usr/bin/env bash
# Train on a data set's base classes: base2new_train.sh [DATASET] [SEED] [KEY VALUE ...]; alone, the demonstration.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method RESTORE_m vit_b16_c2_ep10_batch4 RESTORE_p vit_b16_c4_ep10_batch4
base2new_train "$@"
