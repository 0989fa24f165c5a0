#!/usr/bin/env bash
# Few-shot learning on all classes: SHOTS="1 2 4 8 16" fewshot.sh [DATASET] [SEED] [KEY VALUE ...]
: "${SHOTS:=1 2 4 8 16}"
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method PromptSRC vit_b16_c2_ep50_batch4_4+4ctx_few_shot
fewshot "$@"
