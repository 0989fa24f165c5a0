"""One run: its configuration, its directory, its record, and what listens to it. `train.py` puts them together."""

VERSION = "0.1.0"
"""Of this project, as in setup.py: it also runs from a checkout that was never installed."""
