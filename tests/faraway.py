"""A stand-in for a GPU: PyTorch's meta device has no values, so code that waits for one fails."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class NoFloat64(TorchDispatchMode):
    """While it is on, a float64 tensor on the meta device is an error: mps has none either."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            meta = isinstance(tensor, torch.Tensor) and tensor.device.type == "meta"
            assert not meta or tensor.dtype != torch.float64, f"{function} made a float64 tensor on the device"
        return out
