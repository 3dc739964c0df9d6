"""Stage ``start``: the policy that RL starts from, and that its KL is measured against.

Knows that it is supervised fine-tuning of a pretrained model for two epochs with a tenth of pretraining text, and that
nothing is selected; everything else is in `trainer.stages.sft`. It is not the SFT model: that one has seen its
demonstrations sixteen times, which makes a good answer and a narrow start.

Source: Ouyang et al. 2022, arXiv:2203.02155, appendix C.3 ("Initializing the RLHF models").
"""

from __future__ import annotations

from typing import Any

from trainer.settings.stages import StartSettings
from trainer.stages.sft import fine_tune


def run(settings: StartSettings) -> dict[str, Any]:
    """Fine-tune, save the last epoch's policy in Hugging Face layout, and return the metrics.

    Raises:
        WhetstoneError: bad settings or data, or the loss diverged.
    """
    return fine_tune("start", settings)
