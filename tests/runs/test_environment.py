"""What a record says of determinism, by the very texts in which torch speaks of operations without it."""

import warnings

import pytest

from runs.environment import Determinism


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
