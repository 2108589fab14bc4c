"""The faults that `make test` injects: the service recovers, and every promise holds."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.faults.every import FAULTS
from tests.faults.fault import Fault
from tests.faults.run import run_fault
from tests.faults.site import Site

QUICK = [fault for fault in FAULTS if fault.quick]


class Ground:
    """Provides the site for each fault, and reuses it while it is intact and the environment is the same."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._undo = AsyncExitStack()
        self._site: Site | None = None
        self._made: tuple[Mapping[str, str], bool, int] = ({}, False, 0)

    async def site(self, fault: Fault) -> Site:
        """Returns a site as the fault needs it."""
        wanted = fault.environment, fault.standby, fault.replicas
        if self._site is None or wanted != self._made:
            await self.leave()
            self._made = wanted
            self._site = await self._undo.enter_async_context(
                Site(
                    self._factory.mktemp("site"),
                    environment=fault.environment,
                    standby=fault.standby,
                    replicas=fault.replicas,
                )
            )
        return self._site

    async def leave(self) -> None:
        """Stops the site. The next fault gets a new one."""
        await self._undo.aclose()
        self._site = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    made = Ground(tmp_path_factory)
    yield made
    await made.leave()


@pytest.mark.timeout(180)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault.name)
async def test_no_accepted_request_is_lost_or_served_out_of_order(fault: Fault, ground: Ground) -> None:
    whole = False
    try:
        result = await run_fault(fault, await ground.site(fault), fault.quick)
        whole = result.held
    finally:
        if not whole:
            await ground.leave()
    assert not result.words, "\n".join(result.words)
    assert not result.counts.total(), result.counts
    assert result.under_way > 0
    assert len(result.recovery) == fault.quick
