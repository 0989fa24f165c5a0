"""One run: its configuration, the names in it, its directory and its record. `train.py` puts them together."""

VERSION = "0.1.0"
"""Of this project, as in setup.py: it also runs from a checkout that was never installed."""
