"""Both drivers."""

import pytest
from tests.unit.runtime.flows import Drive, in_arun, in_run


@pytest.fixture(params=[in_run, in_arun], ids=["run", "arun"])
def drive(request: pytest.FixtureRequest) -> Drive:
    driver: Drive = request.param
    return driver
