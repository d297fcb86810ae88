"""The log of the service, without the text of any question: a line for each request, or a JSON object."""

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any, Literal

LOG = logging.getLogger("siamese.service")
REQUEST = "%s %s %d %.1f ms"  # method, declared route, status, milliseconds
FIELDS = ("method", "route", "status", "ms")

Format = Literal["text", "json"]


def configure(form: Format) -> None:
    """Write the log on stderr in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextlessFormatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class TextlessFormatter(logging.Formatter):
    """Logs the type and traceback locations of an exception, but not its message, which may quote a question."""

    def formatException(self, ei) -> str:  # type: ignore[no-untyped-def]
        return without_text(ei[1])


class JsonFormatter(TextlessFormatter):
    """Logs a JSON object a line: time (ISO 8601, UTC), level, process, and of a request FIELDS, else a message."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": time, "level": record.levelname.lower(), "process": record.process}
        if record.msg is REQUEST and isinstance(record.args, tuple):
            line |= dict(zip(FIELDS, record.args))
            line["ms"] = round(line["ms"], 1)
        else:
            line["message"] = record.getMessage()
            if record.exc_info:
                line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def without_text(error: BaseException | None) -> str:
    """Return the type of an exception and the file and line of each frame in its traceback."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return " ".join([type(error).__name__, *(f"{frame.filename}:{frame.lineno}" for frame in frames)])
