"""An order: all that decides what is drawn, in the words of whoever asks. A picture carries its order, as JSON."""

import json
from dataclasses import asdict, dataclass, replace

from .core.denoiser import Denoiser
from .drawing import Request
from .reading import STRICT, read


@dataclass(frozen=True)
class Order:
    """What to draw, and with what. `signed` fills in the rest.

    model      a name from assets/checkpoints, or a .safetensors file; lora: an adapter for it, likewise
    condition  what to draw, as the model's condition reads it; None: all that it can be told, in turn
    count      how many pictures; None: one per word, or 40
    size       height of a picture, and width of each digit; None: as trained
    grid       columns of the grid in which they stand
    fingerprint, lora_fingerprint  of the weights that drew it
    told       the numbers that the network was told, of the first hundred pictures
    """

    model: str
    condition: tuple[str, ...] | None = None
    count: int | None = None
    size: int | None = None
    guidance: float | None = None
    interval: tuple[int, int] | None = None
    sampler: str = Request.sampler
    steps: int = Request.steps
    spacing: str = Request.spacing
    seed: int = Request.seed
    lora: str | None = None
    lora_scale: float | None = None
    merge: bool = False
    grid: int = 10
    fingerprint: str | None = None
    lora_fingerprint: str | None = None
    told: list[int] | list[list[int]] | None = None

    __pydantic_config__ = STRICT

    def __post_init__(self):
        if self.grid < 1:
            raise ValueError(f"the grid has {self.grid} columns; it must have at least 1")

    def signed(self, model: Denoiser, request: Request) -> "Order":
        """The order as this model carried it out: nothing is left to defaults, and the weights are named."""
        told = None if request.cond is None else request.cond[:100].tolist()
        return replace(
            self,
            count=request.shape[0],
            size=request.size[0],
            guidance=None if told is None else request.guidance,
            lora_scale=1.0 if self.lora and self.lora_scale is None else self.lora_scale,
            fingerprint=model.about.get("fingerprint"),
            lora_fingerprint=model.about.get("adapter", {}).get("fingerprint"),
            told=told,
        )

    def json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str, name: str) -> "Order":
        """The order in a picture's note; ValueError says what is wrong with the note of the picture of this name."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"{name} does not say how it was drawn") from None
        return read(cls, values, name)

    def check(self, signed: "Order", name: str) -> None:
        """ValueError unless the picture of this name, which was drawn by this order, would be drawn again."""
        before, now = asdict(self), asdict(signed)
        other = [f"{key} was {before[key]}, now it is {now[key]}" for key in before if before[key] != now[key]]
        if other:
            raise ValueError(f"{name} cannot be drawn again: " + "; ".join(other))
