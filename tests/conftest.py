"""What every test shares: how hard hypothesis looks. HYPOTHESIS_PROFILE=long looks twenty times as hard."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# No deadline: nothing timed is asserted, because test machines are noisy.
settings.register_profile("short", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("short"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

# They need Java, Maven and minutes: `make interop` runs them.
collect_ignore = ["interop"]
