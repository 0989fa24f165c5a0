#!/usr/bin/env bash
# Evaluate zero-shot CLIP on a data set's base classes, then on its new ones: base2new_test.sh [DATASET] [KEY VALUE ...]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" zsclip zero_shot_base2new "$@"
