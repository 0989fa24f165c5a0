"""Names the command that installs what is missing, instead of a bare ImportError."""

from importlib.util import find_spec

INSTALL = {
    "dassl": "pip install ./dassl-core",
    "torch": "pip install ./dassl-core .",
    "torchvision": "pip install ./dassl-core .",
    "clip": "pip install ./dassl-core .",
    "yacs": "pip install ./dassl-core .",
    "tabulate": "pip install ./dassl-core .",
}


def require(*modules: str) -> None:
    """Raise ModuleNotFoundError, in one sentence with the fix, if one of `modules` cannot be imported."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        command = INSTALL.get(missing[0], f"pip install {missing[0]}") if len(missing) == 1 else INSTALL["torch"]
        raise ModuleNotFoundError(
            f"The Python package{'s' if len(missing) > 1 else ''} {', '.join(missing)} cannot be found; "
            f"run `{command}` in the repository's folder."
        )
