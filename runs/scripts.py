"""What the scripts of all methods do: a run of a protocol, the demonstration, or a sweep over seeds with its summary.

scripts/common.sh starts it as `python -m runs.scripts CALLER FOLDER SCRIPT [ARGUMENT ...]`: the caller's directory, and
which script it is. From the environment, everywhere:

  DATA      directory that holds the data sets; not needed for the embedded emojinet and emojinet_mono
  TRAINER   registered name of the method      CFG     file stem in configs/trainers/$TRAINER/
  SHOTS     training images per class (16)     EPOCHS  in place of the yaml's; the runs go to $CFG-ep$EPOCHS
  LOADEP    epoch to evaluate (the last)       OUTPUT  root of all results (output)
  PYTHON    interpreter (python)               CHECKPOINT_FREQ  keep a checkpoint every so many epochs
  SOURCE    where transfer trains (imagenet)   SEEDS, JOBS      of sweep.sh: seeds, and runs at once

Arguments after DATASET and SEED go to train.py: KEY VALUE pairs that override the yaml files.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType

from promptclip.common.console import steady_streams
from promptclip.common.machine import cores
from promptclip.common.names import require
from runs import protocols
from runs.child import tied_to_parent
from runs.command_line import RESUMABLE
from runs.protocols import (
    TEST_JOINT,
    TEST_NEW,
    TRAIN_BASE,
    Setting,
    Step,
    config_name,
    is_embedded,
    keep_last_checkpoint,
)

# Folder of scripts: its trainers, the first one unless TRAINER says otherwise, with their configurations on the field's
# data sets; transfer and few-shot learning have the usual one unless theirs is named.
FOLDERS = {
    "clip_adapter": {"CLIP_Adapter": {"default": "vit_b16_ep200_batch32"}},
    "clip_lora": {"CLIP_LoRA": {"default": "vit_b16_steps500_batch32"}},
    "coprompt": {"CoPrompt": {"default": "vit_b16_c2_ep8_batch4"}},
    "dept": {
        "DePT_CoOp": {"default": "vit_b16_c16_ep10_batch4"},
        "DePT_MaPLe": {"default": "vit_b16_c2_ep10_batch4"},
        "DePT_RESTORE_m": {"default": "vit_b16_c2_ep10_batch4"},
    },
    "lp_plus": {"LPpp": {"default": "vit_b16"}},
    "mma": {"MMA": {"default": "vit_b16_ep5_batch16"}},
    "mmrl": {
        "MMRL": {
            "default": "vit_b16_ep10_batch4",
            "transfer": "vit_b16_ep1_batch32_cross_datasets",
            "fewshot": "vit_b16_ep50_batch32_few_shot",
        }
    },
    "taskres": {"TaskRes": {"default": "vit_b16_ep200_batch256"}},
    "tcp": {"TCP": {"default": "vit_b16_ep50_batch32"}},
    "tip_adapter": {"TipAdapter": {"default": "vit_b16"}, "TipAdapter_F": {"default": "vit_b16_ep20_batch256"}},
    "two_stage": {"TwoStage": {"default": "vit_b16_steps300_batch32"}},
    "cocoop": {"CoCoOp": {"default": "vit_b16_c4_ep10_batch1_ctxv1"}},
    "coop": {"CoOp": {"default": "vit_b16_ep50"}},
    "ivlp": {"IVLP": {"default": "vit_b16_c2_ep5_batch4_2+2ctx"}},
    "kgcoop": {"KgCoOp": {"default": "vit_b16_ep10_batch4_ctxv1"}},
    "lpt": {"LPT": {"default": "vit_b16_c4_ep5_batch4_4ctx"}},
    "maple": {"MaPLe": {"default": "vit_b16_c2_ep5_batch4_2ctx", "transfer": "vit_b16_c2_ep2_batch4_cross_datasets"}},
    "prograd": {"ProGrad": {"default": "vit_b16_ep10_batch4"}},
    "promptsrc": {
        "PromptSRC": {
            "default": "vit_b16_c2_ep20_batch4_4+4ctx",
            "transfer": "vit_b16_c2_ep20_batch4_4+4ctx_cross_datasets",
            "fewshot": "vit_b16_c2_ep50_batch4_4+4ctx_few_shot",
        }
    },
    "restore": {
        "RESTORE_m": {"default": "vit_b16_c2_ep10_batch4", "transfer": "vit_b16_c2_ep4_batch4_cross_datasets"},
        "RESTORE_p": {"default": "vit_b16_c4_ep10_batch4", "transfer": "vit_b16_c4_ep4_batch4_cross_datasets"},
    },
    "vpt": {"VPT": {"default": "vit_b16_c8_ep5_batch4_8ctx"}},
    "zsclip": {"ZeroshotCLIP": {"default": "vit_b16"}, "ZeroshotCLIP2": {"default": "vit_b16"}},
}


class Script:
    """One call of a script; a method each for the scripts of scripts/<folder>/, by their names.

    Args:
        caller: directory that relative paths are taken from.
        folder: which method's scripts.
        environment: the variables listed above; empty ones count as not set.

    Raises:
        ValueError: for settings that cannot be right, with the fix.
        SystemExit: with the code of a run that did not end well, 128 and more for a signal as in a shell.
    """

    def __init__(self, caller: str, folder: str, environment: Mapping[str, str]):
        self.environment = {key: value for key, value in environment.items() if value}
        self.defaults = FOLDERS[folder]
        self.trainer = self.environment.get("TRAINER", next(iter(self.defaults)))
        self.python = self.environment.get("PYTHON", sys.executable)
        self.root = path_of(self.environment.get("DATA", ""), caller)
        output = self.environment.get("OUTPUT", "output")
        self.output = output if output == "output" else path_of(output, caller)
        self.commands = Commands()

    # ---- scripts ----

    def base2new_train(self, *arguments: str) -> None:
        """[DATASET] [SEED] [KEY VALUE ...]: train on the first half of the classes; alone, the demonstration."""
        if not arguments:
            self.demonstration()
        else:
            self.train(TRAIN_BASE, self.setting(*arguments))

    def base2new_test(self, *arguments: str) -> None:
        """[DATASET] [SEED] [KEY VALUE ...]: evaluate that training on the other half of the classes."""
        setting = self.setting(*arguments)
        self.evaluate(TEST_NEW, setting, setting.directory(TRAIN_BASE))

    def base2new_test_all(self, *arguments: str) -> None:
        """[DATASET] [SEED] [KEY VALUE ...]: evaluate that training on base and new classes together."""
        setting = self.setting(*arguments)
        self.evaluate(TEST_JOINT, setting, setting.directory(TRAIN_BASE))

    def fewshot(self, *arguments: str) -> None:
        """[DATASET] [SEED] [KEY VALUE ...]: train and test on all classes, for every number of shots in SHOTS."""
        for shots in self.environment.get("SHOTS", "1 2 4 8 16").split():
            setting = self.setting(*arguments, shots=shots, protocol="fewshot")
            title = f"{self.trainer}, {setting.dataset}, {shots} shots, seed {setting.seed}"
            self.train(protocols.TRAIN_ALL, setting, title)

    def xd_train(self, *arguments: str) -> None:
        """[DATASET] [SEED] [KEY VALUE ...]: train on all classes of a source data set, SOURCE or imagenet."""
        source = self.environment.get("SOURCE", "imagenet")
        self.train(protocols.TRAIN_SOURCE, self.setting(*(arguments or [source]), protocol="transfer"))

    def xd_test(self, *arguments: str) -> None:
        """DATASET [SEED] [KEY VALUE ...]: evaluate that training on another data set."""
        if not arguments:
            raise ValueError("the arguments are DATASET [SEED]: what to evaluate the training on SOURCE (imagenet) on")
        setting = self.setting(*arguments, protocol="transfer")
        source = replace(setting, dataset=self.environment.get("SOURCE", protocols.default_source(setting.dataset)))
        self.evaluate(protocols.TEST_TARGET, setting, source.directory(protocols.TRAIN_SOURCE))

    def zero_shot_base2new(self, dataset: str = "emojinet", *options: str) -> None:
        """[DATASET] [KEY VALUE ...]: evaluate on either half of the classes what learns nothing."""
        for step in (protocols.ZERO_SHOT_BASE, protocols.ZERO_SHOT_NEW):
            self.evaluate(step, self.setting(dataset, "1", *options))

    def zero_shot_joint(self, dataset: str = "emojinet", *options: str) -> None:
        """[DATASET] [KEY VALUE ...]: evaluate on base and new classes together what learns nothing."""
        self.evaluate(protocols.ZERO_SHOT_JOINT, self.setting(dataset, "1", *options))

    def zero_shot(self, dataset: str = "emojinet", *options: str) -> None:
        """[DATASET] [KEY VALUE ...]: evaluate on all classes what learns nothing."""
        self.evaluate(protocols.ZERO_SHOT_ALL, self.setting(dataset, "1", *options))

    def sweep(self, dataset: str = "emojinet", *options: str) -> None:
        """[DATASET] [KEY VALUE ...]: SEEDS (1 2 3) by EPOCHS (a list; else the yaml's), then the mean over seeds.

        sweep.py does JOBS runs at once; an empty tag leaves the results where the other scripts look for them.
        """
        if "LOADEP" in self.environment:
            raise ValueError("LOADEP is for base2new_test.sh; a sweep evaluates the last epoch")
        if len(options) % 2:
            raise ValueError(f"{options[-1]} stands alone; the arguments after DATASET are KEY VALUE pairs")
        seeds, epochs = self.environment.get("SEEDS", "1 2 3").split(), self.environment.pop("EPOCHS", "").split()
        setting = self.setting(dataset)
        words = ["--python", self.python, "--root", self.root, "--output", self.output]
        if jobs := self.number("JOBS"):
            words += ["--jobs", str(jobs)]
        words += [f"name={self.trainer}-{dataset}", f"trainers={self.trainer}", f"configs={setting.config}"]
        words += [f"datasets={dataset}", f"shots={setting.shots}", "tag=", f"seeds=[{','.join(seeds)}]"]
        words += [f"epochs=[{','.join(epochs) or 'null'}]"]
        words += [f"{key}={value}" for key, value in zip(options[::2], options[1::2], strict=True)]
        if frequency := self.number("CHECKPOINT_FREQ"):
            words += [f"TRAIN.CHECKPOINT_FREQ={frequency}"]
        self.python_runs("sweep.py", "base2new", *words)
        for count in [int(text) for text in epochs] or [None]:
            done = replace(setting, config=config_name(setting.config, count))
            for step, flags in ((TRAIN_BASE, ()), (TEST_NEW, ("--test-log",))):
                runs = os.path.dirname(done.directory(step))
                if reason := unsupported(runs):
                    print(f"Nothing to summarise in {runs}: {reason}")
                else:
                    self.python_runs("parse_test_res.py", runs, *flags)

    def demonstration(self) -> None:
        """The method against zero-shot CLIP on the embedded benchmark: seeds 1 to 3, one table.

        sweep.py does the three seeds at once where there is more than one core.
        """
        print(f"{self.trainer} on EmojiNet: train on its base classes, test on base and on new ones.")
        print("Finished runs are kept: interrupt it when you like, the same command resumes.\n")
        if "LOADEP" in self.environment:
            raise ValueError("LOADEP is for base2new_test.sh; the demonstration evaluates the last epoch")
        setting = self.setting("emojinet")
        rows: list[dict[str, object]] = [{"trainer": "ZeroshotCLIP", "label": "zero-shot CLIP"}]
        if self.trainer != "ZeroshotCLIP":
            rows.append({"trainer": self.trainer, "configs": Path(setting.config_file).stem, "shots": setting.shots})
            rows[-1] |= {"epochs": setting.epochs} if setting.epochs else {}
        words = ["--python", self.python, "--output", self.output, "--jobs", str(min(3, 2 * cores() - 1))]
        words += [f"name=demonstration-{self.trainer}", "datasets=emojinet", "seeds=[1,2,3]", "tag="]
        words += [f"rows={json.dumps(rows)}"]
        if frequency := self.number("CHECKPOINT_FREQ"):
            words += [f"TRAIN.CHECKPOINT_FREQ={frequency}"]
        self.python_runs("sweep.py", "base2new", *words)
        print(f"\nLogs: {self.output}/base2new/*/emojinet/*/*/*/seed*/log.txt")

    # ---- what they share ----

    def setting(
        self,
        dataset: str = "emojinet",
        seed: str = "1",
        *options: str,
        shots: str | None = None,
        protocol: str = "default",
    ) -> Setting:
        """The setting that arguments and environment ask for. Raises ValueError with what is missing."""
        config = self.environment.get("CFG")
        if not config and is_embedded(dataset):
            config = protocols.EMBEDDED_CONFIG
        elif not config and self.trainer in self.defaults:
            known = self.defaults[self.trainer]
            config = known.get(protocol, known["default"])
        if not config:
            there = ", ".join(sorted(file.name for file in Path("configs/trainers", self.trainer).glob("*.yaml")))
            raise ValueError(f"set CFG to the configuration of {self.trainer}, one of: {there}")
        if not re.fullmatch(r"-?[0-9]+", seed):
            raise ValueError(f"SEED must be a whole number, not {seed}; the arguments are DATASET SEED")
        if not self.root and not is_embedded(dataset):
            raise ValueError(
                f"set DATA to the directory that holds {dataset}, as in DATA=/data; only emojinet and emojinet_mono "
                "are embedded"
            )
        if is_embedded(dataset):
            os.environ["OMP_NUM_THREADS"] = self.environment.get("OMP_NUM_THREADS", "1")  # a second would only wait
        epochs = self.number("EPOCHS")
        return Setting(
            output=self.output,
            root=protocols.data_root(self.root, dataset),
            trainer=self.trainer,
            config=config_name(config, epochs),
            config_file=f"configs/trainers/{self.trainer}/{config}.yaml",
            dataset=dataset,
            dataset_file=f"configs/datasets/{dataset}.yaml",
            shots=self.number("SHOTS", shots) or 16,
            seed=int(seed),
            epochs=epochs,
            options=options,
        )

    def number(self, name: str, text: str | None = None) -> int | None:
        """A whole number from the environment; None if it is not set. Raises ValueError if it is none."""
        text = text or self.environment.get(name)
        if text and not re.fullmatch(r"-?[0-9]+", text):
            raise ValueError(f"{name} must be a whole number, not {text}")
        return int(text) if text else None

    def train(self, step: Step, setting: Setting, title: str = "") -> None:
        """Train; of a finished training's checkpoints only the last is left, unless CHECKPOINT_FREQ asked for more."""
        frequency = self.number("CHECKPOINT_FREQ")
        self.run(setting.command(step, keep_every=frequency or 1), setting.directory(step), title)
        if not frequency:
            directory = setting.directory(step)
            keep_last_checkpoint(directory, last_epoch(directory, setting.config_file))

    def evaluate(self, step: Step, setting: Setting, trained: str | None = None, title: str = "") -> None:
        """Evaluate a training's checkpoint: that of LOADEP, else the last."""
        checkpoint = None
        if trained:
            epoch = self.number("LOADEP") or setting.epochs or last_epoch(trained, setting.config_file)
            checkpoint = trained, epoch
        self.run(setting.command(step, checkpoint), setting.directory(step), title)

    def run(self, command: list[str], directory: str, title: str) -> None:
        """One run of train.py; with `title` its output is left to log.txt, and one line says what came of it."""
        if not title:
            self.python_runs(*command)
            return
        record = Path(directory, "metrics.json")
        before, began = read(record), time.monotonic()
        print(f"{title:<44}", end="", flush=True)
        try:
            self.python_runs(*command, quiet=True)
        except SystemExit:
            print()
            raise
        content = read(record)
        took = "done before" if content == before else f"{time.monotonic() - began:.0f} s"
        found = json.loads(content)
        result = "not possible" if found.get("unsupported") else f"{found.get('accuracy') or 0:6.1f} %"
        print(f"{result}  {took:>12}", flush=True)

    def python_runs(self, *arguments: str, quiet: bool = False) -> None:
        """Run Python's `arguments` to their end. Raises SystemExit with a code other than 0."""
        sys.stdout.flush()
        code = self.commands.run([self.python, *arguments], quiet)
        if code:
            raise SystemExit(code)


class Commands:
    """Runs one command after the other, and hands SIGTERM and SIGINT on to the one that is running.

    It saves, stops, and ends with code 75, and so does the script.
    """

    def __init__(self) -> None:
        self._running: subprocess.Popen | None = None
        self._stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def run(self, command: list[str], quiet: bool) -> int:
        """The command's exit code, 128 + n after signal n."""
        if self._stopping:
            return RESUMABLE
        output = subprocess.DEVNULL if quiet else None
        self._running = subprocess.Popen(tied_to_parent(command), stdin=subprocess.DEVNULL, stdout=output)
        if self._stopping:  # the signal came while it was started
            self._running.terminate()
        code = self._running.wait()
        self._running = None
        return code if code >= 0 else 128 - code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        if self._running:
            self._running.terminate()


def read(record: Path) -> str:
    """The text of a record; that of an empty one where there is none."""
    return record.read_text(encoding="utf-8") if record.is_file() else "{}"


def unsupported(runs: str) -> str:
    """Why the method cannot do what the runs below a directory were to do, as the first of them says; "" if it can."""
    records = (json.loads(read(file)) for file in sorted(Path(runs).glob("seed*/metrics.json")))
    return next((str(record["unsupported"]) for record in records if record.get("unsupported")), "")


def path_of(text: str, caller: str) -> str:
    """A path as the caller means it; nothing stays nothing."""
    return os.path.join(caller, os.path.expanduser(text)) if text else ""


def last_epoch(directory: str, config_file: str) -> int:
    """How many epochs the run in `directory` trains: by its own config.yaml, or the method's. Raises ValueError."""
    from promptclip.common.yaml_file import read_yaml  # only now: yaml is not there before `require` has looked

    file = Path(directory, "config.yaml")
    first = file = file if file.is_file() else Path(config_file)
    for _ in range(10):  # files that name others as BASE
        content = read_yaml(file) if file.is_file() else None
        content = content if isinstance(content, dict) else {}
        epochs = (content.get("OPTIM") or {}).get("MAX_EPOCH")
        if isinstance(epochs, int):
            return epochs
        file = file.parent / str(content.get("BASE", ""))
    raise ValueError(f"{first} names no MAX_EPOCH; set LOADEP to the epoch of the checkpoint")


def main(argv: list[str]) -> int:
    """Do what a script was called for; the exit code."""
    caller, folder, name, *arguments = argv
    with steady_streams():
        try:
            require("torch", "torchvision", "clip", "dassl", "yacs", "tabulate")
            getattr(Script(caller, folder, os.environ), name)(*arguments)
        except (ValueError, OSError, ImportError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
