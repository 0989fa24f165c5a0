"""Checkpoints: take the learnable part out of our own files and out of those the family's repositories released."""

import re

from torch import Tensor, nn

# The reference implementations' names for what they learn -> ours.
RENAMED = (
    (r"image_encoder\.VPT", "vision_ctx"),
    (r"image_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow", "vision_deep.{}"),
    (r"text_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow", "text_deep.{}"),
    (r"(text|visual)_adapter\.FFN\.0\.(weight|bias)", "{}_surgery.up.{}"),
    (r"(text|visual)_adapter\.FFN\.2\.(weight|bias)", "{}_surgery.down.{}"),
    (r"(text|visual)_adapter\.post_ln\.(weight|bias)", "{}_surgery.ln.{}"),
    (r"text_cali_ratio", "text_alpha.value"),
    (r"vis_cali_ratio", "image_alpha.value"),
)
# What their files carry besides: all of CLIP, and embeddings of the class names trained on.
IGNORED = re.compile(
    r"(prompt_learner\.)?(token_prefix|token_suffix|token_middle)|(image_encoder|text_encoder)\..*|logit_scale"
    r"|prompt_learner\.ZS_image_encoder\..*"
)


def rename(key: str) -> str | None:
    """Our name for a reference's parameter `key`; None where the file carries something that is not learned."""
    for pattern, name in RENAMED:
        if match := re.fullmatch(pattern, key):
            parts = [
                str(int(part) - 1) if part.isdigit() else part.replace("visual", "image") for part in match.groups()
            ]
            return name.format(*parts)
    if IGNORED.fullmatch(key):
        return None
    return re.sub(r"^prompt_learner\.", "", key)


def learned_part(
    state: dict[str, Tensor], learner: nn.Module, training_only: tuple[str, ...] = (), unused: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Entries of a checkpoint's `state` that belong to the learnable part, under our names.

    Args:
        state: a checkpoint's state dict, ours or published.
        learner: the module to load into.
        training_only: beginnings of the keys that the file may lack.
        unused: first names of entries that the reference saves without using them.
    """
    ours = {rename(key.removeprefix("module.")): value for key, value in state.items()}
    ours.pop(None, None)
    part = {key: value for key, value in ours.items() if key.split(".")[0] not in unused}
    kept = learner.state_dict()
    for key in kept.keys() - part.keys():
        if key.startswith(training_only):
            part[key] = kept[key]
    return part


def names(keys) -> set[str]:
    """First names of parameters, which tell the methods apart."""
    return {key.split(".")[0] for key in keys}


def mismatch(part: dict[str, Tensor], learner: nn.Module) -> str:
    """One sentence about why `part` is not `learner`'s; "" if it is."""
    wanted = learner.state_dict()
    odd, missing = sorted(part.keys() - wanted.keys()), sorted(wanted.keys() - part.keys())
    if odd or missing:
        words = [f"{word} {_few(keys)}" for word, keys in (("it lacks", missing), ("it holds", odd)) if keys]
        return " and ".join(words)
    shapes = [key for key in wanted if part[key].shape != wanted[key].shape]
    if shapes:
        key = shapes[0]
        return f"its {key} is {tuple(part[key].shape)} where this run has {tuple(wanted[key].shape)}"
    return ""


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
