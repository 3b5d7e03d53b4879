"""Training of ensembles: members side by side, each with rows of its own."""

from pushforward.training.members.fit import MemberHistory, fit_members
from pushforward.training.members.plan import Plan, plan

__all__ = ["MemberHistory", "Plan", "fit_members", "plan"]
