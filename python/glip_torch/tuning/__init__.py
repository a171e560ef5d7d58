"""Tuning a GLIP on data of one's own: the parts of `python -m glip_torch.tune`, in the order of the data flow."""


class TuningError(ValueError):
    """The data, the prompt or the settings cannot be tuned with; the message says what to change."""
