"""Weight files: safetensors in float16, whose metadata says how to rebuild the model and where it came from."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from . import lora, schedules
from .denoiser import Denoiser
from .networks import UNet, UNetConfig
from .recipe import from_dict

FOLDER = Path(__file__).parent.parent / "assets" / "checkpoints"


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def whole(path: Path, write: Callable[[Path], None]) -> None:
    """Call write on a file beside path, then rename: path never holds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def find(name: str | Path) -> Path:
    """The file of a pretrained model's name, or of a path."""
    path = Path(name)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise ValueError(f"no weight file {str(name)!r}")
        return path
    if str(name) not in names():
        raise ValueError(f"unknown model {str(name)!r}; there are {', '.join(names())} (or name a .safetensors file)")
    return FOLDER / f"{name}.safetensors"


def read(name: str | Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Metadata and tensors (float32) of a weight file; ValueError if it is damaged or not one of ours."""
    path = find(name)
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["diffusion101"])
            state = {key: file.get_tensor(key).float() for key in file.keys()}
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is damaged or not a diffusion101 weight file ({error})") from None
    return about, state


def write(path: str | Path, state: dict[str, torch.Tensor], about: dict) -> None:
    """Save tensors in float16 with `about` as JSON metadata."""
    state = {key: value.detach().half().contiguous().cpu() for key, value in state.items()}
    whole(Path(path), lambda beside: save_file(state, beside, metadata={"diffusion101": json.dumps(about)}))


def describe(denoiser: Denoiser) -> dict:
    """What `load` needs to rebuild a Denoiser, besides its weights."""
    return {
        "kind": "denoiser",
        "network": asdict(denoiser.network.config),
        "schedule": denoiser.schedule.spec,
        "predict": denoiser.predict,
    }


def fill(module: nn.Module, state: dict[str, torch.Tensor], name: str | Path) -> nn.Module:
    """Put weights into a module; the first that does not fit is named."""
    own = module.state_dict()
    for key in (*own, *state):
        if key not in own or key not in state or own[key].shape != state[key].shape:
            shapes = [tuple(d[key].shape) if key in d else "nothing" for d in (own, state)]
            raise ValueError(f"{name} does not fit: {key} should be {shapes[0]}, the file has {shapes[1]}")
    module.load_state_dict(state)
    return module


def load(name: str | Path, device: str | torch.device = "cpu") -> Denoiser:
    """A pretrained Denoiser in eval mode, by name from assets/checkpoints or by path; .about holds its metadata."""
    about, state = read(name)
    if about.get("kind") != "denoiser":
        raise ValueError(f"{name} is a {about.get('kind', 'file of unknown kind')}, not a denoiser")
    network = UNet(from_dict(UNetConfig, about["network"]))
    fill(network, state, name)
    denoiser = Denoiser(network, schedules.make(**about["schedule"]), about["predict"])
    denoiser.about = about
    return denoiser.to(device).eval()


def load_lora(denoiser: Denoiser, name: str | Path, scale: float = 1.0, merge: bool = False) -> Denoiser:
    """Put a LoRA file on a model, in place, at `scale` times the trained scale; merge melts it into the weights."""
    about, state = read(name)
    if about.get("kind") != "lora":
        raise ValueError(f"{name} is a {about.get('kind', 'file of unknown kind')}, not a lora")
    lora.load(denoiser.network, state)
    for layer in lora.layers(denoiser.network).values():
        layer.adapters["default"].scale *= scale
    if merge:
        lora.merge(denoiser.network)
    return denoiser.eval()


def warm_start(network: nn.Module, name: str | Path) -> list[str]:
    """Start a network from another's weights (law 3): the keys that are new, and so keep their own birth values."""
    _, state = read(name)
    own = network.state_dict()
    for key, value in state.items():
        if key not in own or own[key].shape != value.shape:
            raise ValueError(f"cannot start from {name}: its {key} {tuple(value.shape)} has no place in this network")
    network.load_state_dict(state, strict=False)
    return [key for key in own if key not in state]
