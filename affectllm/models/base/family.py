"""A family of models: the row that its file declares and `affectllm models list` shows."""

from typing import Literal, NamedTuple

Modality = Literal["video", "audio"]


class Family(NamedTuple):
    """A family's file declares it as `FAMILY = Family(...)`, with literals only, so that no import reads it."""

    name: str
    types: tuple[str, ...]
    """`model_type` in config.json of what can be loaded: the model itself, or a full checkpoint that holds it."""
    model: str
    """The class that is loaded, as module:class."""
    backbone: str
    """The backbone class, in the same file; `families.declared` makes it module:class."""
    modalities: tuple[Modality, ...]
    example: str
    """An example of what --model may be."""
    untested: str = "published weights"
    """What no test of this project has run."""
    since: str = ""
    """The first transformers release with the layout that is needed here; empty where every tried release has it."""

    @property
    def tested(self) -> str:
        return "random instance of a few thousand parameters, built offline: tests/models/test_families.py"
