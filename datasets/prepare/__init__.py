"""Getting data sets onto the disk, and knowing that they are right: `python -m datasets.prepare`."""
