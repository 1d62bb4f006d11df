"""`affectllm models list`: the families that can be trained, judged and shown, and what of them is tested."""

import json
from dataclasses import dataclass

from affectllm.errors import AffectError
from affectllm.models.families import FAMILIES
from affectllm.options import parse


@dataclass(frozen=True)
class List:
    json: bool = False
    """Print one JSON array."""


def run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if words[0] != "list":
        raise AffectError(f"No '{words[0]}' under 'affectllm models'. Known: list.")
    options = parse(List, words[1:])
    rows = [
        {
            "name": family.name,
            "model_types": list(family.types),
            "class": family.model.partition(":")[2],
            "backbone": family.backbone.partition(":")[2],
            "modalities": [*family.modalities, "text"],
            "example": family.example,
            "tested": family.tested,
            "untested": family.untested,
        }
        for family in FAMILIES
    ]
    if options.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(f"{row['name']:<22} {' + '.join(row['modalities']):<22} --model {row['example']}")
    print(f"\nTested on a {FAMILIES[0].tested}. Not tested: published weights.")
    return 0
