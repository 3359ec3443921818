"""The judge: a small convolutional classifier whose features measure everybody else's pictures."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Classifier(nn.Module):
    """Digits x (B, 1, H, W) in [-1, 1] -> logits (B, classes); features are (B, 64).

    It has a Denoiser's `loss` and `null`, so the same training loop trains it; augmentation is part of the loss.
    """

    def __init__(self, classes: int = 10, width: int = 32):
        super().__init__()
        self.null = classes
        self.options = {"classes": classes, "width": width}
        widths = [(1, width), (width, width), (width, 2 * width), (2 * width, 2 * width), (2 * width, 2 * width)]
        layers = []
        for i, (a, b) in enumerate(widths):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.GroupNorm(b // 16, b), nn.SiLU()]
            if i in (1, 3):
                layers += [nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7), nn.Flatten())
        self.dropout = nn.Dropout(0.3)
        self.features = nn.Sequential(nn.Linear(2 * width * 49, 64), nn.SiLU())
        self.head = nn.Linear(64, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, classes) and features (B, 64)."""
        h = self.body(x.contiguous(memory_format=torch.channels_last))
        features = self.features(self.dropout(h))
        return self.head(features), features

    def loss(
        self, x: Tensor, labels: Tensor, generator: torch.Generator | None = None, part: slice = slice(None)
    ) -> Tensor:
        """Cross-entropy with smoothed labels on pictures slightly turned, scaled, sheared and shifted.

        part: the pictures that count here; the others are turned all the same.
        """
        logits, _ = self(jitter(x, generator)[part])
        return F.cross_entropy(logits.float(), labels[part], label_smoothing=0.05)


def jitter(x: Tensor, generator: torch.Generator | None = None, amount: float = 0.12) -> Tensor:
    """x (B, C, H, W) under a random affine map per picture: the identity plus uniform noise of this amount."""
    noise = torch.rand(len(x), 2, 3, generator=generator, device=x.device) * 2 - 1
    theta = torch.eye(2, 3, device=x.device) + amount * noise
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1  # outside is black: -1
