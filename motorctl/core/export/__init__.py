"""A collection as text: NDJSON, a JSON array or CSV, in blocks as the cursor delivers them.

`read` asks the server for raw batches (`ids` for those of a list), `text` and `table` turn a batch into
text (a pure function, in worker processes where that pays), `engine` keeps the order, `files` holds what
appears under its name whole or not at all. The text is Extended JSON that `import` reads back.
"""

from motorctl.core.export import advice
from motorctl.core.export.engine import START_BYTES, blocks
from motorctl.core.export.files import compression_of, format_of, open_whole
from motorctl.core.export.ids import open_ids
from motorctl.core.export.model import BATCH, SAMPLE, Compression, Export, Format, Query
from motorctl.core.export.read import count, look_up, reading
from motorctl.core.export.table import check_columns, import_options

__all__ = [
    "BATCH",
    "SAMPLE",
    "START_BYTES",
    "Compression",
    "Export",
    "Format",
    "Query",
    "advice",
    "blocks",
    "check_columns",
    "compression_of",
    "count",
    "format_of",
    "import_options",
    "look_up",
    "open_ids",
    "open_whole",
    "reading",
]
