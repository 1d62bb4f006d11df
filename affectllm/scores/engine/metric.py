"""How a metric is declared: one decorated function.

    @metric("ece", gold="labels", predictions="text with a confidence", needs=("wheels",), reads=("confidence",))
    def ece(case: Case) -> Measured:
        ...

Its name, needed fields, the help of `--metric` and its row in docs/scores/README.md are read from the declaration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectllm.errors import AffectError

if TYPE_CHECKING:
    from affectllm.scores.engine.case import Case, Measured


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is known about a metric before it is computed."""

    name: str
    about: str
    """First line of the function's docstring."""
    gold: str
    """What a gold row needs, in the words of the table in the docs."""
    predictions: str
    """What a prediction holds, in the words of the table in the docs."""
    needs: tuple[str, ...] = ()
    """'wheels' for a metric that compares words on the emotion wheels of --protocol."""
    reads: tuple[str, ...] = ()
    """Fields of rows that it reads in addition to labels, text and value."""
    lower_is_better: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields that make a row valid even if it holds neither labels nor text nor a value."""
        return () if "wheels" in self.needs else self.reads


@dataclass(frozen=True, kw_only=True)
class Metric(Declaration):
    """A declared metric. Call it with a case."""

    compute: "Callable[[Case], Measured]"

    def __call__(self, case: "Case") -> "Measured":
        return self.compute(case)


def metric(
    name: str,
    *,
    gold: str,
    predictions: str,
    needs: Sequence[str] = (),
    reads: Sequence[str] = (),
    lower_is_better: bool = False,
) -> "Callable[[Callable[[Case], Measured]], Metric]":
    """Declare the function below as the metric `name`. In a family, arguments are literals or constants of its file."""
    if isinstance(needs, str) or isinstance(reads, str):
        raise AffectError(f"Metric '{name}': needs and reads are tuples of words, as reads=('confidence',).")
    if unknown := set(needs) - {"wheels"}:
        raise AffectError(f"Metric '{name}' needs {min(unknown)!r}; a metric can only need 'wheels'.")

    def declare(compute: "Callable[[Case], Measured]") -> Metric:
        about = (compute.__doc__ or "").strip().partition("\n")[0]
        if not about:
            raise AffectError(f"Metric '{name}' has no docstring. Its first line tells a user what the number means.")
        return Metric(
            name=name, about=about, gold=gold, predictions=predictions, needs=tuple(needs), reads=tuple(reads),
            lower_is_better=lower_is_better, compute=compute,
        )  # fmt: skip

    return declare
