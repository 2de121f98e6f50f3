"""Two networks that are known from PyTorch alone, as torch modules; edgekit builds the same ones in Keras.

`squeezenet_bn` and `squeezenext_23_torch` are their names there. State dicts go both ways:
`edgekit export mine.pth --model squeezenet_bn` and `edgekit export squeezenet_bn --weights random --format torch`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Fire(nn.Module):
    """Squeeze to an eighth of the outputs, normalise, expand by 1x1 and 3x3 to one half each: -> (b, outputs, h, w)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, outputs // 8, 1)
        self.squeeze_bn = nn.BatchNorm2d(outputs // 8)
        self.expand1x1 = nn.Conv2d(outputs // 8, outputs // 2, 1)
        self.expand3x3 = nn.Conv2d(outputs // 8, outputs // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze_bn(self.squeeze(x)))
        return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


class SqueezeNetBN(nn.Module):
    """SqueezeNet with batch norm in the fire modules: images (b, 3, 224, 224) -> logits (b, classes)."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2, padding=3),
            nn.MaxPool2d(3, 2),
            nn.BatchNorm2d(96),
            Fire(96, 128),
            Fire(128, 128),
            Fire(128, 256),
            Fire(256, 256),
            nn.MaxPool2d(3, 2),
            Fire(256, 384),
            Fire(384, 384),
            Fire(384, 512),
            nn.MaxPool2d(3, 2),
            Fire(512, 512),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(512, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x))
        return logits


def _conv(inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps the size (but for its stride) and its batch norm."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2)
    return [nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False), nn.BatchNorm2d(outputs)]


class Bottleneck(nn.Module):
    """Five convolutions, each with batch norm and ReLU, beside a shortcut; ReLU of the sum.

    To half and a quarter of the inputs by 1x1, back to a half by 1x3 and 3x1, to the outputs by 1x1.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half, quarter = inputs // 2, inputs // 4
        plan = [(inputs, half, 1), (half, quarter, 1), (quarter, half, (1, 3)), (half, half, (3, 1))]
        layers = []
        for place, (i, o, kernel) in enumerate([*plan, (half, outputs, 1)]):
            layers += [*_conv(i, o, kernel, stride if place == 0 else 1), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(*_conv(inputs, outputs, 3, stride)) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class SqueezeNext23(nn.Module):
    """SqueezeNext of 6, 6, 8 and 1 bottlenecks: images (b, 3, 224, 224) -> logits (b, classes)."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.MaxPool2d(3, 2), nn.BatchNorm2d(64), nn.ReLU()
        )
        stages, inputs = [], 64
        for blocks, outputs, stride in ((6, 32, 1), (6, 64, 2), (8, 128, 2), (1, 256, 2)):
            stage = []
            for place in range(blocks):
                stage.append(Bottleneck(inputs, outputs, stride if place == 0 else 1))
                inputs = outputs
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.fc = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.pool(self.stages(self.stem(x))))
        return logits
