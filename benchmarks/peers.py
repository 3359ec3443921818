"""The networks that are compared. Other libraries' are called as ours: (x, t, cond), with what they hear in .config.

Each library has two: one as its own tutorials for 28x28 pictures build it, and one ("lean") as dear as ours.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from diffusion101.milestones import M5
from diffusion101.networks import Labels, UNet


@dataclass(frozen=True)
class PeerConfig:
    """What Denoiser, guidance and drawing ask a network for."""

    condition: Labels = Labels(10)
    channels: int = 1


class Peer(nn.Module):
    """A library's network; call(t, cond) says it in the library's words, whose t is ours minus one."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.config = inner, PeerConfig()

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        cond = self.config.condition.empty(len(x)).to(x.device) if cond is None else cond
        return self.call(x, t - 1, cond)

    def check(self, x: Tensor) -> None:
        """Drawing asks whether pictures of this shape can go in; the library itself says so if not."""


class Diffusers(Peer):
    """diffusers.UNet2DModel; the label 10 says nothing."""

    def call(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return self.inner(x, t, cond).sample


class DenoisingDiffusion(Peer):
    """The class-conditional Unet of denoising-diffusion-pytorch, which keeps its own vector for "no label"."""

    def call(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        classes = self.config.condition.classes
        return self.inner(x, t, cond.clamp(max=classes - 1), cond_keep_mask=cond < classes)


def diffusers(widths: tuple[int, ...], layers: int, groups: int, attention: tuple[bool, ...]) -> Diffusers:
    """attention: at which levels, from the largest picture to the smallest."""
    from diffusers import UNet2DModel

    return Diffusers(
        UNet2DModel(
            sample_size=28,
            in_channels=1,
            out_channels=1,
            layers_per_block=layers,
            block_out_channels=widths,
            norm_num_groups=groups,
            down_block_types=tuple("AttnDownBlock2D" if at else "DownBlock2D" for at in attention),
            up_block_types=tuple("AttnUpBlock2D" if at else "UpBlock2D" for at in reversed(attention)),
            num_class_embeds=PeerConfig().condition.classes + 1,
        )
    )


def denoising_diffusion(dim: int) -> DenoisingDiffusion:
    from denoising_diffusion_pytorch.classifier_free_guidance import Unet

    return DenoisingDiffusion(Unet(dim, PeerConfig().condition.classes, dim_mults=(1, 2, 4), channels=1))


@dataclass(frozen=True)
class Network:
    """build() makes it; title and note are for the table; needs: the library, as it is installed."""

    title: str
    note: str
    build: Callable[[], nn.Module]
    needs: str | None = None


NETWORKS = {
    "ours": Network("ours (M5)", "lesson 05's network", lambda: UNet(M5)),
    "diffusers": Network(
        "diffusers UNet2DModel",
        "widths 32, 64, 64, two layers each, attention at 14x14 and 7x7, as the Hugging Face course has it for MNIST",
        lambda: diffusers((32, 64, 64), layers=2, groups=32, attention=(False, True, True)),
        "diffusers",
    ),
    "diffusers-lean": Network(
        "diffusers UNet2DModel, lean",
        "widths 12, 24, 48, one layer each, attention at 7x7: as dear as ours",
        lambda: diffusers((12, 24, 48), layers=1, groups=4, attention=(False, False, True)),
        "diffusers",
    ),
    "ddpm-pytorch": Network(
        "denoising-diffusion-pytorch Unet",
        "dim 28, multiples 1, 2, 4: as The Annotated Diffusion Model builds it for Fashion-MNIST",
        lambda: denoising_diffusion(28),
        "denoising-diffusion-pytorch",
    ),
    "ddpm-pytorch-lean": Network(
        "denoising-diffusion-pytorch Unet, lean",
        "dim 8, the narrowest that it allows: about as dear as ours",
        lambda: denoising_diffusion(8),
        "denoising-diffusion-pytorch",
    ),
}
