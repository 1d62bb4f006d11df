"""A user's own function, named as `module:function` on the command line or in a file."""

import importlib
import os
import sys
from typing import Any

from affectllm.errors import AffectError


def object_at(place: str, given_as: str) -> Any:
    """The object that `module:function` names. Modules in the current folder are found too.

    `given_as` is where the user wrote it. The AffectError for a wrong one shows it.
    """
    module, _, name = place.partition(":")
    if not (module and name):
        raise AffectError(f"{given_as} {place}: write it as module:function.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        # The user's module imports a module that is missing: this is another error.
        if error.name not in (module, module.partition(".")[0]):
            raise AffectError(f"{given_as} {place}: {error}, which '{module}' imports.") from error
        raise AffectError(f"{given_as} {place}: no module '{module}' in this folder or in the environment.") from error
    except AttributeError as error:
        raise AffectError(f"{given_as} {place}: {error}.") from error
