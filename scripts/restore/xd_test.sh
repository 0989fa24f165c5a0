#!/usr/bin/env bash
# Cross-data-set and cross-domain transfer, a target: xd_test.sh DATASET [SEED] [KEY VALUE ...]; SOURCE is imagenet.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method RESTORE_m vit_b16_c2_ep4_batch4_cross_datasets RESTORE_p vit_b16_c4_ep4_batch4_cross_datasets
xd_test "$@"
