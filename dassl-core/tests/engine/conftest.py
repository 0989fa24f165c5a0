"""Code written in the style of CoOp: data set, trainers, the steps of its train.py.

Nothing here may use more than the names and habits that such code uses.
"""

import copy
import os.path as osp
import pickle
from collections import OrderedDict

import pytest
import torch
import torch.nn as nn
from dassl.config import clean_cfg, get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX, build_trainer
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    collect_env_info,
    listdir_nohidden,
    load_checkpoint,
    load_pretrained_weights,
    mkdir_if_missing,
    read_json,
    set_random_seed,
    setup_logger,
    write_json,
)
from torch.nn import functional as F
from yacs.config import CfgNode as CN

WIDTH = 16


@DATASET_REGISTRY.register(force=True)
class ToyPets(DatasetBase):
    """A split file that is written once, a few-shot cache that is a pickle, base and new classes."""

    dataset_dir = "pets"

    def __init__(self, cfg):
        root = osp.abspath(osp.expanduser(cfg.DATASET.ROOT))
        self.image_dir = root
        self.cache_dir = osp.join(cfg.CACHE, self.dataset_dir)
        mkdir_if_missing(self.cache_dir)
        split_path = osp.join(self.cache_dir, "split_zhou_ToyPets.json")
        if osp.exists(split_path):
            split = read_json(split_path)
        else:
            split = self.make_split()
            write_json(split, split_path)
        train, val, test = (
            [Datum(impath=osp.join(root, name), label=int(label), classname=c) for name, label, c in split[part]]
            for part in ("train", "val", "test")
        )
        shots, seed = cfg.DATASET.NUM_SHOTS, cfg.SEED
        if shots >= 1:
            cache = osp.join(self.cache_dir, f"shot_{shots}-seed_{seed}.pkl")
            if osp.exists(cache):
                with open(cache, "rb") as file:
                    data = pickle.load(file)
                    train, val = data["train"], data["val"]
            else:
                train = self.generate_fewshot_dataset(train, num_shots=shots)
                val = self.generate_fewshot_dataset(val, num_shots=min(shots, 4))
                with open(cache, "wb") as file:
                    pickle.dump({"train": train, "val": val}, file, protocol=pickle.HIGHEST_PROTOCOL)
        train, val, test = self.subsample_classes(train, val, test, subsample=cfg.DATASET.SUBSAMPLE_CLASSES)
        super().__init__(train_x=train, val=val, test=test)

    def make_split(self):
        names = ["ant", "bee", "cat"]
        split = {"train": [], "val": [], "test": []}
        for file in listdir_nohidden(self.image_dir, sort=True):
            label, number = map(int, file[:-4].split("_"))
            part = "train" if number < 8 else "val" if number < 10 else "test"
            split[part].append((file, label, names[label]))
        return split

    @staticmethod
    def subsample_classes(*args, subsample="all"):
        if subsample == "all":
            return args
        labels = sorted({item.label for item in args[0]})
        m = -(-len(labels) // 2)
        selected = labels[:m] if subsample == "base" else labels[m:]
        relabel = {y: new for new, y in enumerate(selected)}
        return [
            [
                Datum(impath=item.impath, label=relabel[item.label], classname=item.classname)
                for item in dataset
                if item.label in selected
            ]
            for dataset in args
        ]


class PromptLearner(nn.Module):
    """A context shared by all classes, and fixed vectors of the class names, which the checkpoint carries along."""

    def __init__(self, cfg, classnames):
        super().__init__()
        self.ctx = nn.Parameter(torch.randn(WIDTH) * 0.02)
        fixed = []
        for name in classnames:
            generator = torch.Generator().manual_seed(sum(map(ord, name)))
            fixed.append(torch.randn(WIDTH, generator=generator))
        self.register_buffer("token_prefix", torch.stack(fixed))
        self.register_buffer("token_suffix", torch.stack(fixed) * 0.5)

    def forward(self):
        return self.token_prefix + self.token_suffix + self.ctx


class CustomCLIP(nn.Module):
    """A frozen image encoder against the prompts."""

    def __init__(self, cfg, classnames):
        super().__init__()
        self.prompt_learner = PromptLearner(cfg, classnames)
        self.image_encoder = nn.Linear(3 * 8 * 8, WIDTH)
        generator = torch.Generator().manual_seed(0)
        self.image_encoder.weight.data = torch.randn(WIDTH, 192, generator=generator) * 0.1

    def forward(self, image):
        return (
            F.normalize(self.image_encoder(image.flatten(1)), dim=-1) @ F.normalize(self.prompt_learner(), dim=-1).t()
        )


@TRAINER_REGISTRY.register(force=True)
class ToyCoOp(TrainerX):
    """Only the prompt learner is optimised and saved."""

    def check_cfg(self, cfg):
        assert cfg.TRAINER.COOP.PREC in ["fp16", "fp32", "amp"]

    def build_model(self):
        cfg = self.cfg
        classnames = self.dm.dataset.classnames
        print("Building custom CLIP")
        self.model = CustomCLIP(cfg, classnames)
        print("Turning off gradients in both the image and the text encoder")
        for name, param in self.model.named_parameters():
            if "prompt_learner" not in name:
                param.requires_grad_(False)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model.prompt_learner, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        self.optim = build_optimizer(self.model.prompt_learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", self.model.prompt_learner, self.optim, self.sched)
        self.scaler = torch.amp.GradScaler("cpu") if cfg.TRAINER.COOP.PREC == "amp" else None
        if torch.cuda.device_count() > 1:
            self.model = nn.DataParallel(self.model)

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        if self.cfg.TRAINER.COOP.PREC == "amp":
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                output = self.model(image)
                loss = F.cross_entropy(output, label)
            self.optim.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optim)
            self.scaler.update()
        else:
            output = self.model(image)
            loss = F.cross_entropy(output * 10, label)
            self.model_backward_and_update(loss)
        loss_summary = {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return loss_summary

    def parse_batch_train(self, batch):
        input = batch["img"]
        label = batch["label"]
        return input.to(self.device), label.to(self.device)

    def load_model(self, directory, epoch=None):
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        names = self.get_model_names()
        model_file = "model-best.pth.tar"
        if epoch is not None:
            model_file = "model.pth.tar-" + str(epoch)
        for name in names:
            model_path = osp.join(directory, name, model_file)
            if not osp.exists(model_path):
                raise FileNotFoundError(f'Model not found at "{model_path}"')
            checkpoint = load_checkpoint(model_path)
            state_dict = checkpoint["state_dict"]
            epoch = checkpoint["epoch"]
            if "token_prefix" in state_dict:
                del state_dict["token_prefix"]
            if "token_suffix" in state_dict:
                del state_dict["token_suffix"]
            print(f'Loading weights to {name} from "{model_path}" (epoch = {epoch})')
            self._models[name].load_state_dict(state_dict, strict=False)


@TRAINER_REGISTRY.register(force=True)
class ToyPromptSRC(ToyCoOp):
    """The whole model is optimised and saved; after the last epoch it becomes the mean of its states."""

    def build_model(self):
        self.model = CustomCLIP(self.cfg, self.dm.dataset.classnames)
        self.model.image_encoder.requires_grad_(False)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("VLPromptLearner", self.model, self.optim, self.sched)
        self.scaler = None
        self.step_counter = 1
        self.average = None

    def forward_backward(self, batch):
        summary = super().forward_backward(batch)
        if (self.batch_idx + 1) == self.num_batches:
            self.step_counter += 1
            state = copy.deepcopy(self.model.state_dict())
            share = 1 / self.max_epoch
            if self.average is None:
                self.average = OrderedDict((k, v * share) for k, v in state.items())
            else:
                self.average = OrderedDict((k, v + state[k] * share) for k, v in self.average.items())
        if self.step_counter == self.max_epoch + 1:
            self.model.load_state_dict(self.average)
        return summary


@TRAINER_REGISTRY.register(force=True)
class ToyZeroshot(TrainerX):
    """Registers no model at all."""

    def build_model(self):
        self.clip_model = CustomCLIP(self.cfg, self.dm.dataset.classnames).to(self.device)

    def model_inference(self, image):
        return self.clip_model(image)


def main(image_root, cache, output_dir, trainer, *opts, seed=1, model_dir="", load_epoch=None, eval_only=False):
    """Do what CoOp's train.py does and return the trainer."""
    cfg = get_cfg_default()
    cfg.TRAINER.COOP = CN()
    cfg.TRAINER.COOP.N_CTX = 16
    cfg.TRAINER.COOP.PREC = "fp16"
    cfg.TRAINER.MAPLE = CN()
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.CACHE = str(cache)
    config = osp.join(str(cache), "coop_style.yaml")
    with open(config, "w") as f:
        f.write(
            "DATALOADER:\n  TRAIN_X:\n    BATCH_SIZE: 4\n  TEST:\n    BATCH_SIZE: 100\n  NUM_WORKERS: 0\n"
            "INPUT:\n  SIZE: (8, 8)\n  INTERPOLATION: 'bicubic'\n  PIXEL_MEAN: [0.5, 0.5, 0.5]\n"
            "  PIXEL_STD: [0.25, 0.25, 0.25]\n  TRANSFORMS: ['random_resized_crop', 'random_flip', 'normalize']\n"
            "OPTIM:\n  NAME: 'sgd'\n  LR: 0.05\n  MAX_EPOCH: 4\n  LR_SCHEDULER: 'cosine'\n  WARMUP_EPOCH: 1\n"
            "  WARMUP_TYPE: 'constant'\n  WARMUP_CONS_LR: 1e-5\nTRAIN:\n  PRINT_FREQ: 5\n"
            "MODEL:\n  BACKBONE:\n    NAME: 'ViT-B/16'\n"
        )
    cfg.merge_from_file(config)
    cfg.DATASET.ROOT, cfg.DATASET.NAME = str(image_root), "ToyPets"
    cfg.OUTPUT_DIR, cfg.SEED, cfg.TRAINER.NAME = str(output_dir), seed, trainer
    cfg.merge_from_list(list(opts))
    clean_cfg(cfg, "CoOp")
    cfg.freeze()
    if cfg.SEED >= 0:
        set_random_seed(cfg.SEED)
    setup_logger(cfg.OUTPUT_DIR)
    print(cfg)
    print(f"** System info **\n{collect_env_info()}\n")
    built = build_trainer(cfg)
    if eval_only:
        built.load_model(model_dir, epoch=load_epoch)
        built.test()
        return built
    built.train()
    return built


@pytest.fixture
def run_coop_style(image_root, tmp_path):
    """Return main() on the toy images, with its caches and its outputs below tmp_path."""

    def run(name, trainer, *opts, **arguments):
        return main(image_root, tmp_path, tmp_path / name, trainer, *opts, **arguments)

    return run
