"""What differs between versions of transformers, in one place.

Tried with 5.17 to 5.24. The rest of the code asks here and knows no version; tests/models/test_seam.py says what a new
version has changed.
"""

from dataclasses import fields
from typing import Any

from transformers.modeling_outputs import BaseModelOutputWithPast

# Keys and values of the tokens read so far. 5.24 calls them `cache` in forwards, outputs and `generate`, and takes the
# older name with a warning until 5.40.
CACHE_NAMES = ("cache", "past_key_values")
CACHE = next(name for name in CACHE_NAMES if name in {field.name for field in fields(BaseModelOutputWithPast)})


def cache_in(given: dict[str, Any]) -> Any:
    """The cache among the arguments of a forward, under either name; None where there is none."""
    return next((given[name] for name in CACHE_NAMES if given.get(name) is not None), None)
