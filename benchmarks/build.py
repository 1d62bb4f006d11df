"""Rows a second of two builders without media, and the memory they take.

    python benchmarks/build.py [meld] [mer-caption]

Generated tables of the published sizes: MELD's 13,708 utterances in three files, and MER-Caption's 115,595 label sets.
The peer reads the same tables with csv.DictReader and writes each row as JSON: no question, no check, no defect, so it
is a lower bound of what any builder costs. Builders run as commands, start-up included. Seconds are CPU seconds, which
other work on the machine disturbs less than the clock, and the best of three rounds. A line is one measure as JSON.
"""

import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

WORDS = ["he", "smiles", "frowns", "loud", "calm", "worried", "then", "quickly", "again", "why", "not"]
LABELS = ["happy", "relieved", "angry", "worried", "confused", "anxious", "serious", "concern", "lack_of_concern"]
MELD = ["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"]
MELD += ["Season", "Episode", "StartTime", "EndTime"]
MELD_ROWS = {"train": 9989, "dev": 1109, "test": 2610}
MER_CAPTION_ROWS = 115_595
ROUNDS = 3


def write_meld(folder: Path) -> list[Path]:
    rng = Random(7)
    paths = [folder / f"{split}_sent_emo.csv" for split in MELD_ROWS]
    for path, count in zip(paths, MELD_ROWS.values(), strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(MELD)
            for i in range(count):
                said, speaker = " ".join(rng.choices(WORDS, k=rng.randint(1, 14))), rng.choice(["Monica", "Ross"])
                place = (i // 10, i % 10, 8, 21, "00:16:16,059", "00:16:21,731")
                rows.writerow([i + 1, said, speaker, "joy", "positive", *place])
    return paths


def write_mer_caption(folder: Path) -> list[Path]:
    rng = Random(7)
    path = folder / "track2_train_mercaptionplus.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "openset"])
        for i in range(MER_CAPTION_ROWS):
            rows.writerow([f"samplenew3_{i:08d}", f"[{', '.join(rng.sample(LABELS, rng.randint(1, 5)))}]"])
    return [path]


def seconds_of_plain_loop(paths: list[Path], out: Path) -> float:
    start = time.process_time()
    with out.open("w", encoding="utf-8") as lines:
        for path in paths:
            with path.open(encoding="utf-8", newline="") as file:
                lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in csv.DictReader(file))
    return time.process_time() - start


def seconds_of_command(words: list[str]) -> float:
    start = seconds_of_children()
    subprocess.run([sys.executable, "-m", "affectllm", *words], check=True, stdout=subprocess.DEVNULL)
    return seconds_of_children() - start


def seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    names = sys.argv[1:] or ["meld", "mer-caption"]
    for name in names:
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            paths = {"meld": write_meld, "mer-caption": write_mer_caption}[name](folder)
            source = folder if len(paths) > 1 else paths[0]
            command = ["build", name, "--source", str(source), "--out", str(folder / "out")]
            plain = min(seconds_of_plain_loop(paths, folder / "plain.jsonl") for _ in range(ROUNDS))
            ours = min(seconds_of_command(command) for _ in range(ROUNDS))
            rows = sum(MELD_ROWS.values()) if name == "meld" else MER_CAPTION_ROWS
            line = {"name": f"build/{name}", "ours": round(ours, 2), "peer": round(plain, 2)}
            print(json.dumps({**line, "ratio": round(ours / plain, 1), "unit": "s", "n": rows}))
    # ru_maxrss of children that were waited for: that of the largest one, in KiB on Linux.
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    line = {"name": "build/peak", "ours": round(peak_mib), "peer": None, "ratio": None}
    print(json.dumps({**line, "unit": "MiB", "n": len(names)}))


if __name__ == "__main__":
    main()
