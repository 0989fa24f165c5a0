#!/usr/bin/env bash
# Cross-data-set and cross-domain transfer, a target: xd_test.sh DATASET [SEED] [KEY VALUE ...]; SOURCE is imagenet.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method LPT vit_b16_c4_ep5_batch4_4ctx
xd_test "$@"
