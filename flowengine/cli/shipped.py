"""The flows that come with flowengine: in the wheel beside the code, in a clone beside it."""

from __future__ import annotations

from pathlib import Path

import flowengine
from flowengine.errors import ConfigError


def flow_file(name: str) -> Path:
    """The `flow.json` of a flow that is shipped. Raises ConfigError when it is not there."""
    package = Path(flowengine.__file__).parent
    for folder in (package / "flows", package.parent / "flows"):
        file = folder / name / "flow.json"
        if file.is_file():
            return file
    raise ConfigError(
        "flow_not_shipped",
        "A flow that should come with flowengine is missing.",
        where=name,
        fix="Install flowengine again, or run it from a clone.",
    )
