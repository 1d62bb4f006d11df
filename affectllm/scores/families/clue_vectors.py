"""Clue overlap by meaning: statements and sentences compared by a small text encoder instead of by their words.

A user asks for it by naming the encoder (`--clue-encoder sentence-transformers/all-MiniLM-L6-v2`), so that no number
depends on what happens to be installed. It finds paraphrases that share no word ("beaming" for "a wide smile"). Unlike
the comparison of words, it hardly sees a negation, and any two sentences about a face are somewhat alike: the floor is
higher.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from affectllm import versions
from affectllm.errors import AffectError
from affectllm.records import Clues
from affectllm.scores.engine.uncertainty import Values
from affectllm.scores.families.clue_matching import MODALITIES, Overlap, assign, prf, statement_words
from affectllm.scores.families.clue_words import SENTENCE_END, read

CLAUSE_END = re.compile(r"[;:,\uff0c\uff1a\u3001]+")


class ClueEncoder:
    """Sentence vectors of a BERT-like encoder: the mean of its last states over the tokens, at length 1.

    Source of the pooling: the model card of all-MiniLM-L6-v2. Raises AffectError when `name`, a folder or a hub name,
    holds no such model.
    """

    def __init__(self, name: str) -> None:
        versions.say_outside()
        import torch
        from transformers import AutoModel, AutoTokenizer

        self.torch = torch
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name)
            self.model = AutoModel.from_pretrained(name, use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise AffectError(f"--clue-encoder {name} cannot be loaded ({reason}). Give a model folder.") from error
        self.vector = lru_cache(maxsize=65536)(self.encode)

    def encode(self, text: str) -> Values:
        inputs = self.tokenizer(text, truncation=True, return_tensors="pt")
        with self.torch.inference_mode():
            states = self.model(**inputs).last_hidden_state[0]
        mean = states.mean(0).double()
        return (mean / mean.norm()).numpy()

    def table(self, statements: Sequence[str], parts: Sequence[str]) -> list[list[float]]:
        """Cosines of every statement with every part; negative ones count as 0."""
        if not statements or not parts:
            return []
        a, b = (np.stack([self.vector(text) for text in texts]) for texts in (statements, parts))
        return np.clip(a @ b.T, 0, 1).tolist()

    def clue_scores(self, reasoning: str, gold: Clues) -> dict[str, float | None]:
        """As `clues.clue_scores`, by meaning."""
        parts = sentences_and_clauses(reasoning)
        texts = {modality: stated(getattr(gold, modality)) for modality in MODALITIES}
        return {name: assign(self.table(its, parts)) / len(its) if its else None for name, its in texts.items()}

    def overlap(self, reasoning: str, gold: Clues) -> Overlap:
        """As `clues.overlap`, by meaning. The size of a reasoning is counted in the same way."""
        statements = [text for modality in MODALITIES for text in stated(getattr(gold, modality))]
        parts, said = sentences_and_clauses(reasoning), read(reasoning)
        if not statements or not parts or not said.sentences:
            return Overlap(0.0, 0.0, 0.0)
        words = sum(map(len, statement_words(statements)))
        size = max(said.sentences, said.words * len(statements) / words)
        return prf(assign(self.table(statements, parts)), size, len(statements))


def stated(statements: Sequence[str]) -> list[str]:
    """The statements that have a content word."""
    return [text for text in statements if statement_words([text])]


def sentences_and_clauses(text: str) -> list[str]:
    """Every sentence, and its clauses where it has several."""
    found: list[str] = []
    for sentence in filter(None, map(str.strip, SENTENCE_END.split(text))):
        clauses = [clause.strip() for clause in CLAUSE_END.split(sentence) if clause.strip()]
        found += [sentence, *clauses] if len(clauses) > 1 else [sentence]
    return found
