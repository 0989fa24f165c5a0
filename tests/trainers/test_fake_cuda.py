"""What only a GPU does, on tensors that say they lie on one and hold nothing: no step or evaluation mixes devices or
types, or touches the host. Backward passes need a real one (`-m gpu`)."""

import pytest
import torch
from behaviour import ENTRIES, build, data
from dassl.engine import TRAINER_REGISTRY
from torch._subclasses.fake_tensor import FakeTensorMode

from promptclip.model import PRECISIONS, PromptedCLIP

FAKE = [pytest.param(entry, id=entry[0]) for entry in ENTRIES if entry[0] != "TwoStage"]  # which asks for its stage


def to_cuda(module):
    """Parameters and buffers, in place."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = torch.nn.Parameter(value.detach().to("cuda"), value.requires_grad)
        for name, value in part._buffers.items():
            part._buffers[name] = None if value is None else value.to("cuda")


@pytest.fixture
def pretended(monkeypatch):
    """A GPU that autocast believes in."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *args: True)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("entry", FAKE)
def test_losses_and_inference_stay_on_the_gpu(entry, precision, weights, tmp_path, anywhere, pretended):
    node = TRAINER_REGISTRY.get(entry[1]).method.node
    trainer = build(entry, weights, tmp_path, extra=[f"TRAINER.{node}.PREC", precision])
    learner, batch = trainer.learner, data()[0][0]
    clip = trainer.clip = PromptedCLIP(trainer.clip.model, True, trainer.clip.autocast)
    classes = learner.classes(clip, trainer.classnames)
    with torch.no_grad():
        learner(clip, classes, batch["img"])  # so that layouts of changed prompts, which follow from values, are known
    with FakeTensorMode(allow_non_fake_inputs=True):  # a real one beside those would lie on another device
        to_cuda(clip.model)
        to_cuda(learner)
        trainer.device, trainer.classes = torch.device("cuda"), classes.to("cuda")
        images, labels = (batch[key].to("cuda") for key in ("img", "label"))
        if learner.losses and learner.fit is None:
            trainer.set_model_mode("train")
            with trainer._autocast():
                output = learner(clip, trainer.classes, images)
                losses = {name: loss.function(output, labels) for name, loss in learner.losses.items()}
            assert {(loss.device.type, loss.shape) for loss in losses.values()} == {("cuda", torch.Size())}
            assert output.image.dtype == output.text.dtype == output.logits.dtype == torch.float32
        trainer.set_model_mode("eval")
        with torch.no_grad():
            logits = trainer.model_inference(images)
        assert logits.device.type == "cuda" and logits.shape == (4, 6) and logits.dtype == torch.float32
