"""Any aggregation pipeline: read, checked, filled in, run; and which stage an error of the server's means."""

from __future__ import annotations

from motorctl.core.aggregation.failing import Failure, advice, check, failure, said
from motorctl.core.aggregation.running import DATABASE, Options, batches, documents
from motorctl.core.aggregation.stages import (
    Path,
    Pipeline,
    PipelineError,
    Write,
    checked,
    limited,
    stage_name,
    writes,
)
from motorctl.core.aggregation.variables import Filled, filled, inlined, value_of

__all__ = [
    "DATABASE",
    "Failure",
    "Filled",
    "Options",
    "Path",
    "Pipeline",
    "PipelineError",
    "Write",
    "advice",
    "batches",
    "check",
    "checked",
    "documents",
    "failure",
    "filled",
    "inlined",
    "limited",
    "said",
    "stage_name",
    "value_of",
    "writes",
]
