"""InstantID's IdentityNet: a ControlNet that reads the face instead of the prompt."""

from typing import Any

from diffusers.models.controlnets.controlnet import ControlNetModel  # noqa: TID253


class FaceControlNet(ControlNetModel):
    """A ControlNet whose cross-attention sees `face_tokens` (2B with guidance, else B; 16; width), set before each run."""

    face_tokens: Any = None

    def forward(self, sample: Any, timestep: Any, encoder_hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """As the parent's, with the prompt exchanged for the face."""
        return super().forward(sample, timestep, self.face_tokens, *args, **kwargs)
