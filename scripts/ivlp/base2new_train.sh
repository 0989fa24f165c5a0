#!/usr/bin/env bash
# Train on a data set's base classes: base2new_train.sh [DATASET] [SEED] [KEY VALUE ...]; alone, the demonstration.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
method IVLP vit_b16_c2_ep5_batch4_2+2ctx
base2new_train "$@"
