"""A page to try a trained classifier on: pictures in, bars of its classes out, class names to change.

Gradio makes it. It speaks to this machine alone: no telemetry, no fonts or scripts from elsewhere, and what is uploaded
lies in a temporary folder that ends with it.
"""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from promptclip.classifier import Classifier

HOST = "127.0.0.1"
MOST_MEGABYTES = 20  # of an uploaded file
MOST_PICTURES = 32
MOST_CLASSES = 1000  # on the page; `promptclip predict --classes` takes more
TOP = 5
KEPT = 4  # class lists whose text features are kept

CSS = """
.answer {border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 12px; margin-bottom: 12px}
.answer h3 {margin: 0 0 8px; font-size: 1em; overflow-wrap: anywhere}
.answer .row {display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr) 4em; gap: 8px; align-items: center}
.answer .name {overflow-wrap: anywhere}
.answer .track {background: var(--border-color-primary); border-radius: 4px; height: 12px}
.answer .bar {background: var(--color-accent); border-radius: 4px; height: 12px; min-width: 2px}
.answer .share {text-align: right; font-variant-numeric: tabular-nums}
.problem {border-left: 4px solid #c62828; padding: 8px 12px; margin-bottom: 12px; overflow-wrap: anywhere}
"""


class Answers:
    """What the page says: HTML of pictures and class names.

    Args:
        model: the classifier.
    """

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self._named = lru_cache(maxsize=KEPT)(self._with_names)

    def __call__(self, paths: list[str], lines: str, template: str) -> str:
        """Bars of the likeliest classes of each picture; what is wrong, in a sentence in its place.

        Args:
            paths: of the pictures.
            lines: class names, one a line.
            template: the text around a class name; empty for the model's own.
        """
        try:
            model = self.with_names(lines, template)
        except ValueError as error:
            return _problem(str(error))
        if not paths:
            return "<p>No picture yet: drop some, paste one, or choose files.</p>"
        if len(paths) > MOST_PICTURES:
            return _problem(
                f"These are {len(paths)} pictures; the page takes {MOST_PICTURES}. `promptclip predict` "
                "takes a folder of any size."
            )
        found = [one for some in model.batches(paths) for one in some]
        return "".join(
            _problem(_without_path(str(one), path))
            if isinstance(one, Exception)
            else _bars(Path(path).name, model.named(one[None], TOP)[0])
            for path, one in zip(paths, found, strict=True)
        )

    def with_names(self, lines: str, template: str) -> Classifier:
        """The classifier with these class names.

        Raises:
            ValueError: see `Classifier.with_classes`; more names than the page takes.
        """
        names = tuple(line.strip() for line in lines.splitlines() if line.strip())
        if len(names) > MOST_CLASSES:
            raise ValueError(
                f"These are {len(names):,} class names; the page takes {MOST_CLASSES:,}. `promptclip predict "
                "--classes` takes more."
            )
        if names == tuple(self.model.classes) and not template.strip():
            return self.model
        return self._named(names, template.strip())

    def _with_names(self, names: tuple[str, ...], template: str) -> Classifier:
        return self.model.with_classes(list(names), template or None)


def _bars(title: str, prediction: list[tuple[str, float]]) -> str:
    rows = "".join(
        f'<div class="row"><span class="name">{escape(name)}</span>'
        f'<div class="track"><div class="bar" style="width: {share:.1%}"></div></div>'
        f'<span class="share">{share:.1%}</span></div>'
        for name, share in prediction
    )
    return f'<div class="answer"><h3>{escape(title)}</h3>{rows}</div>'


def _problem(sentence: str) -> str:
    return f'<div class="problem" role="alert">{escape(sentence)}</div>'


def _without_path(sentence: str, path: str) -> str:
    """The file's name is the reader's; where it was put is not."""
    return sentence.replace(path, Path(path).name)


def takes_template(model: Classifier) -> bool:
    """Whether there is a text around class names that may be another."""
    try:
        model.with_classes(model.classes, "a photo of a {}.")
    except ValueError:
        return False
    return True


def build(model: Classifier) -> Any:
    """The page, a `gradio.Blocks`."""
    import gradio as gr

    said, answers = model.description, Answers(model)
    fixed, template = said.new_classes, takes_template(model)
    with gr.Blocks(
        title=f"{said.method} on {said.training.get('dataset', 'pictures')}",
        analytics_enabled=False,
        delete_cache=(600, 3600),
    ) as page:
        gr.Markdown(f"# {_plain(said.method)}\n{_plain(summary(model))}")
        with gr.Row():
            with gr.Column():
                pictures = gr.Gallery(
                    label="Pictures: drop, paste or choose",
                    sources=["upload", "clipboard"],
                    type="filepath",
                    height=280,
                    columns=3,
                    buttons=[],
                    elem_id="pictures",
                )
                names = gr.Textbox(
                    "\n".join(model.classes),
                    label="Classes, one a line",
                    lines=6,
                    max_lines=12,
                    interactive=not fixed,
                    elem_id="classes",
                    info=f"{said.method} keeps its classes: {fixed}." if fixed else None,
                )
                around = gr.Textbox(
                    "",
                    label="Text around a class name",
                    visible=template,
                    elem_id="template",
                    placeholder="the model's own; for another one: a sketch of a {}.",
                )
                button = gr.Button("Say what it shows", variant="primary", elem_id="go")
            with gr.Column():
                answer = gr.HTML(answers([], names.value, ""), elem_id="answer")

        def say(gallery: list[Any] | None, lines: str, text: str) -> str:
            return answers([one[0] if isinstance(one, tuple | list) else one for one in gallery or []], lines, text)

        inputs: list[Any] = [pictures, names, around]
        pictures.change(say, inputs, answer, api_visibility="private")
        button.click(say, inputs, answer, api_visibility="private")
        if not fixed:
            names.blur(say, inputs, answer, api_visibility="private")
        if template:
            around.submit(say, inputs, answer, api_visibility="private")
    return page


def summary(model: Classifier) -> str:
    """One line on the classifier."""
    said = model.description
    record = [
        f"{said.training['shots']} shots" if said.training.get("shots") else "",
        str(said.training.get("dataset", "")),
    ]
    parts = [said.backbone, *[one for one in record if one], f"{len(model.classes)} classes"]
    return " · ".join(part for part in parts if part)


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-!<>|" else letter for letter in text)


@contextmanager
def serve(model: Classifier, port: int, browser: bool = False) -> Iterator[str]:
    """Have the page served while the context lasts.

    Args:
        model: the classifier.
        port: of this machine; 0 for any.
        browser: open it there.

    Yields:
        its address.
    """
    with tempfile.TemporaryDirectory(prefix="promptclip-") as folder:
        # Gradio reads them when it is imported
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder, "HF_HUB_DISABLE_TELEMETRY": "1"}
        import gradio as gr

        page = build(model)
        theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
        _, address, _ = page.launch(
            server_name=HOST,
            server_port=port or free_port(),
            inbrowser=browser,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=f"{MOST_MEGABYTES}mb",
            ssr_mode=False,
            enable_monitoring=False,
            footer_links=[],
            theme=theme,
            css=CSS,
        )
        try:
            yield address
        finally:
            page.close(verbose=False)


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
