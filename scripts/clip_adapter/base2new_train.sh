#!/usr/bin/env bash
# Train on a data set's base classes: base2new_train.sh [DATASET] [SEED] [KEY VALUE ...]; alone, the demonstration.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" clip_adapter base2new_train "$@"
