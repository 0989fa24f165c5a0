"""Installs the import package `dassl`: the training engine that CoOp-style code is written for, on current PyTorch."""

from setuptools import find_packages, setup

setup(
    name="dassl",
    version="0.7.0",
    description="The interface of the Dassl training engine, reimplemented for current PyTorch",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["dassl*"]),
    install_requires=[
        # 2.6 is the first to map a pickled class name to a harmless stand-in while loading with weights_only
        "torch>=2.6",
        "torchvision",
        "numpy",
        "pillow",
        "pyyaml",
        "yacs",
        "tabulate",
        "tqdm",
        "tensorboard",
    ],
)
