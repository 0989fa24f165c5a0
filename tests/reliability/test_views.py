"""Features of augmented views are made anew by a run that resumes, and are the same."""

import small_run
from dassl.utils import load_checkpoint


def test_a_run_killed_on_cached_views_goes_on_as_if_undisturbed(command, tmp_path):
    words = ["TaskRes" if word == "RESTORE_p" else word for word in command]
    options = ["TRAINER.TASKRES.VIEWS", "3", "TRAINER.TASKRES.PREC", "fp32", "TRAIN.CHECKPOINT_FREQ", "1"]
    ends = {}
    for name, setup in (("whole", None), ("killed", small_run.KillAt("replace", 3)), ("killed", None)):
        argv = [*words, "--output-dir", str(tmp_path / name), *options]
        code, text = small_run.run(argv, tmp_path / f"{name}.txt", setup)
        assert (code == 0) == (setup is None), text
        ends[name] = small_run.epoch_lines(tmp_path / name)
        assert "of 3 views of 15 images" in text
    assert ends["whole"] == ends["killed"] and len(ends["whole"]) == 12
    states = [
        load_checkpoint(str(tmp_path / name / "prompt_learner" / "model.pth.tar-4"))["state_dict"] for name in ends
    ]
    assert small_run.equal(*states)
