"""Teach a reward model how well a description fits a clip, from pairs of which people preferred one.

    affectllm build emoprefer --source preference_emoprefer.csv --media clips --out data/emoprefer --swap
    affectllm train reward --model runs/sft --data data/emoprefer/conversations.jsonl --out runs/reward
    affectllm eval prefer --model runs/reward --data data/emoprefer-test/conversations.jsonl --out runs/reward/test

Trainer and loss are TRL's (Bradley-Terry). A description's score is the logit of "yes" less that of "no" after the
question whether it fits, so that the adapter written is loaded like any other.
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
    from affectllm.training.reward_model import ClipRewardTrainer


@dataclass(frozen=True, kw_only=True)
class Reward:
    data: Data
    model: Model
    adapter: Adapter
    optimisation: PairOptimisation
    runtime: Runtime


def main(options: Reward) -> None:
    from affectllm.training.plan import Work

    def trainer_of(store: "MediaStore", pairs: "Sequence[Conversation]") -> "ClipRewardTrainer":
        return make_trainer(store, pairs, options.optimisation, options.runtime, options.model.dtype)

    # Two rows a pair.
    rows = 2 * options.optimisation.batch
    work = Work(prompts=rows, answers=rows, answer_tokens=1, forwards=1)
    stage = PairStage("RewardConfig", options.data, options.model, options.adapter, options.runtime, work)
    stage.train(RunFolder(flat(options)), trainer_of)


def make_trainer(
    store: "MediaStore",
    pairs: "Sequence[Conversation]",
    optimisation: PairOptimisation,
    runtime: Runtime,
    dtype: str,
) -> "ClipRewardTrainer":
    from trl import RewardConfig

    from affectllm.training.reward_model import ClipRewardTrainer, FitCollator

    config = pair_config(RewardConfig, optimisation, runtime, dtype)
    return make_pair_trainer(ClipRewardTrainer, store, pairs, config, FitCollator(store))


if __name__ == "__main__":
    command(main)
