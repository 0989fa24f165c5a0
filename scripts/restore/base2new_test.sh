#!/usr/bin/env bash
# Evaluate that training on the data set's new classes: base2new_test.sh [DATASET] [SEED] [KEY VALUE ...]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method RESTORE_m vit_b16_c2_ep10_batch4 RESTORE_p vit_b16_c4_ep10_batch4
base2new_test "$@"
