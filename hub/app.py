"""The hub as an ASGI application: services, routes, jobs, and how they start and stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Protocol

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool

from hub.aggregation.aggregator import Aggregator
from hub.aggregation.process_pool import ProcessPool
from hub.aggregation.ray_driver import RayCluster
from hub.aggregation.ray_executor import RayExecutor, require_ray
from hub.aggregation.supervisor import Supervisor
from hub.api import budgets, enrolment, health, identity, log, openapi, problems, rounds, studies
from hub.api import jobs as job_routes
from hub.api.admission import FreshNonce, admission, check_routes
from hub.api.server import LateRequests
from hub.config.key_ring import KeyRing
from hub.config.secret_files import read_passphrase
from hub.config.settings import HubSettings
from hub.jobs.checkpointer import Checkpointer
from hub.jobs.retention_sweeper import RetentionSweeper
from hub.jobs.round_driver import RoundDriver
from hub.jobs.timestamper import Timestamper
from hub.jobs.token_sweeper import TokenSweeper
from hub.jobs.witnesses import WitnessAsker
from hub.services.recorder import Clock
from hub.services.wiring import Services, build
from protocol.routes import OPENAPI

OTHER_REPLICAS_EVERY_S = 1.0


class Job(Protocol):
    """A thread beside the requests; `stop` waits for its end."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


def make_app(settings: HubSettings, aggregator: Aggregator | None = None, clock: Clock = utc_now) -> FastAPI:
    """The application. Raises `SetupRefused` when folder, keys or settings aren't fit."""
    aggregator = aggregator or open_aggregator(settings)
    keys = KeyRing.opened(settings.keys, lambda: read_passphrase(settings.key_passphrase_file))
    services = build(settings, keys, aggregator, clock)
    driver = RoundDriver(services.rounds, settings.tick_s, settings.keep_sums_s)
    jobs: list[Job] = [
        driver,
        Checkpointer(services.recorder, settings.checkpoint_age_s),
        WitnessAsker(services.outside_witnesses),
        TokenSweeper(services.identity),
        RetentionSweeper(services.retention),
    ]
    if services.timestamps is not None:
        jobs.append(Timestamper(services.timestamps))
    services.course.wake = driver.wake

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services.news.attach(asyncio.get_running_loop())
        watcher = asyncio.create_task(_watch_other_replicas(services))
        aggregator.start(services.rounds.added)
        for job in jobs:
            job.start()
        yield
        watcher.cancel()
        services.news.detach()
        for stop in (*(job.stop for job in jobs), aggregator.close, services.database.close):
            await run_in_threadpool(stop)

    app = FastAPI(title="Consortia hub", lifespan=lifespan, openapi_url=OPENAPI, docs_url=None, redoc_url=None)
    registry = CollectorRegistry()
    problems.install(app)
    app.add_middleware(FreshNonce, nonces=services.identity.nonces)
    app.add_middleware(health.RequestCounter, registry=registry)
    app.add_middleware(LateRequests, stopping=lambda: services.news.stopped)
    app.state.stopping = services.news.detach
    parts = [part.router(services) for part in (identity, enrolment, studies, rounds, job_routes, budgets, log)]
    parts.append(health.router(services, registry))
    check_routes(parts)
    for part in parts:
        app.include_router(part, dependencies=[Depends(admission(services))])
    openapi.install(app)
    return app


def open_aggregator(settings: HubSettings) -> Aggregator:
    """The one that the settings ask for; nothing is started yet. Raises `SetupRefused`."""
    if settings.aggregator == "processes":
        return Supervisor(lambda: ProcessPool(settings.workers))
    require_ray(settings.ray_token)
    cluster = RayCluster(settings.ray_address, settings.workers, settings.ray_token)
    return Supervisor(lambda: RayExecutor(cluster))


async def _watch_other_replicas(services: Services) -> None:
    """Ring when the log grew without this process: a cheap look once a second, for all who wait."""
    seen = None
    while True:
        state = await run_in_threadpool(services.log.state)
        if seen is not None and state != seen:
            services.news.ring(urgent=True)
        seen = state
        await asyncio.sleep(OTHER_REPLICAS_EVERY_S)
