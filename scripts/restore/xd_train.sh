#!/usr/bin/env bash
# Cross-data-set and cross-domain transfer, the source: xd_train.sh [DATASET] [SEED] [KEY VALUE ...]; DATASET is imagenet,
# or emojinet for the embedded benchmark.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method RESTORE_m vit_b16_c2_ep2_batch4
xd_train "$@"
