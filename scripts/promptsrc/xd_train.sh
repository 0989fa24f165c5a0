#!/usr/bin/env bash
# Cross-data-set and cross-domain transfer, the source: xd_train.sh [DATASET] [SEED] [KEY VALUE ...]; imagenet, if none.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method PromptSRC vit_b16_c2_ep20_batch4_4+4ctx_cross_datasets
xd_train "$@"
