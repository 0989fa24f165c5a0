#!/usr/bin/env bash
# Cross-data-set and cross-domain transfer, a target: xd_test.sh DATASET [SEED] [KEY VALUE ...]; SOURCE is imagenet.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method VPT vit_b16_c8_ep5_batch4_8ctx
xd_test "$@"
