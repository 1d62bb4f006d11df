"""Answers read per second on one core, for each answer mode.

python benchmarks/answers_parse.py
"""

import timeit
from itertools import islice, product

from affectllm.answers import parse

WORDS = ["happy", "tense", "worried", "sarcastic", "let down", "supportive", "dissatisfied", "curious", "calm", "blorp"]
MODES = {
    "labels": "{}",
    "labels in brackets": "[{}]",
    "describe": "The character's emotional state is {}.",
    "think": "<think>He smiles and speaks fast, so the news must please him.</think><answer>{}</answer>",
    "json": '{{"labels": ["{}"], "reasoning": "He smiles.", "confidence": 0.9}}',
    "labels with intensifiers": "very {}, a bit sad",
    "prose": "In the video the man frowns. In the audio his voice is raised, so I think he is {} about the news.",
}


def main() -> None:
    lists = [", ".join(words) for words in islice(product(WORDS, repeat=3), 1000)]
    for mode, template in MODES.items():
        answers = [template.format(labels) for labels in lists]
        seconds = min(timeit.repeat(lambda answers=answers: [parse(text) for text in answers], number=1, repeat=5))
        print(f"{mode:<26}{len(answers) / seconds:>10,.0f} answers/s   {parse(answers[0]).status}")


if __name__ == "__main__":
    main()
