"""A training script under FSDP2 on CPUs, for tests.

    python -m torch.distributed.run --nproc_per_node 2 -m tests.training.fsdp_on_cpu sft --data DATA ...

accelerate shards on accelerators only, and leaves FSDP out on a CPU. PyTorch's FSDP2 itself runs over gloo; here
accelerate is told that these processes are of a kind it shards over. What is sharded in the end is printed.
"""

import importlib
import os
import sys
from typing import Any

from accelerate import accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from affectllm.options import command

stock_state, stock_shard = PartialState.__init__, accelerator.fsdp2_prepare_model


def of_a_kind_that_is_sharded(self: PartialState, *args: Any, **options: Any) -> None:
    stock_state(self, *args, **options)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


def shard_and_count(*args: Any) -> Any:
    model = stock_shard(*args)
    parameters = list(model.parameters())
    spread = [parameter for parameter in parameters if isinstance(parameter, DTensor)]
    here = sum(parameter.to_local().numel() for parameter in spread)
    whole = sum(parameter.numel() for parameter in spread)
    # In one write, so that processes do not mix their lines.
    os.write(1, f"sharded {len(spread)} of {len(parameters)} parameters, {here} of {whole} values here\n".encode())
    return model


if __name__ == "__main__":
    PartialState.__init__ = of_a_kind_that_is_sharded  # type: ignore[method-assign]
    accelerator.fsdp2_prepare_model = shard_and_count
    command(importlib.import_module(f"train.{sys.argv[1]}").main, sys.argv[2:])
