"""Sweeps: a yaml file that names rows of a table becomes runs of train.py, done once, on one machine or on Slurm."""
