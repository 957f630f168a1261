"""What somebody else's classifier takes: values, channels and size, stated by whoever gives it."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.errors import BadInput, Unsupported
from genvet.core.printable import printable
from genvet.core.report import Record

Three = Annotated[tuple[float, ...], Field(min_length=1, max_length=4)]
Layout = Literal["nchw", "nhwc", "flat"]
EXAMPLES = "range=-1:1, range=0:1, range=0:255, or mean=0.485:0.456:0.406,std=0.229:0.224:0.225"
GREY = (0.299, 0.587, 0.114)
"""How much of each colour makes grey (ITU-R BT.601)."""


class Intake(Record):
    """From images in [-1, 1] to what the network takes: `range` first, then less `mean`, then over `std`."""

    range: tuple[float, float] | None = None
    """What black and white become; 0 and 1 where a mean is given, as torchvision has it."""
    mean: Three | None = None
    """Taken off each channel."""
    std: Three | None = None
    """Each channel is divided by it."""
    order: Literal["rgb", "bgr"] = "rgb"
    """Of the channels that the network takes."""
    layout: Layout | None = None
    """Of its input's axes; told by the graph unless given."""
    size: Annotated[int, Field(ge=4, le=4096)] | None = None
    """Pixels a side of the images that it is given, resized to what the graph takes; the graph's unless given."""
    channels: Annotated[int, Field(ge=1, le=3)] | None = None
    """Of those images: grey ones are repeated, coloured ones made grey; the graph's unless given."""
    outputs: Literal["logits", "probabilities"] | None = None
    """What it gives; told by the graph, or by the values that come out, unless given."""
    classes: tuple[str, ...] = ()
    """Their names in order; numbers unless given."""
    entry: tuple[int, ...] = ()
    """The shape of one input; of no account where it is given, the graph tells."""

    @model_validator(mode="after")
    def _stated(self) -> Intake:
        if self.range is None and self.mean is None:
            raise ValueError(f"say which values it takes: {EXAMPLES}")
        if self.range and not self.range[0] < self.range[1]:
            raise ValueError("a range goes from the lower to the higher value")
        if self.std and min(self.std) <= 0:
            raise ValueError("a standard deviation is above 0")
        if self.channels == 2:
            raise ValueError("images have 1 or 3 channels")
        return self

    @property
    def own(self) -> tuple[int, int, int]:
        """Channels, height and width that the network itself takes."""
        if self.layout == "flat":
            (channels, size), (n,) = (self.channels, self.size), self.entry
            assert channels and size and channels * size * size == n
            return channels, size, size
        h, w = self.entry[:2] if self.layout == "nhwc" else self.entry[1:]
        return (self.entry[2] if self.layout == "nhwc" else self.entry[0]), h, w

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the images that it is given."""
        channels, h, w = self.own
        return self.channels or channels, self.size or h, self.size or w


def stated(**said: object) -> Intake:
    """What was said of a network, checked; raises BadInput with what may be said."""
    try:
        return Intake.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{printable(where, 60)}: {printable(first['msg'], 200)}" if where else printable(first["msg"], 200)
        expected = ", ".join(name for name in Intake.model_fields if name != "entry")
        raise BadInput(f"what this classifier takes is not plain ({what})", expected=expected) from None


def settled(intake: Intake, declared: tuple[int, ...]) -> Intake:
    """With the layout and shape of the graph's own input, open ones filled in; raises BadInput where they stay open."""
    entry = list(declared)
    layout = intake.layout or _layout(entry)
    if layout == "flat" and len(entry) == 1:
        channels, size = intake.channels or 1, intake.size or round((entry[0] / (intake.channels or 1)) ** 0.5)
        if channels * size * size != entry[0]:
            raise BadInput("the images do not fill the row of numbers that the graph takes", expected=str(entry[0]))
        update = {"layout": layout, "entry": tuple(entry), "channels": channels, "size": size}
        return intake.model_copy(update=update)
    if layout == "flat" or len(entry) != 3:
        raise Unsupported(f"the graph takes {declared} a sample", hint="a classifier of images takes (c, h, w)")
    places = (2, 0, 1) if layout == "nhwc" else (0, 1, 2)
    for place, fallback in zip(places, (intake.channels, intake.size, intake.size), strict=True):
        if entry[place] < 1:
            if fallback is None:
                hint = "say size=N (and channels=1 or 3)"
                raise BadInput("the graph leaves the size of its images open", got=str(declared), hint=hint)
            entry[place] = fallback
    channels = entry[places[0]]
    if channels not in (1, 3) or max(entry) > 4096:
        raise Unsupported(f"the graph takes {declared} a sample", hint="images have 1 or 3 channels")
    for name, values in (("mean", intake.mean), ("std", intake.std)):
        if values is not None and len(values) not in (1, channels):
            raise BadInput(f"the {name} does not fit", expected=f"1 or {channels} numbers", got=str(len(values)))
    return intake.model_copy(update={"layout": layout, "entry": tuple(entry)})


def _layout(entry: list[int]) -> Layout:
    if len(entry) == 1:
        return "flat"
    return "nhwc" if len(entry) == 3 and entry[2] in (1, 3) and entry[0] not in (1, 3) else "nchw"


class Entry(nn.Module):
    """Images in [-1, 1], (n, c, h, w), as rows of what the network takes; gradients pass."""

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self.intake = intake
        low, high = intake.range or (0.0, 1.0)
        self.low, self.half = low, (high - low) / 2
        for name, values in (("mean", intake.mean or (0.0,)), ("std", intake.std or (1.0,))):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        channels, *size = self.intake.own
        if list(x.shape[2:]) != size:
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        if x.shape[1] < channels:
            x = x.expand(-1, channels, -1, -1)
        elif x.shape[1] > channels:
            x = sum((share * x[:, i : i + 1] for i, share in enumerate(GREY)), torch.zeros_like(x[:, :1]))
        if self.intake.order == "bgr":
            x = x.flip(1)
        mean, std = self.mean, self.std
        x = ((x + 1) * self.half + self.low - mean) / std  # type: ignore[operator]
        return (x.movedim(1, -1) if self.intake.layout == "nhwc" else x).flatten(1)
