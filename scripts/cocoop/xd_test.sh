#!/usr/bin/env bash
# Cross-data-set and cross-domain transfer, a target: xd_test.sh DATASET [SEED] [KEY VALUE ...]; SOURCE is imagenet.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method CoCoOp vit_b16_c4_ep10_batch1_ctxv1
xd_test "$@"
