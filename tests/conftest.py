"""What several test files need."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No test is timed: machines are shared.
settings.register_profile("sparsedistill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sparsedistill")
