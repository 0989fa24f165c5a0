#!/usr/bin/env bash
# Evaluate zero-shot CLIP on all classes of a data set: xd_test.sh [DATASET] [KEY VALUE ...]
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" zsclip zero_shot "$@"
