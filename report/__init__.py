"""From the records of runs to tables, figures and a page. Reads what lies below an output directory, runs nothing."""
