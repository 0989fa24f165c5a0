"""The second batch of methods against numbers computed by their reference implementations, in float32 on the CPU.

golden_2/<file>.npz; weights, images, initial parameters, second views and dropout masks come from support/recipe.py.
Tolerances: 1e-4 of the largest entry, but 1.5e-6 of a parameter's norm after training and 1e-6 of the learning rate,
which alone see a wrong weight decay or a cosine that ends elsewhere.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import recipe
import torch
from dassl.engine import TRAINER_REGISTRY
from golden import LORA, close
from trainer_factory import batches, configuration, logits, make

from promptclip.class_texts import fill
from promptclip.published_names import rename
from trainers.coprompt import SentenceTeacher

GOLDEN = Path(__file__).parents[1] / "golden_2"
# file -> trainer, options of its node, options of OPTIM besides those the file names
CASES = {
    "clip_adapter": ("CLIP_Adapter", {}, {}),
    "clip_lora": ("CLIP_LoRA", {"DROPOUT": 0.0}, LORA),
    "clip_lora_drop": ("CLIP_LoRA", {}, LORA),
    "coprompt": ("CoPrompt", {"PROMPT_DEPTH": 3, "W": 8.0}, {}),
    "dept_coop": ("DePT_CoOp", {"N_CTX": 4}, {}),
    "dept_maple": ("DePT_MaPLe", {"PROMPT_DEPTH": 3}, {}),
    "mma": ("MMA", {}, {}),
    "mma_scale": ("MMA", {"ADAPTER_SCALE": 0.1}, {}),
    "mmrl": ("MMRL", {"REG_WEIGHT": 0.2}, {}),
    "mmrl_reg7": ("MMRL", {"REG_WEIGHT": 7.0}, {}),
    "taskres": ("TaskRes", {}, {}),
    "tcp": ("TCP", {}, {"ADAM_EPS": 1e-3}),
}
ELSEWHERE = {"lp_plus", "tip_adapter", "tip_adapter_f", "two_stage"}  # in test_golden_cached.py and test_two_stage.py
OPTIM = ("NAME", "LR", "WEIGHT_DECAY", "WARMUP_EPOCH", "WARMUP_TYPE", "WARMUP_CONS_LR", "LR_SCHEDULER")


def test_every_golden_file_is_checked():
    assert {path.stem for path in GOLDEN.glob("*.npz")} == set(CASES) | ELSEWHERE


def our_name(key):
    """Our name for a reference's parameter."""
    lora = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.attn\.(\w_proj\.w_lora_\w)", key)
    if lora:
        return f"{'visual' if lora[1] else 'text'}_lora.{lora[2]}.{lora[3]}"
    return rename(key)


class Masks:
    """The golden dropout masks, looked up by projection, step, position and class of packed tokens."""

    def __init__(self, trainer, p):
        self.trainer, self.p = trainer, p
        rank = trainer.classes.text.rank.argsort().tolist()
        position, class_of = trainer.classes.text.position, trainer.classes.text.class_of
        prefix = trainer.classes.text.prefix
        lengths = {k: prefix + int((class_of == k).sum()) for k in rank}
        assert prefix and len(position) == prefix + len(class_of)
        self.places = [(place, k) for k in rank for place in range(lengths[k])]
        self.ends = [(lengths[k] - 1, k) for k in rank]
        for tower, name in (("text", ""), ("visual", "visual.")):
            for number, block in enumerate(getattr(trainer.learner.changes, f"{tower}_lora")):
                block.drop = self.of(tower, f"{name}transformer.resblocks.{number}.attn")

    def of(self, tower, module):
        def drop(x, part):
            if not self.trainer.learner.training:
                return x
            name, call = f"{module}.{part}_proj.dropout", self.trainer.seen_steps
            if tower == "visual":  # the last block's queries are computed at the class token alone
                mask = recipe.dropout_mask(name, call, (17, x.shape[0], x.shape[-1]), self.p)
                return x * torch.from_numpy(mask).transpose(0, 1)[:, : x.shape[1]]
            mask = torch.from_numpy(recipe.dropout_mask(name, call, (77, 6, x.shape[-1]), self.p))
            chosen = self.places if x.shape[1] == len(self.places) else self.ends
            return x * torch.stack([mask[place] for place in chosen])[None]

        return drop


@pytest.fixture(scope="module", params=CASES)
def run(request, weights, tmp_path_factory):
    """One method trained as its reference was: (numbers, meta, trainer, what was seen on the way)."""
    file, (name, options, optim) = request.param, CASES[request.param]
    numbers = np.load(GOLDEN / f"{file}.npz")
    meta = json.loads(str(numbers["meta"]))
    geometry = recipe.GEOMETRIES[meta["geometry"]]
    size = geometry["image_resolution"]
    node = TRAINER_REGISTRY.get(name).method.node
    given = {key: meta["optim"][key] for key in OPTIM if "optim" in meta} | optim
    opts = [item for key, value in given.items() for item in (f"OPTIM.{key}", value)]
    opts += [item for key, value in options.items() for item in (f"TRAINER.{node}.{key}", value)]
    cfg = configuration(name, weights(meta["geometry"]), size, tmp_path_factory.mktemp(file), opts)
    train, test = recipe.images(size)
    loader = batches(train, numbers["labels"], meta["batch_size"])
    for batch in loader if file == "coprompt" else ():
        batch["img2"] = torch.from_numpy(recipe.second_view(batch["img"].numpy()))
    torch.manual_seed(0)
    trainer = make(cfg, meta["classnames"], loader)
    trainer.seen_steps = 0
    state = trainer.learner.state_dict()
    for key, shape in meta["trainable"].items():
        assert tuple(shape) == tuple(state[our_name(key)].shape), key
        state[our_name(key)] = torch.from_numpy(recipe.initial_parameter(key, shape))
    trainer.learner.load_state_dict(state)
    if file == "clip_lora_drop":
        Masks(trainer, 0.25)
    if file == "coprompt":
        columns = [fill(str(one), trainer.classnames) for one in numbers["text_table"]]
        trainer.learner.teacher = SentenceTeacher(trainer.clip, columns)
        trainer.learner.before_step = [
            lambda: trainer.learner.teacher.choose(int(numbers["text_picks"][trainer.seen_steps]))
        ]
    seen = {"lr": [], "losses": [], "init_logits": logits(trainer, train)}
    step = trainer.forward_backward

    def watched(batch):
        seen["lr"].append([group["lr"] for group in trainer.optim.param_groups])
        seen["losses"].append(step(batch))
        trainer.seen_steps += 1
        if len(seen["losses"]) == 1:
            seen["gradients"] = {k: p.grad.clone() for k, p in trainer.learner.named_learned().items()}
        return seen["losses"][-1]

    trainer.forward_backward = watched
    trainer.train()
    seen["test_logits"] = logits(trainer, test)
    return numbers, meta, trainer, seen


def test_logits_before_and_after_training(run):
    numbers, _, _, seen = run
    assert close(seen["init_logits"], numbers["init_logits"])
    assert close(seen["test_logits"], numbers["test_logits"])


def test_losses_and_learning_rates(run):
    numbers, _, trainer, seen = run
    for key in (key for key in numbers.files if key.startswith("loss/")):
        name = key.removeprefix("loss/")  # the references log their terms before they are weighted
        weight = trainer.learner.losses[name].weight if name in trainer.learner.losses else 1
        assert close([step[name] / weight for step in seen["losses"]], numbers[key]), key
    np.testing.assert_allclose([lr[0] for lr in seen["lr"]], numbers["lr"], rtol=1e-6)
    if "lr_groups" in numbers.files:
        np.testing.assert_allclose(np.sort(seen["lr"]), np.sort(numbers["lr_groups"]), rtol=1e-6)


def test_gradients_of_the_first_step(run):
    numbers, meta, _, seen = run
    for key in meta["trainable"]:
        ours = seen["gradients"][our_name(key)].flatten()
        assert close(ours.norm(), numbers[f"grad0_norm/{key}"]), key
        head = numbers[f"grad0_head/{key}"]
        assert np.abs(ours[:16].numpy() - head).max() <= 1e-3 * np.abs(head).max() + 1e-7, key


def test_parameters_after_training(run):
    numbers, meta, trainer, _ = run
    state = trainer.learner.state_dict()
    for key in meta["trainable"]:
        ours = state[our_name(key)].flatten().double()
        assert close(ours.norm(), numbers[f"final_norm/{key}"], 1.5e-6), key
        assert close(ours[:16], numbers[f"final_head/{key}"]), key


def test_exactly_the_reference_parameters_are_trained(run):
    _, meta, trainer, _ = run
    assert set(trainer.learner.named_learned()) == {our_name(key) for key in meta["trainable"]}


def test_new_classes_are_told_as_the_reference_tells_them(run):
    numbers, _, trainer, _ = run
    if "test_logits_new" not in numbers.files:
        assert not trainer.learner.head.inference(trainer.classes)  # there is one
        return
    _, test = recipe.images(trainer.backbone.visual.input_resolution)
    trainer.classes = trainer.classes._replace(all_trained=False)
    trainer._text_features = None
    assert close(logits(trainer, test), numbers["test_logits_new"])
