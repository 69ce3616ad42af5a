"""Settings that every service reads."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.settings import ServiceSettings


def settings(**members: object) -> ServiceSettings:
    required = {"amqp_url": "amqp://host", "internal_secret": "a secret of the tests", "artifacts_url": "http://host"}
    return ServiceSettings.model_validate({**required, **members})


@pytest.mark.parametrize(("lease_s", "heartbeat_s"), [(8, 2), (2, 1), (0.5, 0.25)])
def test_a_heartbeat_may_be_late_within_a_lease(lease_s: float, heartbeat_s: float) -> None:
    assert settings(lease_s=lease_s, heartbeat_s=heartbeat_s).lease_s == lease_s


@pytest.mark.parametrize(("lease_s", "heartbeat_s"), [(8, 4.1), (1, 2), (0, 0), (-1, -1), (8, 0)])
def test_a_lease_that_runs_out_between_heartbeats_is_refused(lease_s: float, heartbeat_s: float) -> None:
    with pytest.raises(ValidationError, match=r"heartbeat_s|lease_s"):
        settings(lease_s=lease_s, heartbeat_s=heartbeat_s)
