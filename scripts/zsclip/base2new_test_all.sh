#!/usr/bin/env bash
# Evaluate on a data set's base and new classes together: base2new_test_all.sh [DATASET] [KEY VALUE ...]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" zsclip zero_shot_joint "$@"
