"""The summary over seeds: CoOp's output, and a sentence where there is nothing to summarise."""

import io
import os
import sys

import pytest

import parse_test_res

RESULT = "Evaluate on the *test* set\n=> result\n* total: 1,000\n* correct: 900\n* accuracy: {}%\n* macro_f1: {}%\n"


def write_log(run, *accuracies, name="log.txt", finish="Finish training", f1=50.0):
    """A log with one evaluation an accuracy, the last of them after training has finished."""
    run.mkdir(parents=True, exist_ok=True)
    results = [RESULT.format(accuracy, f1) for accuracy in accuracies]
    head = "epoch [1/1] batch [1/1] loss 1.0\n" + "".join(results[:-1])
    (run / name).write_text(f"{head}{finish}\n" + "".join(results[-1:]) + "Elapsed: 0:00:02\n")


def run(capsys, *argv):
    code = parse_test_res.main([str(part) for part in argv])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def test_output_is_coops_to_the_letter(tmp_path, capsys):
    write_log(tmp_path / "seed1", 80.0)
    write_log(tmp_path / "seed2", 83.3)
    code, out, err = run(capsys, tmp_path)
    assert (code, err) == (0, "")
    assert out == (
        f"Parsing files in {tmp_path}\n"
        f"file: {tmp_path}/seed1/log.txt. accuracy: 80.00%. \n"
        f"file: {tmp_path}/seed2/log.txt. accuracy: 83.30%. \n"
        f"===\nSummary of directory: {tmp_path}\n* accuracy: 81.65% +- 1.65%\n===\n"
    )


def test_the_directory_is_named_as_it_was_given(tmp_path, capsys, monkeypatch):
    write_log(tmp_path / "runs/seed1", 80.0)
    monkeypatch.chdir(tmp_path)
    out = run(capsys, "./runs/")[1]
    assert "Parsing files in ./runs/\nfile: ./runs/seed1/log.txt. " in out and "directory: ./runs/\n" in out


def test_ci95_is_the_half_width(tmp_path, capsys):
    for seed, accuracy in enumerate([80.0, 84.0, 82.0, 86.0], start=1):
        write_log(tmp_path / f"seed{seed}", accuracy)
    # population deviation sqrt(5); 1.96 * sqrt(5) / 2 = 2.1913
    assert "* accuracy: 83.00% +- 2.19%\n" in run(capsys, tmp_path, "--ci95")[1]


def test_validation_results_before_the_end_do_not_count(tmp_path, capsys):
    write_log(tmp_path / "seed1", 99.0, 70.0)
    assert "* accuracy: 70.00% +- 0.00%\n" in run(capsys, tmp_path)[1]


@pytest.mark.parametrize("finish", ["Finish training", "Finished training"])
def test_both_spellings_of_the_end_are_known(tmp_path, capsys, finish):
    write_log(tmp_path / "seed1", 61.5, finish=finish)
    assert "* accuracy: 61.50% +- 0.00%\n" in run(capsys, tmp_path)[1]


def test_evaluation_logs_need_the_flag(tmp_path, capsys):
    write_log(tmp_path / "seed1", 55.0, finish="Loading weights")
    code, _, err = run(capsys, tmp_path)
    assert code == 2 and "add --test-log" in err
    code, out, _ = run(capsys, tmp_path, "--test-log")
    assert code == 0 and "* accuracy: 55.00% +- 0.00%\n" in out


def test_keyword_picks_another_metric(tmp_path, capsys):
    write_log(tmp_path / "seed1", 55.0, f1=44.4)
    assert "* macro_f1: 44.40% +- 0.00%\n" in run(capsys, tmp_path, "--keyword", "macro_f1")[1]


def test_an_unknown_keyword_lists_the_known(tmp_path, capsys):
    write_log(tmp_path / "seed1", 55.0)
    code, _, err = run(capsys, tmp_path, "--keyword", "acuracy")
    assert code == 2 and "accuracy, macro_f1" in err


def test_multi_exp_averages_the_experiments(tmp_path, capsys):
    write_log(tmp_path / "pets/seed1", 80.0)
    write_log(tmp_path / "pets/seed2", 90.0)
    write_log(tmp_path / "cars/seed1", 60.0)
    code, out, _ = run(capsys, tmp_path, "--multi-exp")
    assert code == 0
    assert out.index("cars") < out.index("pets")
    assert out.endswith("Average performance\n* accuracy: 72.50%\n")


def test_a_resumed_run_is_read_from_its_later_log(tmp_path, capsys):
    (tmp_path / "seed1").mkdir()
    (tmp_path / "seed1/log.txt").write_text("epoch [1/2] batch [1/1] loss 1.0\n")
    write_log(tmp_path / "seed1", 70.0, name="log.txt-2026-01-01-00-00-00")
    write_log(tmp_path / "seed1", 71.0, name="log.txt-2026-01-02-00-00-00")
    assert "accuracy: 71.00%. \n" in run(capsys, tmp_path)[1]


def test_log_txt_comes_first(tmp_path, capsys):
    write_log(tmp_path / "seed1", 65.0)
    write_log(tmp_path / "seed1", 70.0, name="log.txt-2026-01-01-00-00-00")
    assert "* accuracy: 65.00% +- 0.00%\n" in run(capsys, tmp_path)[1]


def test_an_unfinished_seed_is_left_out_and_named(tmp_path, capsys):
    write_log(tmp_path / "seed1", 65.0)
    write_log(tmp_path / "seed2")
    (tmp_path / ".hidden").mkdir()
    code, out, err = run(capsys, tmp_path)
    assert code == 0 and "* accuracy: 65.00% +- 0.00%\n" in out
    assert err == f"no result in {tmp_path}/seed2, left out\n"


@pytest.mark.parametrize("flags", [[], ["--multi-exp"]])
def test_an_empty_tree_gets_a_sentence(tmp_path, capsys, flags):
    code, _, err = run(capsys, tmp_path, *flags)
    assert code == 2 and err.startswith("error: ") and str(tmp_path) in err


def test_a_missing_directory_gets_a_sentence(tmp_path, capsys):
    code, _, err = run(capsys, tmp_path / "no")
    assert code == 2 and "There is no directory" in err


def test_a_single_run_points_to_its_parent(tmp_path, capsys):
    write_log(tmp_path / "seed1", 65.0)
    code, _, err = run(capsys, tmp_path / "seed1")
    assert code == 2 and f"its seed directories, {tmp_path}." in err


def test_a_run_under_way_is_told_apart_from_an_empty_tree(tmp_path, capsys):
    write_log(tmp_path / "seed1")
    code, _, err = run(capsys, tmp_path)
    assert code == 2 and "come to a result yet" in err


@pytest.mark.parametrize("broken", ["1e999", "nan", "-inf", "1e", "8..0", "-5", "500", "1_0", "\u0661\u0662"])
def test_a_number_that_is_none_is_no_result(tmp_path, capsys, broken):
    """Nor is the one before it in the log, which was another evaluation's."""
    write_log(tmp_path / "seed1", 65.0)
    write_log(tmp_path / "seed2", 70.0, broken, finish="=> result")
    code, out, err = run(capsys, tmp_path, "--test-log")
    assert code == 2 and "+-" not in out
    assert err == (
        f"error: {tmp_path}/seed2/log.txt says accuracy {broken}%, which is no number from 0 to 100; repeat that "
        "run, or move its directory away.\n"
    )


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="Linux alone has a file that nobody can read")
def test_a_log_that_cannot_be_read(tmp_path, capsys):
    write_log(tmp_path / "seed1", 65.0)
    (tmp_path / "seed2").mkdir()
    (tmp_path / "seed2/log.txt").symlink_to("/proc/self/mem")
    code, _, err = run(capsys, tmp_path)
    assert code == 2 and err.startswith("error: ") and "seed2/log.txt" in err and err.count("\n") == 1


def test_a_stream_that_lacks_a_letter(tmp_path, monkeypatch):
    write_log(tmp_path / "für/seed1", 65.0)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert parse_test_res.main([str(tmp_path / "für")]) == 0
    sys.stdout.flush()
    assert b"f\\xfcr/seed1/log.txt. accuracy: 65.00%" in sys.stdout.buffer.getvalue()
