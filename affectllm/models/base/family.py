"""What a family of models is: the row that its file declares, and that `affectllm models list` shows."""

from typing import Literal, NamedTuple

Modality = Literal["video", "audio"]


class Family(NamedTuple):
    """Declared as `FAMILY = Family(...)` in the family's own file, from literals alone, so that no import reads it."""

    name: str
    types: tuple[str, ...]
    """`model_type` in config.json of what can be loaded: the model itself, or a full checkpoint that holds it."""
    model: str
    """module:class that is loaded."""
    backbone: str
    """The class around it, in the same file; from there on module:class."""
    modalities: tuple[Modality, ...]
    example: str
    """What --model may be."""
    untested: str = "published weights"
    """What no test of this project has run."""
    since: str = ""
    """The first transformers release with the layout that is needed here; empty where every tried release has it."""

    @property
    def tested(self) -> str:
        return "random instance of a few thousand parameters, built offline: tests/models/test_families.py"
