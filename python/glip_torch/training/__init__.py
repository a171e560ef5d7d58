"""Training: the parts of `python -m glip_torch.train`, in the order of the data flow."""


class TrainingError(RuntimeError):
    """The run cannot begin or go on; the message says why and what to change."""
