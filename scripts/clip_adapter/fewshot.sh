#!/usr/bin/env bash
# Few-shot learning on all classes: SHOTS="1 2 4 8 16" fewshot.sh [DATASET] [SEED] [KEY VALUE ...]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" clip_adapter fewshot "$@"
