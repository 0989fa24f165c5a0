"""Installs `promptclip`; what there is to say of it stands in pyproject.toml."""

from setuptools import setup

setup()
