#!/usr/bin/env bash
# Cross-data-set and cross-domain transfer, the source: xd_train.sh [DATASET] [SEED] [KEY VALUE ...]; imagenet, if none.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" tip_adapter xd_train "$@"
