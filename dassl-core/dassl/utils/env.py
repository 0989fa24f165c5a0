"""Says what a run ran on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "yacs", "tensorboard", "clip-anytorch", "dassl")


def collect_env_info() -> str:
    """Return a few lines about the system, Python, the packages that matter and the GPUs."""
    lines = [
        f"System: {platform.platform()}, {os.cpu_count()} CPUs, {torch.get_num_threads()} torch threads",
        f"Python: {platform.python_version()}",
        "Packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        f"CUDA: {torch.version.cuda or 'not built in'}",
    ]
    if torch.cuda.is_available():
        lines += [f"GPU {i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    else:
        lines.append("GPU: none")
    return "\n".join(lines)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
