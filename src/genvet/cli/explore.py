"""`genvet explore`: a page on which a generator's latents, directions and styles are moved by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from genvet.cli import screen
from genvet.cli.opening import opened
from genvet.cli.options import OPENING, Opening


def explore(
    model: Path,
    /,
    *,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    host: str = "127.0.0.1",
    common: Opening = OPENING,
) -> int:
    """Serve a local page with sliders for directions, truncation, style mixing, seeds and latent dimensions.

    Nothing is loaded from the internet, and no code of the model is run. Ctrl-C ends it.

    Parameters
    ----------
    model: Path
        The model file.
    port: int
        Where to listen; 0 takes any free port.
    host: str
        The address to listen on; this machine alone can reach the default.
    """
    from genvet.core.printable import printable
    from genvet.core.rng import Rng
    from genvet.serve.explore import Server, is_local
    from genvet.serve.explorer import Explorer, State

    _, generator = opened(model, common)
    explorer = Explorer(generator, Rng(common.seed).fork("sample"))
    explorer.about()  # directions, and a first picture: what goes wrong does so before a page is open
    explorer.show(State())
    with Server(explorer, printable(model.name, 100), host, port) as server:
        if not is_local(host):
            screen.note(
                "warning: whoever reaches this machine and knows the address can use the model; nothing is encrypted"
            )
        screen.out().print(server.url, soft_wrap=True)
        screen.note("Open this address in a browser. Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            screen.note("ended")
    return 0
