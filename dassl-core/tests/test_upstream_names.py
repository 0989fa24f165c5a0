"""What public code imports from upstream Dassl is there, under the module paths it uses."""

import importlib

import pytest

NAMES = {
    "dassl.config": "get_cfg_default clean_cfg",
    "dassl.config.defaults": "CN",
    "dassl.data": "DataManager DatasetWrapper",
    "dassl.data.data_manager": "DataManager DatasetWrapper build_data_loader build_dataset build_sampler "
    "build_transform",
    "dassl.data.datasets": "DATASET_REGISTRY build_dataset Datum DatasetBase",
    "dassl.data.datasets.base_dataset": "Datum DatasetBase",
    "dassl.data.datasets.build": "DATASET_REGISTRY build_dataset",
    "dassl.data.samplers": "build_sampler RandomDomainSampler SeqDomainSampler RandomClassSampler RandomSampler "
    "SequentialSampler",
    "dassl.data.transforms": "build_transform INTERPOLATION_MODES",
    "dassl.data.transforms.transforms": "build_transform Random2DTranslation InstanceNormalization Cutout "
    "GaussianNoise",
    "dassl.engine": "TRAINER_REGISTRY build_trainer TrainerBase SimpleTrainer TrainerX TrainerXU SimpleNet",
    "dassl.engine.build": "TRAINER_REGISTRY build_trainer",
    "dassl.engine.trainer": "TrainerBase SimpleTrainer TrainerX TrainerXU SimpleNet",
    "dassl.evaluation": "build_evaluator EVALUATOR_REGISTRY EvaluatorBase Classification",
    "dassl.evaluation.build": "EVALUATOR_REGISTRY build_evaluator",
    "dassl.evaluation.evaluator": "EvaluatorBase Classification",
    "dassl.metrics": "compute_accuracy",
    "dassl.metrics.accuracy": "compute_accuracy",
    "dassl.modeling": "build_backbone build_head Backbone BACKBONE_REGISTRY HEAD_REGISTRY",
    "dassl.modeling.backbone": "BACKBONE_REGISTRY Backbone build_backbone",
    "dassl.modeling.ops": "ReverseGrad mixup cross_entropy Sequential2 MixStyle run_with_mixstyle TransNorm1d",
    "dassl.modeling.ops.utils": "sharpen_prob create_onehot shuffle_index sigmoid_rampup linear_rampup "
    "ema_model_update",
    "dassl.optim": "build_optimizer build_lr_scheduler",
    "dassl.optim.lr_scheduler": "build_lr_scheduler ConstantWarmupScheduler LinearWarmupScheduler CosineAnnealingLR",
    "dassl.optim.optimizer": "build_optimizer",
    "dassl.optim.radam": "RAdam PlainRAdam",
    "dassl.utils": "setup_logger set_random_seed collect_env_info mkdir_if_missing check_isfile read_json write_json "
    "read_image listdir_nohidden tolist_if_not check_availability load_checkpoint save_checkpoint "
    "resume_from_checkpoint load_pretrained_weights count_num_param MetricMeter AverageMeter Registry Logger "
    "download_url open_all_layers open_specified_layers init_network_weights",
    "dassl.utils.logger": "Logger setup_logger",
    "dassl.utils.meters": "AverageMeter MetricMeter",
    "dassl.utils.registry": "Registry",
    "dassl.utils.tools": "mkdir_if_missing check_isfile read_json write_json set_random_seed download_url read_image "
    "collect_env_info listdir_nohidden get_most_similar_str_to_a_from_b check_availability tolist_if_not",
    "dassl.utils.torchtools": "save_checkpoint load_checkpoint resume_from_checkpoint open_all_layers "
    "open_specified_layers count_num_param load_pretrained_weights init_network_weights partial",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_and_paths(module):
    imported = importlib.import_module(module)
    for name in NAMES[module].split():
        assert callable(getattr(imported, name)) or name.isupper(), name


def test_every_path_leads_to_the_same_object():
    found = {}
    for module, names in NAMES.items():
        for name in names.split():
            if module != "dassl.modeling.ops":
                found.setdefault(name, set()).add(id(getattr(importlib.import_module(module), name)))
    assert {name for name, objects in found.items() if len(objects) > 1} == set()
