"""What runs inside vLLM's worker process: reloading weights so that no stale copy survives.

Mixed into vLLM's worker class by name, so ``self`` is a worker.
"""

from typing import Any


class PolicyReload:
    """Adds `policy_reload` to the worker; called through ``collective_rpc``."""

    def policy_reload(self: Any, path: str) -> None:
        """Load the safetensors under ``path`` in place.

        On CPU, linear layers keep a prepacked copy of their weights that a reload refreshes only for layers named in
        the checkpoint. A tied output head is not named there, so its copy is packed again here.
        """
        self.reload_weights(weights_path=path)
        model = self.model_runner.get_model()
        if self.device.type == "cpu" and getattr(model.config, "tie_word_embeddings", False):
            model.lm_head.quant_method.process_weights_after_loading(model.lm_head)
