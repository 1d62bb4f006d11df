"""Labels said in sentences: the template of `describe`, a concluding clause, or emotion words anywhere in prose."""

import re

from affectllm.answers.lists import Said, plain_list, read_list
from affectllm.answers.prose import find_emotions

TEMPLATE = re.compile(
    r"\s*The (?:character|person|speaker)['’]s emotional states? (?:is|are):? ([^.!?\n]{1,600})[.]?\s*"
    r"|\s*(?:该)?(?:角色|人物|说话人|说话者)的(?:情感|情绪)(?:状态)?[是为][:：]?\s*([^。！？\n]{1,600})[。]?\s*",
    re.IGNORECASE,
)
CONCLUSION = re.compile(
    r"(?:emotional states?|emotions?|feelings?|mood)\s+(?:of [\w' ]{1,40} )?(?:is|are|was|were|can be described as)"
    r"(?: (?:likely|most likely|probably|one of|that of))?\s*:?\s+([^.!?\n]{1,600})"
    r"|(?:情感|情绪)(?:状态)?(?:应该|可能)?[是为][:：]?\s*([^。！？\n]{1,600})",
    re.IGNORECASE,
)
KEY_LINE = re.compile(
    r"^[\s>*#-]{0,8}(?:(?:final |the )?(?:answers?|labels?|emotions?|emotion labels?|emotional states?)"
    r"|最终答案|答案|标签|情感状态|情感|情绪)[\s*]{0,4}[:：][\s*]{0,4}([^\n]{1,600})$",
    re.IGNORECASE | re.MULTILINE,
)


def plain_statement(text: str) -> list[str] | None:
    """Labels of the template sentence, if nothing in them has to be cleaned."""
    match = TEMPLATE.fullmatch(text)
    return plain_list(match[1] or match[2]) if match else None


def read_statement(text: str) -> Said:
    """Labels of prose: those of the template, else of the last concluding clause, else every emotion word."""
    if match := TEMPLATE.fullmatch(text):
        said = read_list(match[1] or match[2])
        if said and said.labels:
            return said
    reasoning = text.strip() or None
    for pattern in (KEY_LINE, CONCLUSION):
        for match in reversed(list(pattern.finditer(text))):
            said = read_list(next(group for group in match.groups() if group))
            if said and said.labels:
                return Said(said.labels, False, said.stripped, reasoning)
    found = find_emotions(text)
    return Said(found.labels, False, found.stripped, reasoning)
