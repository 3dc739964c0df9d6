"""Structured logging, set up once per process.

Events are short constant phrases with fields; nothing that a customer wrote goes into a log line.
"""

import logging
import sys

import structlog


def setup(process: str, level: str = "info") -> None:
    """Send log lines to standard error: coloured in a terminal, JSON elsewhere, each naming its ``process``."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of one module."""
    return structlog.get_logger(module=name)  # type: ignore[no-any-return]  # structlog returns a lazy proxy
