"""Names the command that installs what is missing, instead of an ImportError from deep inside."""

from importlib.util import find_spec

CHECKOUT = "pip install ./dassl-core ."
"""Installs all that the trainers need, in the repository's folder."""
COMMANDS = {"dassl": "pip install ./dassl-core"} | dict.fromkeys(
    ("torch", "torchvision", "clip", "yacs", "tabulate"), CHECKOUT
)


def require(*modules: str) -> None:
    """Raise ModuleNotFoundError, in one sentence with the fix, if one of `modules` cannot be imported."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        command = CHECKOUT if len(missing) > 1 else COMMANDS.get(missing[0], f"pip install {missing[0]}")
        raise ModuleNotFoundError(
            f"The Python package{'s' if len(missing) > 1 else ''} {', '.join(missing)} cannot be found; "
            f"run `{command}` in the repository's folder."
        )
