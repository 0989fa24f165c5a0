"""Classes described by hand-written templates: text features that nothing learned changes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from promptclip.model import PromptedCLIP
from promptclip.parts import Part


def fill(template: str, names: list[str], underscores: bool = False) -> list[str]:
    """One text per class name, "_" read as a space unless `underscores` stay."""
    return [template.replace("{}", name if underscores else name.replace("_", " ")) for name in names]


class TemplateTexts(Part, kind="template_texts"):
    """(K, D) text features: the mean over templates.

    Args:
        templates: with {} where the class name goes.
        normalised: mean of the templates' normalised features, normalised again (arXiv 2103.00020); else the mean of
            the raw features.
        underscores: "_" in class names stays.
    """

    def __init__(self, templates: list[str], normalised: bool = True, underscores: bool = False) -> None:
        super().__init__()
        self.templates, self.normalised, self.underscores = list(templates), normalised, underscores

    def settings(self) -> dict[str, object]:
        return {"templates": self.templates, "normalised": self.normalised, "underscores": self.underscores}

    def with_template(self, template: str) -> "TemplateTexts":
        """The same with one template of another wording."""
        return TemplateTexts([template], self.normalised, self.underscores)

    def forward(self, clip: PromptedCLIP, names: list[str]) -> Tensor:
        """Features of the class names.

        Raises:
            ValueError: a text does not fit into CLIP's prompt; there is no name.
        """
        features = [clip.encode_texts(fill(one, names, self.underscores)) for one in self.templates]
        if not self.normalised:
            return sum(features, torch.tensor(0.0)) / len(features)
        total = sum((F.normalize(one, dim=-1) for one in features), torch.tensor(0.0))
        return F.normalize(total / len(features), dim=-1)
