"""One run: its configuration, the names in it, its directory and its record. `train.py` puts them together."""
