"""Logs as lines of JSON on stderr. What is logged is named one by one: headers and bodies, and so keys, never are."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

_STEPS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def log() -> Any:
    """The service's own log."""
    return structlog.get_logger("genvet")


def configured(level: int = logging.INFO) -> None:
    """Let the service, and the server under it, write JSON."""
    structlog.configure(
        processors=[*_STEPS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = logging.StreamHandler(sys.stderr)
    plain = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    write: Any = [plain, structlog.processors.JSONRenderer()]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_STEPS, processors=write))
    for name in ("genvet", "uvicorn.error"):  # uvicorn's log of requests holds what was typed, and is left off
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
