"""Options of the feature-shift consistency loss L^fs (RESTORE, Eq. 7-10), for any method that prompts both towers.

The loss itself is in `promptclip.shift`.
"""

from promptclip.shift import NORMS
from trainers.method import Option

FS_WEIGHT = Option(1.0, "lambda_fs, the weight of L^fs; 0 leaves it out", low=0)
SHIFT_NORM = Option("rms", "what brings the two towers' shift to one scale (promptclip.shift)", choices=NORMS)
