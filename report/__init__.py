"""From the records of runs to tables. Reads files under output/ only, never a log."""
