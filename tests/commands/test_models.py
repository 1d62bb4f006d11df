"""`affectllm models list` says what can be loaded, and its table agrees with the code."""

import json
import subprocess
import sys

import pytest

from affectllm.commands import verbs
from affectllm.errors import AffectError
from affectllm.models import FAMILIES, imported


def test_the_list_is_json_and_loads_no_torch() -> None:
    code = (
        "import sys; from affectllm.commands.cli import main\n"
        "try: main(['models', 'list', '--json'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows = json.loads(found.stdout)
    omni = next(row for row in rows if "qwen2_5_omni" in row["model_types"])
    assert omni["class"] == "Qwen2_5OmniThinkerForConditionalGeneration"
    assert omni["modalities"] == ["video", "audio", "text"]
    assert omni["untested"] == "published weights"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_rows_agree_with_the_classes(family) -> None:  # type: ignore[no-untyped-def]
    assert imported(family.backbone).modalities == family.modalities
    assert imported(family.model).__name__.endswith("ForConditionalGeneration")


def test_an_unknown_verb_names_those_known() -> None:
    with pytest.raises(AffectError, match="Known: list"):
        verbs.run("models", ["lst"])
