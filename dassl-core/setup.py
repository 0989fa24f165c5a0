"""Installs the import package `dassl`: the training engine the CoOp family is written for, on current PyTorch."""

from setuptools import find_packages, setup

setup(
    name="dassl",
    version="0.7.0",
    description="The Dassl training engine's interface, written anew for current PyTorch",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["dassl*"]),
    install_requires=[
        "torch>=2.2",
        "torchvision",
        "yacs",
        "tabulate",
        "tqdm",
        "tensorboard",
        "scikit-learn",
    ],
)
