"""A teacher that labels captions: the parts of `python -m glip_torch.teach`, in the order of the data flow."""


class TeachingError(RuntimeError):
    """Labelling cannot begin or go on; the message says why and what to change."""
