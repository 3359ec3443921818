"""Weight files: safetensors in float16, whose metadata says how to rebuild the model and where it came from."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from . import lora
from .core import schedules
from .core.denoiser import Denoiser
from .core.process import PREDICTIONS
from .networks import UNet, UNetConfig
from .reading import STRICT
from .reading import read as parse
from .writing import whole

_HERE = Path(__file__).parent
FOLDER = next(f for f in (_HERE / "weights", _HERE.parent / "assets" / "checkpoints") if f.is_dir())  # wheel, clone
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Description:
    """What a denoiser's metadata must say to build it again."""

    network: UNetConfig
    schedule: dict[str, Any]
    predict: Literal[tuple(PREDICTIONS)]

    __pydantic_config__ = STRICT


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def kept(kind: str) -> dict[str, dict[str, Any]]:
    """The metadata of the pretrained weight files of a kind, by name."""
    found = {}
    for name in names():
        with suppress(ValueError):  # of another kind
            found[name] = read(name, kind)[0]
    return found


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


def read(name: str | Path, kind: str) -> tuple[dict, dict[str, Tensor]]:
    """Metadata and tensors (float32) of a weight file of this kind; ValueError if it is damaged or not one of ours."""
    path = find(name)
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["diffusion101"])
            found = about.get("kind") if isinstance(about, dict) else None
            mine = found == kind
            state = {key: file.get_tensor(key) for key in file.keys()} if mine else {}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path.name} is damaged or not a diffusion101 weight file ({error})") from None
    if not mine:
        what = found[:50] if isinstance(found, str) else "file of unknown kind"
        raise ValueError(f"{path.name} is a {what}, not a {kind}")
    bad = [key for key, value in state.items() if not (value.dtype in FLOATS and value.isfinite().all())]
    if bad:
        raise ValueError(f"{path.name} is damaged: {bad[0]} holds values that are not finite numbers")
    about["fingerprint"] = _fingerprint(state)
    return about, {key: value.float() for key, value in state.items()}


def write(path: str | Path, state: dict[str, Tensor], about: dict) -> None:
    """Save tensors in float16 with `about` as JSON metadata."""
    state = {key: value.detach().half().contiguous().cpu() for key, value in state.items()}
    whole(Path(path), lambda beside: save_file(state, beside, metadata={"diffusion101": json.dumps(about)}))


def _fingerprint(state: dict[str, Tensor]) -> str:
    """The same for the same tensors, whatever the metadata says."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + state[key].half().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def fingerprint(name: str | Path) -> dict[str, str]:
    """A denoiser's name and what tells its weights from any others of the same shape."""
    return {"name": Path(name).stem, "fingerprint": read(name, "denoiser")[0]["fingerprint"]}


def origin(name: str | Path) -> dict[str, Any]:
    """A denoiser's fingerprint, and how many images it has seen, those of the weights it started from included."""
    about, _ = read(name, "denoiser")
    start = about.get("start") if isinstance(about.get("start"), dict) else {}
    seen = [counted.get("images", 0) for counted in (about, start)]
    if bad := [count for count in seen if type(count) is not int or count < 0]:
        raise ValueError(f"{name}: its metadata says {bad[0]!r} where it should count images")
    return fingerprint(name) | {"images": sum(seen)}


def fits(module: nn.Module, state: dict[str, Tensor], name: str | Path) -> None:
    """ValueError names the first tensor of the file that does not fit, or is missing."""
    own = module.state_dict()
    for key in (*own, *state):
        if key not in own or key not in state or own[key].shape != state[key].shape:
            shapes = [tuple(d[key].shape) if key in d else "nothing" for d in (own, state)]
            raise ValueError(f"{name} does not fit: {key} should be {shapes[0]}, the file has {shapes[1]}")


def load(name: str | Path, device: str | torch.device = "cpu") -> Denoiser:
    """A pretrained Denoiser in eval mode, by name (`names()`) or by path; .about holds its metadata."""
    about, state = read(name, "denoiser")
    what = parse(Description, {key: about[key] for key in Description.__annotations__ if key in about}, str(name))
    if len(state) < sum(16 * level.blocks for level in what.network.levels):  # eight tensors a block, down and up
        raise ValueError(f"{name} does not fit: its {len(state)} tensors are too few for its network")
    with torch.device("meta"):  # so that wide layers cost nothing before their weights are known to be there
        fits(UNet(what.network), state, name)
    try:
        schedule = schedules.make(**what.schedule)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    denoiser = Denoiser(UNet(what.network), schedule, what.predict)
    denoiser.network.load_state_dict(state)
    denoiser.about = about
    return denoiser.to(device).eval()


def load_lora(denoiser: Denoiser, name: str | Path, strength: float = 1.0, merge: bool = False) -> Denoiser:
    """Put a LoRA file on a model, in place; strength: 0 is the base, 1 what was trained. merge melts it in.

    denoiser.about["adapter"] holds the file's metadata.
    """
    about, state = read(name, "lora")
    base = about.get("base") if isinstance(about.get("base"), dict) else {}
    theirs = base.get("fingerprint")
    if theirs != denoiser.about.get("fingerprint", theirs):
        raise ValueError(f"{name} is an adapter for {base.get('name', 'another model')}, not for this one")
    lora.load(denoiser.network, state)
    lora.scale(denoiser.network, strength)
    denoiser.about = denoiser.about | {"adapter": about}
    if merge:
        lora.merge(denoiser.network)
    return denoiser.eval()


def warm_start(network: nn.Module, name: str | Path) -> list[str]:
    """Start a network from another's weights (law 3): the keys that are new, and so keep their own birth values."""
    _, state = read(name, "denoiser")
    own = network.state_dict()
    for key, value in state.items():
        if key not in own or own[key].shape != value.shape:
            raise ValueError(f"cannot start from {name}: its {key} {tuple(value.shape)} has no place in this network")
    network.load_state_dict(state, strict=False)
    return [key for key in own if key not in state]
