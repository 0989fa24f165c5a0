"""These names under upstream's module path."""

from dassl.utils.logger import AverageMeter, MetricMeter

__all__ = ["AverageMeter", "MetricMeter"]
