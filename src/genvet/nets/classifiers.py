"""Our own small classifiers of identities, digits and objects, whose last hidden layer is a feature space."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from torch import nn

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput
from genvet.nets.classifier_families import FAMILIES

NAME = "classifier"
KEY = "genvet.classifier"
"""Where a classifier's metadata say how to build it."""
FamilyName = Literal["cnn", "resnet", "vgg", "allconv", "mixer"]
"""Two convolutions without a norm; a ResNet and a VGG with batch norm; strided convolutions; an MLP-Mixer."""
WIDEST, LARGEST = 1024, 1024
"""Capacity and pixels a side, at most."""


def build(
    classes: Sequence[str],
    capacity: int = 16,
    size: int = 28,
    channels: int = 1,
    family: FamilyName = "cnn",
    bottleneck: int = 0,
) -> Classifier:
    """A fresh network; the cnn has 105,866 parameters for ten classes at its defaults.

    With a `bottleneck`, so many numbers are all that the head is told of the features.
    """
    if bottleneck < 0 or min(len(classes), capacity, channels) < 1 or not 4 <= size <= LARGEST or capacity > WIDEST:
        raise BadInput("no such classifier", expected="a class, and images of 4 pixels or more", got=f"{size=}")
    if family not in get_args(FamilyName):
        raise BadInput("no such family of classifiers", expected=", ".join(get_args(FamilyName)))
    config: dict[str, Any] = {"classes": list(classes), "capacity": capacity, "size": size, "channels": channels}
    features, width = {**FAMILIES, "cnn": _cnn}[family](capacity, size, channels)
    if bottleneck:
        features = nn.Sequential(OrderedDict(body=features, mean=nn.Linear(width, bottleneck)))
        width = bottleneck
    # Files of the plain cnn stay as they were before there was anything else.
    config |= {**({"family": family} if family != "cnn" else {}), **({"bottleneck": bottleneck} if bottleneck else {})}
    return Classifier(
        module=nn.Sequential(OrderedDict([("features", features), ("head", nn.Linear(width, len(classes)))])),
        shape=(channels, size, size),
        classes=tuple(map(str, classes)),
        name=NAME,
        metadata={KEY: json.dumps(config)},
    )


def family_of(classifier: Classifier) -> str:
    """The family that a classifier is of: one of ours, or onnx."""
    config: Mapping[str, Any] = json.loads(classifier.metadata.get(KEY, "{}"))
    return str(config.get("family", "cnn"))


def _cnn(c: int, size: int, channels: int) -> tuple[nn.Module, int]:
    end = size // 2 // 2
    features: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(channels, c, 3, padding=1)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(c, 2 * c, 3, padding=1)),
        ("relu2", nn.ReLU()),
        ("pool2", nn.MaxPool2d(2)),
        ("flat", nn.Flatten()),
        ("dense", nn.Linear(2 * c * end * end, 4 * c)),
        ("relu3", nn.ReLU()),
    ]
    return nn.Sequential(OrderedDict(features)), 4 * c
