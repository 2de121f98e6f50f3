"""torchvision's SqueezeNets and MobileNets written anew, in its names and orders, so that tests need torch alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Fire(nn.Module):
    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    def __init__(self, version: str, classes: int) -> None:
        super().__init__()
        filters, kernel, pools = {"1_0": (96, 7, (4, 8)), "1_1": (64, 3, (3, 5))}[version]
        parts: list[nn.Module] = [nn.Conv2d(3, filters, kernel, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
        for number in range(2, 10):
            step = number // 2
            parts.append(Fire(filters, 16 * step, 64 * step))
            filters = 128 * step
            if number in pools:
                parts.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


def conv_norm(
    inputs: int, outputs: int, kernel: int, stride: int, activation: nn.Module | None, epsilon: float, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    parts: list[nn.Module] = [conv, nn.BatchNorm2d(outputs, eps=epsilon)]
    return nn.Sequential(*parts, *([activation] if activation else []))


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, ratio: int) -> None:
        super().__init__()
        wide = inputs * ratio
        expand = [conv_norm(inputs, wide, 1, 1, nn.ReLU6(), 1e-5)] if ratio != 1 else []
        project = [nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*expand, conv_norm(wide, wide, 3, stride, nn.ReLU6(), 1e-5, wide), *project)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [conv_norm(3, 32, 3, 2, nn.ReLU6(), 1e-5)]
        inputs = 32
        plan = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        for ratio, outputs, count, stride in plan:
            for place in range(count):
                parts.append(InvertedResidual(inputs, outputs, stride if place == 0 else 1, ratio))
                inputs = outputs
        self.features = nn.Sequential(*parts, conv_norm(inputs, 1280, 1, 1, nn.ReLU6(), 1e-5))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.fc2 = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(scale)


class Block(nn.Module):
    def __init__(self, inputs: int, kernel: int, wide: int, outputs: int, squeezes: bool, hard: bool, stride: int):
        super().__init__()

        def activation() -> nn.Module:
            return nn.Hardswish() if hard else nn.ReLU()

        parts: list[nn.Module] = [conv_norm(inputs, wide, 1, 1, activation(), 1e-3)] if wide != inputs else []
        parts.append(conv_norm(wide, wide, kernel, stride, activation(), 1e-3, wide))
        if squeezes:
            parts.append(SqueezeExcite(wide, divisible(wide // 4)))
        self.block = nn.Sequential(*parts, conv_norm(wide, outputs, 1, 1, None, 1e-3))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.adds else self.block(x)


def divisible(channels: float) -> int:
    """To a multiple of 8, at least 8 and not below nine tenths."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


# kernel, expanded channels, outputs, squeeze-and-excite, hard swish, stride
V3_SMALL = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
V3_LARGE = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)


class MobileNetV3(nn.Module):
    def __init__(self, size: str, classes: int) -> None:
        super().__init__()
        plan, last = (V3_SMALL, 1024) if size == "small" else (V3_LARGE, 1280)
        parts: list[nn.Module] = [conv_norm(3, 16, 3, 2, nn.Hardswish(), 1e-3)]
        inputs = 16
        for row in plan:
            parts.append(Block(inputs, *row))
            inputs = row[2]
        self.features = nn.Sequential(*parts, conv_norm(inputs, 6 * inputs, 1, 1, nn.Hardswish(), 1e-3))
        head = [nn.Linear(6 * inputs, last), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(last, classes)]
        self.classifier = nn.Sequential(*head)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def randomised(module: nn.Module) -> nn.Module:
    """Weights, and statistics of batch norms, of which every one matters; answers that no softmax saturates."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.8, 1.2)
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.normal_(part.bias, 0, 0.2)
        elif isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear" if isinstance(part, nn.Linear) else "relu")
            if part.bias is not None:
                nn.init.normal_(part.bias, 0, 0.1)
    return module.eval()
