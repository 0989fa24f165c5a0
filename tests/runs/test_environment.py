"""What a record says of determinism, by the very texts in which torch speaks of operations without it."""

import warnings

import pytest

from runs.environment import Determinism, has_no_deterministic_form


@pytest.mark.parametrize(
    ("text", "operation"),
    [
        (
            "scatter_add_cuda_kernel does not have a deterministic implementation, but you set "
            "'torch.use_deterministic_algorithms(True, warn_only=True)'. You can file an issue at ...",
            "scatter_add_cuda_kernel",
        ),
        (
            "Memory Efficient attention defaults to a non-deterministic algorithm. To explicitly enable determinism "
            "call torch.use_deterministic_algorithms(True, warn_only=False).",
            "Memory Efficient attention",
        ),
        ("Flash Attention defaults to a non-deterministic algorithm. ", "Flash Attention"),
        ("cuDNN Attention defaults to a non-deterministic algorithm. ", "cuDNN Attention"),
    ],
)
def test_an_operation_without_a_deterministic_form_is_recorded(text, operation):
    determinism = Determinism(seed=1, cuda=False)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with determinism:
            warnings.warn(text, stacklevel=1)
    found = determinism.record()
    assert found["deterministic"] is False
    assert found["not_deterministic_because"] == [f"torch has no deterministic {operation} on this device"]


def test_other_warnings_are_shown_and_change_nothing():
    determinism = Determinism(seed=1, cuda=False)
    with pytest.warns(UserWarning, match="something else"), determinism:
        warnings.warn("something else", stacklevel=1)
    assert determinism.record()["deterministic"] is True


def test_strict_on_a_gpu_alone():
    import torch

    for cuda, strict, warns in ((False, True, True), (True, True, False), (True, False, True)):
        with Determinism(seed=1, cuda=cuda, strict=strict):
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.is_deterministic_algorithms_warn_only_enabled() == warns
            assert torch.backends.cudnn.allow_tf32 is False
        assert not torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.allow_tf32
    with Determinism(seed=-1, cuda=False, strict=True):
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation, but you set ..."), True),
        (ValueError("cumsum_cuda_kernel does not have a deterministic implementation, but you set ..."), False),
        (RuntimeError("CUDA error: out of memory"), False),
    ],
)
def test_what_strictness_breaks_off(error, found):
    assert has_no_deterministic_form(error) is found
