#!/usr/bin/env bash
# Train on a data set's base classes: base2new_train.sh [DATASET] [SEED] [KEY VALUE ...]; alone, the demonstration.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method PromptSRC vit_b16_c2_ep20_batch4_4+4ctx
base2new_train "$@"
