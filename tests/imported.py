"""All of the program, imported: what commands import, and what those import within their functions.

For processes that fork others, which begin with it.
"""

import importlib
import pkgutil

import motorctl.commands
import motorctl.core
import motorctl.manifest

for _package in (motorctl.commands, motorctl.core, motorctl.manifest):
    for _module in pkgutil.walk_packages(_package.__path__, f"{_package.__name__}."):
        importlib.import_module(_module.name)
for _name in ("motorctl.client", "motorctl.driver_errors", "motorctl.retry", "rich.progress", "rich.table"):
    importlib.import_module(_name)
