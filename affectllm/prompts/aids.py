"""Lines that come before a question and help to answer it: what labels mean, and examples with their answers."""

from collections.abc import Sequence
from functools import cache

from affectllm.prompts import families, read_data
from affectllm.vocabulary import lexicon


def meanings(labels: Sequence[str], language: str) -> list[str]:
    """A line for each label that has a definition, found by its word or one of the same meaning ('anger', 'angry')."""

    def concept(word: str) -> tuple[tuple[str, str], ...]:
        return tuple(lexicon.groups(word).values())

    # Several words may name one concept: a word that is not in the file gets the first definition of its concept.
    known = {concept(word): texts for word, texts in reversed(definitions().items())}
    known.pop((), None)
    defined = [(label, definitions().get(label) or known.get(concept(label))) for label in labels]
    form = families()["meaning"][language]
    return [form.format(label=label, text=texts[language]) for label, texts in defined if texts]


def examples(rows: Sequence[tuple[str, str]], language: str) -> list[str]:
    """A line for each demonstration: a text and its answer."""
    form = families()["example"][language]
    return [form.format(text=text, answer=answer) for text, answer in rows]


@cache
def definitions() -> dict[str, dict[str, str]]:
    """What labels mean, by label and language; read only when a definition is asked for."""
    return read_data("definitions.yaml")
