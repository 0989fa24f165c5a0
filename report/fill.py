"""Keep a document's numbers those of a tree: what stands between two marks is what a command of report/ prints.

    <!-- report: tables --table 1 --metrics accuracy,ece -->
    (replaced)
    <!-- /report -->

Tables come as Markdown, what is text for a terminal as a code block; figures are drawn as PNG into `figures/` beside
the document, and shown with their captions.
"""

import io
import re
import shlex
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from promptclip.common.files import write_atomically
from report.figures.captions import caption_of

MARKED = re.compile(r"(<!-- report: (.+?) -->\n).*?(<!-- /report -->)", flags=re.DOTALL)
COMMANDS: dict[str, tuple[str, ...]] = {
    "tables": ("--format", "markdown"),
    "overfit": ("--format", "markdown"),
    "compare": (),
    "figures": ("--kind", "png"),
}
"""Commands that may stand in a mark, and what is added to each."""


def fill(document: Path, output: Path, run: Callable[[list[str]], int]) -> list[str]:
    """Renew all marked parts of `document`; what could not be made says so there, and is returned.

    Args:
        document: a Markdown file.
        output: directory of the runs.
        run: report's command line.

    Raises:
        ValueError: there is no mark, or one that names no command for it. Nothing is written then.
    """
    text = document.read_text(encoding="utf-8")
    marks = MARKED.findall(text)
    asked = [shlex.split(mark) for _, mark, _ in marks]
    wrong = [" ".join(words) for words in asked if words[0] not in COMMANDS]
    if wrong or not marks:
        said = f"names no command for it ({wrong[0]})" if wrong else "holds no mark"
        raise ValueError(
            f"{document} {said}; write `<!-- report: tables --table 1 -->` and `<!-- /report -->` around what is to be "
            f"replaced, with one of {', '.join(COMMANDS)}."
        )
    made = {mark: printed(words, output, document, run) for (_, mark, _), words in zip(marks, asked, strict=True)}
    renewed = MARKED.sub(lambda found: f"{found[1]}{made[found[2]][0]}\n{found[3]}", text)
    write_atomically(document, renewed.encode("utf-8", "backslashreplace"))
    return [told for _, told in made.values() if told]


def printed(words: list[str], output: Path, document: Path, run: Callable[[list[str]], int]) -> tuple[str, str]:
    """What a command prints, for the document, and what went wrong, "" if nothing did."""
    out, err = io.StringIO(), io.StringIO()
    options = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    added = [*COMMANDS[words[0]], *(["-o", str(document.parent / "figures")] if words[0] == "figures" else [])]
    with redirect_stdout(out), redirect_stderr(err):
        code = run([*words[:options], str(output), *added, *words[options:]])
    if code:
        told = " ".join(line.removeprefix("error: ") for line in err.getvalue().splitlines())
        return f"\n*Not in this tree: {told}*\n", f"{' '.join(words)}: {told}"
    text = out.getvalue().strip()
    if words[0] == "figures":
        names = [Path(line).name for line in text.splitlines()]
        shown = [
            f"![{caption_of(name).split(':')[0].rstrip('.')}](figures/{name})\n\n{caption_of(name)}" for name in names
        ]
        return "\n" + "\n\n".join(shown) + "\n", ""
    return (f"\n{text}\n" if COMMANDS[words[0]] else f"\n```text\n{text}\n```\n"), ""


def picture(name: str) -> str:
    """A figure of the document, by its file's name, with its caption below."""
    caption = caption_of(name)
    return f"![{caption.split(':')[0].rstrip('.')}](figures/{name})\n\n{caption}"
