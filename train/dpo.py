"""Teach which of two descriptions of a clip people prefer, with DPO.

    affectllm build emoprefer --source preference_emoprefer.csv --media clips --out data/emoprefer --swap
    affectllm train dpo --model runs/sft --data data/emoprefer/conversations.jsonl --out runs/judge

Trainer and loss are TRL's (DPO, arXiv 2305.18290). The preferred answer names the description that people chose, the
other answer names its rival. Every pair is in the data in both orders, so that the order says nothing. The reference is
the adapter that the run starts from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectllm.options import command, flat
from affectllm.training.options import Adapter, Data, Model, Runtime
from affectllm.training.pairs import PairOptimisation, PairStage, make_pair_trainer, pair_config
from affectllm.training.run_folder import RunFolder

if TYPE_CHECKING:
    from affectllm.models.store import MediaStore
    from affectllm.records import Conversation
    from affectllm.training.dpo import ClipDPOTrainer


@dataclass(frozen=True, kw_only=True)
class DPOData(Data):
    """The pairs to learn from, and what the model sees of their clips."""

    max_tokens: int = 4096
    """Longest question with its answer, in tokens. A longer one is an error, since cutting would drop media."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """How preferences are learnt."""

    beta: float = 0.1
    """How strongly the policy is held to the adapter that it starts from."""


@dataclass(frozen=True, kw_only=True)
class DPO:
    data: DPOData
    model: Model
    adapter: Adapter
    optimisation: PairOptimisation
    loss: Loss
    runtime: Runtime


def main(options: DPO) -> None:
    from affectllm.training.plan import Work

    def trainer_of(store: "MediaStore", pairs: "Sequence[Conversation]") -> "ClipDPOTrainer":
        return make_trainer(
            store, pairs, options.optimisation, options.loss, options.runtime, options.model.dtype, data.max_tokens
        )

    data = options.data
    # Two rows a pair, for the policy and for the reference.
    rows = 2 * options.optimisation.batch
    work = Work(prompts=rows, answers=rows, answer_tokens=4, forwards=1)
    stage = PairStage("DPOConfig", data, options.model, options.adapter, options.runtime, work)
    stage.train(RunFolder(flat(options)), trainer_of)


def make_trainer(
    store: "MediaStore",
    pairs: "Sequence[Conversation]",
    optimisation: PairOptimisation,
    loss: Loss,
    runtime: Runtime,
    dtype: str,
    max_tokens: int,
) -> "ClipDPOTrainer":
    from trl import DPOConfig

    from affectllm.training.dpo import ClipDPOTrainer, PairCollator
    from affectllm.training.seam import score_labels_only

    score_labels_only()
    config = pair_config(DPOConfig, optimisation, runtime, dtype, beta=loss.beta)
    return make_pair_trainer(ClipDPOTrainer, store, pairs, config, PairCollator(store, max_tokens))


if __name__ == "__main__":
    command(main)
