"""What a flow is trained to make small: callables from a flow and a batch to one number."""

from pushforward.objectives.blurring import BlurredLikelihood
from pushforward.objectives.likelihood import Batch, MaximumLikelihood, Objective
from pushforward.objectives.transport import RegularizedLikelihood

__all__ = ["Batch", "BlurredLikelihood", "MaximumLikelihood", "Objective", "RegularizedLikelihood"]
