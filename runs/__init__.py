"""One run: its configuration, its directory, its record, and what listens to it. `train.py` puts them together."""
