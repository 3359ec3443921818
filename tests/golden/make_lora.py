"""Freeze what peft's adapters answer to JSON, so that the tests need no peft.

Run by hand where peft is installed: python tests/golden/make_lora.py
"""

import json
from pathlib import Path

import peft
import torch
from torch import nn


def fill(parameters) -> None:
    """Values anybody can make again: sines of the position."""
    with torch.no_grad():
        for i, p in enumerate(parameters):
            p.copy_(torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape))


def main() -> None:
    golden = {"peft": peft.__version__, "script": Path(__file__).name, "cases": []}
    layers = {
        "linear": (lambda: nn.Linear(5, 3), (2, 5)),
        "conv": (lambda: nn.Conv2d(4, 3, 3, stride=2, padding=1), (2, 4, 6, 6)),
    }
    for name, (make, shape) in layers.items():
        model = nn.Sequential(make()).double()
        fill(model.parameters())
        x = torch.cos(torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 0.3).view(shape)
        config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["0"], init_lora_weights=True)
        model = peft.get_peft_model(model, config)
        layer = model.base_model.model[0]
        fill([layer.lora_A["default"].weight, layer.lora_B["default"].weight])
        golden["cases"].append({"layer": name, "rank": 2, "alpha": 6, "y": model(x).flatten().tolist()})
    Path(__file__).with_name("lora.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
