"""Loading a CLIP: by name through clip's own download, from either kind of file, and sentences for what is not one."""

import hashlib
import http.server
import threading
from functools import partial

import clip.clip
import clip.model
import pytest
import torch
from small_clip import as_openais, clip_model, clip_state

from promptclip import EMBEDDED, load_clip
from promptclip.backbone import weights_digest, weights_sha256

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The recipe's CLIP as OpenAI ships theirs: a TorchScript archive that knows its sizes."""

    class Archive(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.visual, self.transformer = clip_model("tiny12").visual, clip_model("tiny12").transformer
            for name in ("token_embedding", "positional_embedding", "ln_final", "text_projection", "logit_scale"):
                setattr(self, name, getattr(clip_model("tiny12"), name))
            for name, value in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
                self.register_buffer(name, torch.tensor(value))

        def forward(self, images):
            return self.visual(images)

    path = tmp_path_factory.mktemp("archive") / "tiny.pt"
    torch.jit.trace(Archive(), IMAGES).save(str(path))
    return path


def check(model, tolerance=0.0):
    assert type(model) is clip.model.CLIP and not model.training
    assert all(parameter.dtype == torch.float32 and not parameter.requires_grad for parameter in model.parameters())
    for key, value in clip_state("tiny12").items():
        assert torch.allclose(model.state_dict()[key], value, rtol=tolerance, atol=tolerance / 10), key


def test_a_state_dict_keeps_its_values_to_the_bit(weights):
    check(load_clip(weights("tiny12")))


def test_torchscript_archive(archive):
    check(load_clip(str(archive)))


def test_a_state_dict_inside_a_checkpoint(tmp_path):
    torch.save({"state_dict": as_openais(clip_state("tiny12")), "epoch": 3}, tmp_path / "model.pth.tar")
    check(load_clip(str(tmp_path / "model.pth.tar")))


@pytest.mark.parametrize("key", ["logit_scale", "visual.conv1.weight", "token_embedding.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_broken_weights(tmp_path, key, value):
    """With a scale of minus infinity all scores are 0, and the accuracy is that of a guess."""
    state = {name: tensor.clone() for name, tensor in clip_state("tiny12").items()}
    state[key].view(-1)[-1] = value
    torch.save(as_openais(state), tmp_path / "broken.pt")
    with pytest.raises(ValueError, match=f"broken.pt hold infinite or NaN values in {key}"):
        load_clip(str(tmp_path / "broken.pt"))


def test_loading_leaves_the_random_numbers_alone(weights):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_clip(weights("tiny12"))
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture
def server(archive):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(archive.parents[1]))
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_known_name_is_downloaded_and_checked_by_clip(server, archive, tmp_path, monkeypatch):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    served = archive.parents[1] / digest
    served.mkdir(exist_ok=True)
    (served / "tiny.pt").write_bytes(archive.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(clip.clip._MODELS, "ViT-B/16", f"{server}/{digest}/tiny.pt")
    check(load_clip("ViT-B/16"), tolerance=1e-3)  # clip itself keeps half precision

    (served / "tiny.pt").write_bytes(b"something else")
    (tmp_path / ".cache" / "clip" / "tiny.pt").unlink()
    with pytest.raises(ConnectionError, match=r"weights of ViT-B/16 could not be fetched .*checksum.*name the file"):
        load_clip("ViT-B/16")
    monkeypatch.setitem(clip.clip._MODELS, "ViT-B/16", f"{server}/{digest}/nowhere.pt")
    with pytest.raises(ConnectionError, match=r"404.*MODEL.BACKBONE.NAME"):
        load_clip("ViT-B/16")


@pytest.mark.skipif(not EMBEDDED["EmojiCLIP"].exists(), reason="the embedded weights are not in this checkout")
def test_the_embedded_backbone():
    model = load_clip("EmojiCLIP")
    assert model.visual.input_resolution == 64
    assert EMBEDDED["EmojiCLIP"].stat().st_size < 25e6


def test_a_state_dict_does_not_say_its_activation(tmp_path):
    """With another its numbers would look right."""
    path = tmp_path / "bare.pt"
    torch.save(clip_state("tiny12"), path)
    with pytest.raises(ValueError, match=r"ACTIVATION quickgelu for .*OpenAI.* gelu for .*LAION.*open_clip:ViT-B-16/"):
        load_clip(str(path))
    quick, gelu = load_clip(str(path), "quickgelu"), load_clip(str(path), "gelu")
    assert type(gelu.transformer.resblocks[0].mlp.gelu) is torch.nn.GELU
    assert not torch.allclose(quick.encode_image(IMAGES), gelu.encode_image(IMAGES))
    assert weights_digest(quick) != weights_digest(gelu) and weights_sha256(quick) != weights_sha256(gelu)
    check(quick)
    with pytest.raises(ValueError, match="no activation .*'relu'.*known are gelu, quickgelu"):
        load_clip(str(path), "relu")


def test_what_is_known_is_not_said_otherwise(archive):
    check(load_clip(str(archive), "quickgelu"))
    for name in (str(archive), "EmojiCLIP", "ViT-B/16"):
        with pytest.raises(ValueError, match="ACTIVATION is gelu, but .* was trained with quickgelu; leave"):
            load_clip(name, "gelu")


def test_towers_whose_heads_a_state_dict_does_not_say(tmp_path):
    state = clip_state("tiny12") | {"visual.conv1.weight": torch.zeros(1280, 3, 14, 14)}
    torch.save(state, tmp_path / "huge.pt")
    with pytest.raises(ValueError, match=r"tower, 1280 wide, cannot be known .* open_clip:ViT-H-14/.*huge\.pt"):
        load_clip(str(tmp_path / "huge.pt"), "gelu")


def test_digests_of_openais_models_are_what_they_were(weights):
    """Checkpoints and folders hold them."""
    model = load_clip(weights("tiny12"))
    assert (weights_digest(model), weights_sha256(model)[:16]) == ("915f6733", "397e4e2ffec59fa6")


def test_unknown_name():
    with pytest.raises(ValueError, match=r"no backbone, nor file, 'ViT-B16'.*did you mean 'ViT-B/16'\?"):
        load_clip("ViT-B16")


def test_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        load_clip(str(tmp_path))


def refuse(tmp_path, content, match):
    path = tmp_path / "file.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ValueError, match=match):
        load_clip(str(path))


class Payload:
    """Would create a file if unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_files_that_are_not_clip(tmp_path, archive):
    refuse(tmp_path, b"", "cannot be read as CLIP's weights")
    refuse(tmp_path, b"hello", "cannot be read as CLIP's weights")
    refuse(tmp_path, archive.read_bytes()[:1000], "cannot be read as CLIP's weights")
    refuse(tmp_path, {"fc.weight": torch.zeros(2)}, "does not hold CLIP's weights: it lacks")
    refuse(tmp_path, [1, 2], "does not hold CLIP's weights")
    state = as_openais(clip_state("tiny12"))
    refuse(tmp_path, {key: value for key, value in state.items() if "visual" not in key}, "lacks the visual tower")
    refuse(tmp_path, {k: v for k, v in state.items() if k != "visual.ln_post.bias"}, "do not fit together")
    refuse(tmp_path, state | {"text_projection": torch.zeros(64, 32)}, "do not fit together")
    refuse(tmp_path, state | {"ln_final.bias": Payload(str(tmp_path / "ran"))}, "cannot be read as CLIP's weights")
    assert not (tmp_path / "ran").exists()
