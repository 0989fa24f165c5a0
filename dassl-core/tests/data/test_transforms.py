"""The steps between an image and a tensor: which, in what order, of what size."""

import pickle

import pytest
import torch
from dassl.data.transforms import INTERPOLATION_MODES, build_transform
from dassl.data.transforms.transforms import CHOICES
from PIL import Image
from torchvision import transforms as T


def _names(transform):
    return [type(step).__name__ for step in transform.transforms]


def _image(width=40, height=20):
    return Image.effect_noise((width, height), 80).convert("RGB")


def test_the_field_s_train_transform(cfg):
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.INPUT.TRANSFORMS = ("normalize", "random_flip", "random_resized_crop")
    transform = build_transform(cfg, is_train=True)
    assert _names(transform) == ["RandomResizedCrop", "RandomHorizontalFlip", "ToTensor", "Normalize"]
    crop = transform.transforms[0]
    assert (crop.size, crop.scale, crop.interpolation) == ((8, 8), (0.08, 1.0), T.InterpolationMode.BICUBIC)


def test_all_choices_come_in_the_fixed_order(cfg):
    cfg.INPUT.GB_K = 5
    transform = build_transform(cfg, is_train=True, choices=CHOICES[::-1])
    assert _names(transform) == [
        "Random2DTranslation",
        "RandomCrop",
        "RandomResizedCrop",
        "CenterCrop",
        "RandomHorizontalFlip",
        "AutoAugment",
        "AutoAugment",
        "AutoAugment",
        "RandAugment",
        "RandAugmentFixMatch",
        "RandAugmentSometimes",
        "ColorJitter",
        "RandomGrayscale",
        "RandomApply",
        "ToTensor",
        "Cutout",
        "Normalize",
        "GaussianNoise",
        "InstanceNormalization",
    ]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_gives_an_image_of_the_size(cfg, choice):
    cfg.INPUT.SIZE = (24, 16)
    cfg.INPUT.GB_K, cfg.INPUT.RANDAUGMENT_M = 5, 7
    transform = build_transform(cfg, is_train=True, choices=[choice])
    resized = "random_crop" not in choice and choice != "random_resized_crop"
    assert (_names(transform)[0] == "Resize") == resized
    for seed in range(4):
        torch.manual_seed(seed)
        image = _image(40, 30)
        output = transform(image)
        assert output.shape == (3, 24, 16)
        assert output.dtype == torch.float32
        # Loader workers may have to receive it pickled, and one seed must give one image.
        torch.manual_seed(seed)
        assert torch.equal(pickle.loads(pickle.dumps(transform))(image), output)


def test_the_test_transform_keeps_the_shape_of_things(cfg):
    cfg.INPUT.SIZE = (10, 6)
    transform = build_transform(cfg, is_train=False)
    assert _names(transform) == ["Resize", "CenterCrop", "ToTensor", "Normalize"]
    assert transform.transforms[0].size == 10
    assert transform.transforms[0](_image(40, 20)).size == (20, 10)
    assert transform(_image()).shape == (3, 10, 6)


def test_normalisation_uses_the_configured_numbers(cfg):
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = [0.5, 0.25, 0.0], [0.5, 0.25, 1.0]
    white = Image.new("RGB", (9, 9), (255, 255, 255))
    assert build_transform(cfg, is_train=False)(white)[:, 0, 0].tolist() == [1.0, 3.0, 1.0]
    assert build_transform(cfg, is_train=False, choices=[])(white)[:, 0, 0].tolist() == [1.0, 1.0, 1.0]


def test_what_the_extra_transforms_do(cfg):
    cfg.INPUT.SIZE = (16, 16)
    cfg.INPUT.CUTOUT_LEN = 4
    white = Image.new("RGB", (16, 16), (255, 255, 255))
    cut = build_transform(cfg, choices=["cutout"])(white)
    assert 0 < (cut == 0).sum() <= 3 * 16
    normed = build_transform(cfg, is_train=False, choices=["instance_norm"])(_image(16, 16))
    assert torch.allclose(normed.mean(dim=(1, 2)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(normed.std(dim=(1, 2)), torch.ones(3), atol=1e-4)
    cfg.INPUT.GN_MEAN = 5.0
    noisy = [build_transform(cfg, choices=["gaussian_noise"])(white).mean().item() for _ in range(20)]
    assert {round(m) for m in noisy} == {1, 6}


def test_no_transform(cfg, capsys):
    cfg.INPUT.NO_TRANSFORM = True
    assert build_transform(cfg) is None
    assert "no transform is applied" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "value", "hint"),
    [
        ("TRANSFORMS", ("random_flop",), 'did you mean "random_flip"'),
        ("INTERPOLATION", "bicubik", 'did you mean "bicubic"'),
        ("SIZE", (224,), "INPUT.SIZE must be two whole numbers"),
        ("SIZE", (0, 8), "INPUT.SIZE must be two whole numbers"),
    ],
)
def test_wrong_settings_get_a_sentence(cfg, setting, value, hint):
    cfg.INPUT[setting] = value
    with pytest.raises(ValueError) as caught:
        build_transform(cfg)
    assert hint in str(caught.value)


def test_interpolation_modes_are_torchvision_s():
    assert set(INTERPOLATION_MODES) == {"bilinear", "bicubic", "nearest"}
    assert INTERPOLATION_MODES["nearest"] is T.InterpolationMode.NEAREST
