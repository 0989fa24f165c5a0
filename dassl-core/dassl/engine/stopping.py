"""Stopping a training on request, after the step it is in, without losing that step."""


class Stopped(KeyboardInterrupt):
    """Raised where a trainer whose `stop_requested` was set can stop with everything saved."""
