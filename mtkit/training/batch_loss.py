"""From a batch of ids to its loss: the whole of a forward pass in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtkit.model.transformer import Transformer
from mtkit.training.loss import projected_cross_entropy, smoothed_cross_entropy


class BatchLoss(nn.Module):
    """Ids in, summed losses out; one module, for the engines of several processes to wrap.

    Args:
        model: The model.
        smoothing: Label smoothing.
        r_drop: Weight of R-Drop; above 0 each batch passes the model twice.
    """

    def __init__(self, model: Transformer, smoothing: float = 0.0, r_drop: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.smoothing = smoothing
        self.r_drop = r_drop

    def forward(
        self, src_ids: Tensor, tgt_in_ids: Tensor, tgt_out_ids: Tensor, tgt_places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the training loss and the plain one of a batch, summed over its target tokens; see `Batch`."""
        if self.r_drop > 0:  # two passes with other dropout, one behind the other
            tgt_places = torch.cat([tgt_places, tgt_places + tgt_out_ids.numel()])
            src_ids, tgt_in_ids, tgt_out_ids = (torch.cat([ids, ids]) for ids in (src_ids, tgt_in_ids, tgt_out_ids))
        memory, mask = self.model.encode(src_ids)
        states = self.model.decode(tgt_in_ids, memory, mask)
        # Padding is taken out before the output projection, the largest product of a small model. Its places are known
        # beforehand: to look for them here would make a GPU wait.
        states, targets = states.flatten(0, 1)[tgt_places], tgt_out_ids.flatten()[tgt_places]
        if states.device.type == "cpu" and self.r_drop == 0:
            projection = self.model.output_proj
            if torch.is_autocast_enabled("cpu"):
                states = states.to(torch.get_autocast_dtype("cpu"))
            return projected_cross_entropy(states, projection.weight, projection.bias, targets, self.smoothing)
        return smoothed_cross_entropy(self.model.project(states), targets, self.smoothing, self.r_drop)
