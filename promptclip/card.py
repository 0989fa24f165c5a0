"""The model card, README.md of a trained classifier's folder, with the header that model hubs read."""

import re
from typing import Any

import yaml

from promptclip.folder import Description

NAMED = {"ViT-B/16": "openai/clip-vit-base-patch16", "ViT-B/32": "openai/clip-vit-base-patch32"}
NAMED |= {"ViT-L/14": "openai/clip-vit-large-patch14", "ViT-L/14@336px": "openai/clip-vit-large-patch14-336"}
"""What hubs call OpenAI's CLIPs."""
SHOWN = 20  # class names that the card lists


def card(description: Description) -> str:
    """The text of README.md."""
    header = yaml.safe_dump(_header(description), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{header}---\n\n{_text(description)}"


def _header(description: Description) -> dict[str, Any]:
    header: dict[str, Any] = {
        "library_name": "promptclip",
        "pipeline_tag": "image-classification",
        "tags": ["clip", "few-shot", "prompt-learning", description.method],
    }
    if description.backbone in NAMED:
        header["base_model"] = NAMED[description.backbone]
    elif match := re.fullmatch(r"(?:hf|open_clip:hf-hub):([\w.-]+/[\w.-]+)", description.backbone):
        header["base_model"] = match[1]
    training = description.training
    if training.get("accuracy") is None or not training.get("dataset"):
        return header
    found = {"accuracy": "Accuracy", "macro_f1": "Macro F1"}
    metrics = [
        {"type": key if key == "accuracy" else "f1", "name": name, "value": round(training[key], 2)}
        for key, name in found.items()
        if isinstance(training.get(key), int | float)
    ]
    result = {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {"type": str(training["dataset"]).lower(), "name": str(training["dataset"])},
        "metrics": metrics,
    }
    return header | {"model-index": [{"name": description.method, "results": [result]}]}


def _text(description: Description) -> str:
    training, names = description.training, [name.replace("_", " ") for name in description.classes]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    where = f" on {training['dataset']}" if training.get("dataset") else ""
    rows = [("classes", f"{len(names)}: {', '.join(names[:SHOWN])}{more}")]
    rows += [
        ("backbone", f"{description.backbone} ({description.activation}), SHA-256 of its weights {description.sha256}")
    ]
    rows += [(key.replace("_", " "), _shown(value)) for key, value in training.items() if value is not None]
    table = "\n".join(f"| {key} | {_cell(value)} |" for key, value in rows)
    others = f"No: {description.new_classes}." if description.new_classes else "Yes, with `with_classes`."
    return f"""# {description.method}{where}

What {description.method} learned to put into CLIP, as a classifier; CLIP itself is not in here.

```python
import promptclip

model = promptclip.load("PATH OR user/name OF THIS FOLDER")
model.predict("photo.jpg", top=5)
```

| | |
|---|---|
{table}

Other class names: {others}
"""


def _shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    """Text as a cell of a Markdown table takes it."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
