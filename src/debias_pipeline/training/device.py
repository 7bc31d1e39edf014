"""Where training computes."""

import torch

from debias_pipeline.errors import UserError


def choose_device(name: str) -> torch.device:
    """The device of a `device` parameter: auto, cpu, cuda or mps.

    Raises:
        UserError: if the device asked for is not there.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(each for each, there in present.items() if there))
    if not present[name]:
        raise UserError(
            f"device={name} is not available on this machine: use device=auto or device=cpu"
        )
    return torch.device(name)
