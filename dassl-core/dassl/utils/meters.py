"""Upstream's place of these names."""

from dassl.utils.logger import AverageMeter, MetricMeter

__all__ = ["AverageMeter", "MetricMeter"]
