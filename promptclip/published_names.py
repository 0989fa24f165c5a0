"""The field's names for what its methods learn, in the checkpoints that its repositories published, and ours."""

import re

# The reference implementations' names for what they learn, and ours. {n}: a block, of which ours count the deep ones.
RENAMED = (
    ("image_encoder.VPT", "vision_ctx"),
    ("image_encoder.transformer.resblocks.{n}.VPT_shallow", "vision_deep.{n}"),
    ("text_encoder.transformer.resblocks.{n}.VPT_shallow", "text_deep.{n}"),
    ("text_adapter.FFN.0.{part}", "text_surgery.up.{part}"),
    ("text_adapter.FFN.2.{part}", "text_surgery.down.{part}"),
    ("text_adapter.post_ln.{part}", "text_surgery.ln.{part}"),
    ("visual_adapter.FFN.0.{part}", "image_surgery.up.{part}"),
    ("visual_adapter.FFN.2.{part}", "image_surgery.down.{part}"),
    ("visual_adapter.post_ln.{part}", "image_surgery.ln.{part}"),
    ("text_cali_ratio", "text_alpha.value"),
    ("vis_cali_ratio", "image_alpha.value"),
    ("image_encoder.proj_rep", "proj_rep"),
)
# The modules that references learn in, whose names ours do without.
LEARNERS = re.compile(r"^(prompt_learner|adapter_learner|representation_learner)\.")
# What their files carry besides: all of CLIP, and embeddings of the class names trained on.
IGNORED = re.compile(
    r"(prompt_learner\.)?(token_prefix|token_suffix|token_middle)|(image_encoder|text_encoder)\..*|logit_scale"
    r"|prompt_learner\.ZS_image_encoder\..*"
)


def rename(key: str) -> str | None:
    """Our name for a reference's parameter `key`; None where the file carries something that is not learned."""
    for theirs, ours in RENAMED:
        if name := _translate(key, theirs, ours, -1):
            return name
    if IGNORED.fullmatch(key):
        return None
    return LEARNERS.sub("", key)


def reference_name(key: str, prompt_learner: str) -> str:
    """A reference's name for our parameter `key`.

    Args:
        key: our name, as `rename` gives it.
        prompt_learner: what stands before the names that are the same: "prompt_learner." where the reference saves
            its whole model, "" where only that part of it.
    """
    names = (_translate(key, ours, theirs, 1) for theirs, ours in RENAMED)
    return next((name for name in names if name), prompt_learner + key)


def _translate(key: str, pattern: str, target: str, blocks: int) -> str | None:
    """`key` by `target` if it is one of `pattern`, its block counted on by `blocks`; else None."""
    expression = re.escape(pattern).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{part\}", "(?P<part>weight|bias)")
    match = re.fullmatch(expression, key)
    if not match:
        return None
    found = match.groupdict()
    return target.format(n=int(found.get("n", 0)) + blocks, part=found.get("part"))
