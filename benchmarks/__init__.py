"""Speed and memory of the fast towers against the plain path, as ratios measured side by side in one run."""
