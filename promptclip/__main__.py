"""`python -m promptclip` is the console command `promptclip`."""

import sys

from promptclip.cli import main

sys.exit(main())
