#!/usr/bin/env bash
# Few-shot learning on all classes: SHOTS="1 2 4 8 16" fewshot.sh [DATASET] [SEED] [KEY VALUE ...]
: "${SHOTS:=1 2 4 8 16}"
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method KgCoOp vit_b16_ep10_batch4_ctxv1
fewshot "$@"
