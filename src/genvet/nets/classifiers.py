"""Our own small classifier of digits and objects, whose last hidden layer is a feature space."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from genvet.core.classifier import Classifier
from genvet.core.errors import BadInput

NAME = "classifier"


def build(classes: Sequence[str], capacity: int = 16, size: int = 28, channels: int = 1) -> Classifier:
    """A fresh network of two convolutions; 105,866 parameters for ten classes at its defaults."""
    if min(len(classes), capacity, channels) < 1 or size < 4:
        raise BadInput("no such classifier", expected="a class, and images of 4 pixels or more", got=f"{size=}")
    config = {"classes": list(classes), "capacity": capacity, "size": size, "channels": channels}
    c, end = capacity, size // 2 // 2
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
    module = nn.Sequential(
        OrderedDict([("features", nn.Sequential(OrderedDict(features))), ("head", nn.Linear(4 * c, len(classes)))])
    )
    return Classifier(
        module=module,
        shape=(channels, size, size),
        classes=tuple(classes),
        name=NAME,
        metadata={"genvet.classifier": json.dumps(config)},
    )
