"""The frame around an answer: special tokens, code fences, think and answer tags, JSON."""

import json
import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

from affectllm.answers.fields import as_confidence, as_preference, read_choice
from affectllm.answers.lists import Said, plain_list, read_list
from affectllm.records import Clues

LONGEST = 200_000
INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")
SPECIAL_TOKEN = re.compile(r"<\|[A-Za-z_]{1,24}\|>|</?s>|<pad>|###\s*(?=$|Human|Assistant)")
FENCE = re.compile(r"```[A-Za-z]{0,10}[ \t]*\n?")
TAG = re.compile(r"[<＜]\s{0,3}(/?)\s{0,3}(think|thinking|answer|context|confidence)\s{0,3}[>＞]", re.IGNORECASE)
# No other tag, code fence, chat mark or control character.
PLAIN_FRAME = re.compile(r"\s*<think>([^<`#\x00-\x08\x0b-\x1f\x7f]*)</think>\s*<answer>([^<`#\x00-\x1f]*)</answer>\s*")
TRAILING_COMMA = re.compile(r",\s{0,9}([}\]])")
LABEL_KEYS = ("labels", "emotions", "emotion", "openset", "label", "answer", "emotion_labels", "情感", "情绪", "标签")
REASON_KEYS = ("reasoning", "reason", "think", "thinking", "explanation", "description", "analysis", "rationale")
CHOICE_KEYS = ("choice", "option")
CLUE_KEYS = {
    "visual": ("visual", "video", "visual_clues"),
    "audio": ("audio", "acoustic", "auditory", "audio_clues"),
    "text": ("text", "subtitle", "text_clues"),
}


class Tidy(NamedTuple):
    text: str
    stripped: list[str]


class Sections(NamedTuple):
    """An answer cut at its tags; without tags everything is `answer`. `clean`: no tags, or each once and in order."""

    answer: str
    reasoning: str | None
    confidence: float | None
    clean: bool
    stripped: list[str]


class JsonAnswer(NamedTuple):
    labels: list[str]
    reasoning: str | None
    confidence: float | None
    choice: str | None
    preference: Literal["a1", "a2", "same"] | None
    clues: Clues | None
    clean: bool
    stripped: list[str]


def tidy(text: str) -> Tidy:
    """The text without invisible characters, special tokens and code fences, and a list of what was removed."""
    stripped = []
    if len(text) > LONGEST:
        # The answer is at the end; what comes before the last LONGEST characters is not read.
        stripped.append(f"{len(text) - LONGEST} leading characters")
        text = text[-LONGEST:]
    text = INVISIBLE.sub("", text)
    for pattern in (SPECIAL_TOKEN, FENCE):
        if found := pattern.findall(text):
            stripped += list(dict.fromkeys(mark.strip() for mark in found))
            text = pattern.sub("", text)
    return Tidy(text.strip(), stripped)


class Frame(NamedTuple):
    answer: str
    reasoning: str | None


# The parser and the rewards ask for the completions of one step several times.
@lru_cache(maxsize=1024)
def plain_frame(text: str) -> Frame | None:
    """One think and one answer block of plain characters with nothing to clean, or None; the fast way for most."""
    match = PLAIN_FRAME.fullmatch(text) if text.isascii() and len(text) <= LONGEST else None
    return Frame(match[2].strip(), match[1].strip() or None) if match else None


def read_sections(text: str) -> Sections:
    """Cut the text at its tags: the last complete answer outside the thoughts, else what follows them.

    A think tag that never closes swallows the rest: a thought that was cut off is not an answer.
    """
    tags = list(TAG.finditer(text))
    if not tags:
        return Sections(text, None, None, True, [])
    names = [match[1] + match[2].lower().replace("thinking", "think") for match in tags]
    bodies = dict[str, list[str]]()
    outside, thought_end = [text[: tags[0].start()]], 0
    for match, name, following in zip(tags, names, [*tags[1:], None], strict=True):
        body = text[match.end() : following.start() if following else len(text)].strip()
        if name.startswith("/"):
            outside.append(body)
            thought_end = match.end() if name == "/think" else thought_end
        else:
            bodies.setdefault(name, []).append(body)
    answer = pick_answer(names, bodies, outside)
    reasoning = "\n".join(body for name in ("context", "think") for body in bodies.get(name, []) if body)
    if "think" not in bodies and "/think" in names:
        # Chat templates put <think> into the prompt: the completion then begins inside the thought.
        reasoning = outside[0].strip()
    confidence = as_confidence(bodies["confidence"][-1]) if "confidence" in bodies else None
    clean = is_clean(names, outside)
    return Sections(answer, reasoning or None, confidence, clean, [] if clean else [f"tags: {' '.join(names)}"])


def pick_answer(names: list[str], bodies: dict[str, list[str]], outside: list[str]) -> str:
    if "answer" in bodies:
        return next((body for body in reversed(bodies["answer"]) if body), "")
    if "/answer" in names and names.index("/answer") > 0:
        return outside[-2] if len(outside) > 1 and names[-1] == "/answer" else ""
    if names[-1] == "think":
        return ""
    return outside[-1] if names[-1] == "/think" else " ".join(outside[1:]).strip() or outside[0]


def is_clean(names: list[str], outside: list[str]) -> bool:
    """Think and answer once each and in order, optionally a confidence after them, nothing but space outside."""
    required = ["think", "/think", "answer", "/answer"]
    return names in (required, [*required, "confidence", "/confidence"]) and not any(part.strip() for part in outside)


def read_json(text: str) -> JsonAnswer | None:
    """The fields of a JSON object, whole or broken. None if the text is not an object."""
    if "{" not in text:
        return None
    start, end = text.index("{"), text.rfind("}")
    fields = load_object(text[start : end + 1]) if end > start else None
    if fields is None:
        return from_fragments(text)
    valid = fields.pop("__valid__")
    whole = start == 0 and end == len(text) - 1
    return from_fields(fields, valid and whole)


def load_object(text: str) -> dict[str, Any] | None:
    """The object as a dict with lower-cased keys and `__valid__`; single quotes and trailing commas are repaired."""
    mended = TRAILING_COMMA.sub(r"\1", text if '"' in text else text.replace("'", '"'))
    for spelling, valid in ((text, True), (mended, False)):
        try:
            value = json.loads(spelling)
        # Deep nesting exhausts the reader's stack: that counts as broken text.
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return {str(key).lower(): item for key, item in value.items()} | {"__valid__": valid}
    return None


def from_fields(fields: dict[str, Any], clean: bool) -> JsonAnswer | None:
    # Evidence that is asked for alone is at the top level; 'text' alone may be anything.
    evidence = any(key in fields for key in (*CLUE_KEYS["visual"], *CLUE_KEYS["audio"]))
    known = [*LABEL_KEYS, *REASON_KEYS, *CHOICE_KEYS, "preference", "confidence", "clues"]
    if not evidence and not any(key in fields for key in known):
        return None
    texts = as_texts(first(fields, LABEL_KEYS))
    plain = plain_list(",".join(texts))
    said = Said(plain, True, []) if plain else read_list("\n".join(texts))
    reasoning = "\n".join(as_texts(first(fields, REASON_KEYS)))
    choice = read_choice("\n".join(as_texts(first(fields, CHOICE_KEYS))))
    return JsonAnswer(
        said.labels if said else [],
        reasoning or None,
        as_confidence(str(fields.get("confidence", ""))),
        choice,
        as_preference(str(fields.get("preference", ""))),
        as_clues(fields.get("clues", fields if evidence else None)),
        clean,
        said.stripped if said else [],
    )


def from_fragments(text: str) -> JsonAnswer | None:
    """Labels and numbers of an object that was cut off or mistyped."""
    fields: dict[str, Any] = {}
    for key in (*LABEL_KEYS, *REASON_KEYS, "confidence", "preference"):
        match = re.search(rf"""["']{key}["']\s*:\s*(?:\[([^\]]*)|"([^"]*)|'([^']*)|([^,}}\s]+))""", text)
        if match:
            fields[key] = next((group for group in match.groups() if group is not None), "")
    return from_fields(fields, False) if fields else None


def first(fields: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((fields[key] for key in keys if key in fields), None)


def as_texts(value: Any) -> list[str]:
    """Strings of a JSON value: a text is one string, a list gives one for each text in it."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def as_clues(value: Any) -> Clues | None:
    if not isinstance(value, dict):
        return None
    found = {name: as_texts(first(cast(dict[str, Any], value), keys)) for name, keys in CLUE_KEYS.items()}
    return Clues(**found) if any(found.values()) else None
