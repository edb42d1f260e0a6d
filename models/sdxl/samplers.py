"""Sampling methods and noise schedules of SDXL, by the names that callers know from ComfyUI."""

from typing import Any

from models.errors import BadRequest

SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde")

# What each schedule means in the configuration of a diffusers scheduler.
_PLAIN: dict[str, Any] = {"use_karras_sigmas": False, "use_exponential_sigmas": False}
_SCHEDULES: dict[str, dict[str, Any]] = {
    "normal": {"timestep_spacing": "linspace"},
    "simple": {"timestep_spacing": "trailing"},
    "sgm_uniform": {"timestep_spacing": "trailing"},
    "karras": {"timestep_spacing": "linspace", "use_karras_sigmas": True},
    "exponential": {"timestep_spacing": "linspace", "use_exponential_sigmas": True},
}
SCHEDULES = tuple(_SCHEDULES)


def check_names(sampler: str | None, schedule: str | None) -> None:
    """Raise BadRequest, listing the known names, for one that is unknown."""
    for what, name, known in (("sampler", sampler, SAMPLERS), ("scheduler", schedule, SCHEDULES)):
        if name is not None and name not in known:
            raise BadRequest(f"{what} must be one of {', '.join(known)}; got {name!r}")


def scheduler_for(config: Any, sampler: str, schedule: str) -> Any:
    """A fresh diffusers scheduler for one run; `config` is that of the checkpoint's own scheduler and gives the noise range."""
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    check_names(sampler, schedule)
    spacing = _PLAIN | _SCHEDULES[schedule]
    match sampler:
        case "euler":
            return EulerDiscreteScheduler.from_config(config, **spacing)
        case "euler_ancestral":
            return _ancestral(config, spacing)
        case "dpmpp_2m":
            return DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver++", **spacing)
        case _:
            return DPMSolverMultistepScheduler.from_config(config, algorithm_type="sde-dpmsolver++", **spacing)


def _ancestral(config: Any, spacing: dict[str, Any]) -> Any:
    """Euler ancestral with every schedule; diffusers' own knows the spacings only (0.42)."""
    from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    levels: Any = EulerDiscreteScheduler.from_config(config, **spacing)

    class EulerAncestral(EulerAncestralDiscreteScheduler):
        def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
            super().set_timesteps(num_inference_steps, device=device)
            levels.set_timesteps(num_inference_steps, device=device)
            self.timesteps, self.sigmas = levels.timesteps, levels.sigmas

    return EulerAncestral.from_config(config, timestep_spacing=spacing["timestep_spacing"])
