"""The face encoder of the embedded model: mini-XCEPTION (Arriaga et al., arXiv 1710.07557), trained on FER2013.

A map of a face, taken before the classifier, goes to the language model. The seven classes of FER2013 are kept
for checks on real photographs.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

# Order of the network's seven outputs.
FER2013 = ["angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral"]
KERAS_EPSILON = 1e-3


class SeparableConvolution(nn.Module):
    """A 3 x 3 convolution of each channel, then a mix of channels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class Block(nn.Module):
    """Two separable convolutions and a shortcut, at half the resolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = SeparableConvolution(channels_in, channels_out)
        self.first_norm = nn.BatchNorm2d(channels_out, KERAS_EPSILON)
        self.second = SeparableConvolution(channels_out, channels_out)
        self.second_norm = nn.BatchNorm2d(channels_out, KERAS_EPSILON)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride=2, bias=False)
        self.shortcut_norm = nn.BatchNorm2d(channels_out, KERAS_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return pool_same(inner) + self.shortcut_norm(self.shortcut(x))


def pool_same(x: Tensor) -> Tensor:
    """Maximum over 3 x 3 at stride 2 as Keras' 'same' does it: padding goes to the right and bottom first."""

    def missing(size: int) -> int:
        return max((math.ceil(size / 2) - 1) * 2 + 3 - size, 0)

    high, wide = missing(x.shape[-2]), missing(x.shape[-1])
    padded = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2), value=float("-inf"))
    return F.max_pool2d(padded, 3, 2)


class FaceExpressionEncoder(nn.Module):
    """Grey face crops (N, 1, 64, 64) in [-1, 1] -> maps (N, 2048) of what the expression looks like."""

    def __init__(self) -> None:
        super().__init__()
        self.stem1 = nn.Conv2d(1, 8, 3, bias=False)
        self.stem1_norm = nn.BatchNorm2d(8, KERAS_EPSILON)
        self.stem2 = nn.Conv2d(8, 8, 3, bias=False)
        self.stem2_norm = nn.BatchNorm2d(8, KERAS_EPSILON)
        self.blocks = nn.ModuleList([Block(8, 16), Block(16, 32), Block(32, 64), Block(64, 128)])
        self.classifier = nn.Conv2d(128, len(FER2013), 3, padding=1)

    def maps(self, pixels: Tensor) -> Tensor:
        """(N, 128, 4, 4)"""
        x = F.relu(self.stem1_norm(self.stem1(pixels)))
        x = F.relu(self.stem2_norm(self.stem2(x)))
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, pixels: Tensor) -> Tensor:
        return self.maps(pixels).flatten(1)

    def logits(self, pixels: Tensor) -> Tensor:
        """(N, 7) in the order of FER2013."""
        return self.classifier(self.maps(pixels)).mean((2, 3))
