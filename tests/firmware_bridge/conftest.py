"""No deadlines for single examples: the machine that runs them may be busy."""

from hypothesis import settings

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
