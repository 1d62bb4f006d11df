"""Chooses the rows of a batch: clips that cannot be read, and groups without a signal, are replaced by other rows."""

from collections.abc import Callable, Container, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import torch

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Sample
from affectllm.records import Conversation
from affectllm.training.grpo.batch import put_rows
from affectllm.training.quarantine import Quarantine

if TYPE_CHECKING:
    from accelerate import Accelerator

Row = dict[str, Any]
Read = Callable[[Conversation], Sample]
Note = Callable[[Sample, Conversation], None]


class ClipReader:
    """Reads the clips of a batch. A clip that can no longer be read goes to quarantine, and another takes its place.

    TRL needs full groups, so a row cannot just be left out.
    """

    def __init__(self, rows: Sequence[Row], quarantine: Quarantine) -> None:
        self.rows = rows
        """All training data."""
        self.quarantine = quarantine
        self.samples: dict[str, Sample] = {}
        """The samples that were read last, by prompt."""

    def read(self, inputs: Sequence[Row], read: Read, notes: Sequence[Note], step: int) -> list[Row]:
        """The rows, with other rows of the data in place of those whose clip cannot be read.

        Every sample is shown to `notes`, which may refuse it with an AffectError as `read` may.
        """
        self.samples = {}
        other: dict[str, Row] = {}
        spare = iter(())
        for row in inputs:
            chosen = row
            while chosen["prompt"] not in self.samples and row["prompt"] not in other:
                if self._attempt(chosen, read, notes, step):
                    break
                # The generator that is saved with every checkpoint: a resumed run draws the same rows.
                spare = spare if chosen is not row else iter(torch.randperm(len(self.rows)).tolist())
                found = next(spare, None)
                if found is None:
                    raise AffectError(f"None of {len(self.rows)} clips can be read any more. Is the disk mounted?")
                chosen = self.rows[found]
            if chosen is not row:
                other[row["prompt"]] = chosen
        return [other.get(row["prompt"], row) for row in inputs]

    def _attempt(self, row: Row, read: Read, notes: Sequence[Note], step: int) -> bool:
        """Read one row's clip. False if it is in quarantine or is put there now."""
        if row["id"] in self.quarantine.ids:
            return False
        conversation = msgspec.json.decode(row["prompt"], type=Conversation)
        try:
            sample = read(conversation)
            for note in notes:
                note(sample, conversation)
        except AffectError as error:
            self.quarantine.add(conversation, str(error), "another clip takes its place", step)
            return False
        self.samples[row["prompt"]] = sample
        return True


class Draw(NamedTuple):
    """Completions of this process, generated and scored."""

    output: dict[str, Any]
    """TRL's batch."""
    samples: list[Sample]
    records: list[Row]
    """What is written down about each completion; those of `samples` come first."""


class DynamicSampling:
    """Groups without a difference in reward are replaced by groups over other clips (DAPO, arXiv 2503.14476, 3.2).

    At most `rounds` times a batch; `rows` is all training data, `size` the completions of a group.
    """

    def __init__(self, rounds: int, rows: Sequence[Row], size: int) -> None:
        self.rounds = rounds
        self.rows = rows
        self.size = size

    def replace_silent(
        self,
        batch: Draw,
        draw: Callable[[list[Row]], Draw],
        taken: Container[str],
        accelerator: "Accelerator",
        pad_id: int,
    ) -> int:
        """Replace silent groups of the batch, in place. Return the number of groups that were drawn for it.

        `draw` generates and scores rows; clips whose prompts are in `taken` are not drawn while there are others.
        """
        silent = self.silent_groups(batch.records, len(batch.samples))
        # Every process draws as many groups as the one that needs most, since they wait for each other in TRL.
        wanted = int(accelerator.gather(torch.tensor([len(silent)], device=accelerator.device)).max())
        if not wanted:
            return 0
        new = draw([row for row in self.other_rows(taken, wanted) for _ in range(self.size)])
        spare = new.records
        good = [i for i in range(wanted) if alive([row["reward"] for row in spare[i * self.size :][: self.size]])]
        for old, group in zip(silent, good, strict=False):
            self.exchange(batch, self.rows_of(old), new, self.rows_of(group), pad_id)
        batch.records.extend({**row, "trained": False} for row in spare)
        return wanted

    def silent_groups(self, records: Sequence[Row], count: int) -> list[int]:
        """Which groups of `count` completions have no signal."""
        if count % self.size:
            raise AffectError(
                f"Dynamic sampling needs whole groups on each process, but {count} rows are not a multiple of --group "
                f"{self.size}."
            )
        groups = range(count // self.size)
        return [i for i in groups if not alive([row["reward"] for row in records[self.rows_of(i)]])]

    def other_rows(self, taken: Container[str], wanted: int) -> list[Row]:
        """Rows of other clips, as far as there are any. With few data, the same clips are sampled once more."""
        order = (self.rows[i] for i in torch.randperm(len(self.rows)).tolist())
        fresh = list(islice((row for row in order if row["prompt"] not in taken), wanted))
        return fresh + [self.rows[i % len(self.rows)] for i in range(wanted - len(fresh))]

    def rows_of(self, group: int) -> slice:
        return slice(group * self.size, (group + 1) * self.size)

    @staticmethod
    def exchange(batch: Draw, to: slice, new: Draw, source: slice, pad_id: int) -> None:
        """Put rows of `new` into the batch, and swap the records of both."""
        batch.samples[to] = new.samples[source]
        batch.records[to], new.records[source] = new.records[source], batch.records[to]
        for key, value in batch.output.items():
            if value.ndim:
                pad = pad_id if key in ("prompt_ids", "completion_ids") else 0
                left = key.startswith("prompt")
                batch.output[key] = put_rows(value, to, new.output[key][source], left=left, pad=pad)


def alive(rewards: Sequence[float | None]) -> bool:
    """Whether a group has a signal: rewards that differ.

    >>> alive([0.5, None, 0.5]), alive([0.5, 0.25])
    (False, True)
    """
    known = [reward for reward in rewards if reward is not None]
    return bool(known) and max(known) - min(known) > 1e-6
