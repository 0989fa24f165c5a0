#!/usr/bin/env bash
# Cross-data-set and cross-domain transfer, a target: xd_test.sh DATASET [SEED] [KEY VALUE ...]; SOURCE is imagenet.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" clip_lora xd_test "$@"
