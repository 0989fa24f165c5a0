"""The benchmarks' rows, counts and clocks, on a small CLIP."""

import pytest
import torch
from small_clip import clip_model

from benchmarks import evaluate, launches, memory, step
from benchmarks.measure import extrapolate, flops, interleaved
from benchmarks.setting import batch, build, class_names


def test_step_prints_a_row_per_method(capsys):
    model = clip_model("tiny12")
    rows = step.main(
        ["--classes", "3", "--methods", "MaPLe", "RESTORE_m", "--repeats", "1", "--clock", "cpu", "--slice", "2"], model
    )
    printed = capsys.readouterr().out
    assert [row["method"] for row in rows] == ["MaPLe", "RESTORE_m"] and "times faster" in printed
    for row in rows:
        assert row["tokens plain"] == 3 * 77 and 3 * 2 < row["tokens fast"] < 3 * 12
        assert row["GFLOP ratio"] > 1 and row["s plain"] > 0
        assert row["times faster"] == pytest.approx(row["s plain"] / row["s fast"])
    assert rows[0]["to MaPLe"] == 1


@pytest.mark.gpu
def test_step_times_replays_on_a_gpu():
    arguments = ["--classes", "3", "--methods", "RESTORE_m", "--repeats", "2", "--device", "cuda"]
    (row,) = step.main(arguments, clip_model("tiny12"))
    assert row["graph, times faster"] == pytest.approx(row["s plain"] / row["s graph"])


def test_launches_are_fewer_in_rows_and_the_same_for_any_list(capsys):
    arguments = ["--classes", "3", "98", "--methods", "MaPLe", "RESTORE_m", "--names", "2"]
    rows = launches.main(arguments, clip_model("tiny12"))
    assert "attention, in rows" in capsys.readouterr().out
    for few, many in zip(rows[:2], rows[2:], strict=True):
        assert few["method"] == many["method"] and few["in rows"] == many["in rows"]
        assert many["in rows"] < 0.7 * many["operations, by length"]
        passes = {"MaPLe": 1, "RESTORE_m": 2}[few["method"]]  # with and without prompts
        assert 2 * 23 * passes <= few["attention, in rows"] <= 2 * 24 * passes


def test_evaluation_counts_text_once(capsys):
    rows = evaluate.main(
        ["--classes", "3", "--repeats", "1", "--batch", "2", "--batches", "5", "--markdown"], clip_model("tiny12")
    )
    assert "|   classes | method" in capsys.readouterr().out
    (row,) = rows
    assert row["times faster"] == pytest.approx(5 * row["s plain"] / (row["s text"] + 5 * row["s fast"]))
    assert row["GFLOP ratio"] > 1


def test_plain_counts_lie_on_a_line():
    data = batch(["", ""], 4, 32)
    counted = {}
    for classes in (2, 4, 7):
        trainer = build("RESTORE_m", "plain", class_names(classes), clip_model("tiny12"))
        counted[classes] = flops(lambda trainer=trainer: trainer.forward_backward(data))
    seven = counted.pop(7)
    assert extrapolate(counted, 7) == seven
    with pytest.raises(ValueError, match="2 points, not 1"):
        extrapolate({1: 2}, 3)


def test_operations_of_a_product_and_of_attention_are_counted():
    q = torch.randn(1, 2, 5, 8, requires_grad=True)
    forward = 2 * (2 * 5 * 5 * 8) * 2  # two products in two heads, two operations a multiplication
    assert flops(lambda: torch.randn(3, 4) @ torch.randn(4, 5)) == 2 * 3 * 4 * 5

    def attention():
        torch.nn.functional.scaled_dot_product_attention(q, q.detach(), q.detach()).sum().backward()

    assert flops(attention) == forward + forward / 2 * 5  # the fused backward pass takes five products


def test_memory_of_a_step():
    model = clip_model("tiny12")
    plain, fast, given_up = (
        memory.step("MaPLe", path, 12, "cpu", checkpointing, model)["saved"]
        for path, checkpointing in (("plain", "off"), ("fast", "off"), ("fast", "on"))
    )
    assert plain > 2 * fast > 4 * given_up > 0


def test_jobs_take_turns():
    order = []
    times = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, {"a": 3, "b": 2})
    assert order == ["a", "b", "a", "b", "a"] and set(times) == {"a", "b"}
    with pytest.raises(ValueError, match="'sun' is none of wall, cpu"):
        interleaved({}, {}, "sun")
    with pytest.raises(ValueError, match="--clock wall"):
        interleaved({}, {}, "cpu", "cuda")
