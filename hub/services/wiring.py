"""All services over one store, put together once; everything they need is passed in here."""

import secrets
import time
from dataclasses import dataclass

import httpx
from sqlalchemy.exc import OperationalError

from hub.aggregation.aggregator import Aggregator
from hub.config.key_ring import KeyRing
from hub.config.secret_files import read_password
from hub.config.settings import HubSettings
from hub.errors import SetupRefused
from hub.services.access_tokens import AccessTokens
from hub.services.budgets import Budgets
from hub.services.candidates import Candidates
from hub.services.charters import Charters
from hub.services.course import Course
from hub.services.enrolment import Enrolments
from hub.services.identity import Identity
from hub.services.jobs import Jobs
from hub.services.keys_in_force import KeysInForce
from hub.services.limits import FixedWindow
from hub.services.log import LogReader
from hub.services.news import News
from hub.services.nonces import Nonces
from hub.services.outside_witnesses import OutsideWitnesses
from hub.services.pinned_charter import PinnedCharter
from hub.services.recorder import Clock, Recorder
from hub.services.release import Releases
from hub.services.retention import Retention
from hub.services.rounds import Rounds
from hub.services.statements import Statements
from hub.services.studies import Studies
from hub.services.timestamps import Timestamps, over_http, read_roots
from hub.services.voice import Voice
from hub.services.witness_call import WitnessCall
from hub.store.blobs import BlobPlace, open_blobs
from hub.store.database import Database
from hub.store.schema import migrate
from protocol import routes


@dataclass(frozen=True, slots=True)
class Services:
    settings: HubSettings
    database: Database
    news: News
    recorder: Recorder
    candidates: Candidates
    outside_witnesses: OutsideWitnesses
    timestamps: Timestamps | None
    charters: Charters
    identity: Identity
    enrolments: Enrolments
    studies: Studies
    rounds: Rounds
    budgets: Budgets
    releases: Releases
    jobs: Jobs
    retention: Retention
    statements: Statements
    log: LogReader
    course: Course
    aggregator: Aggregator
    token_limit: FixedWindow
    enrolment_limit: FixedWindow


def build(settings: HubSettings, keys: KeyRing, aggregator: Aggregator, clock: Clock) -> Services:
    """Open the store, bring it to the newest schema, and build every service. Raises `SetupRefused`."""
    database = _open_database(settings)
    http = httpx.Client(follow_redirects=False)
    place = BlobPlace(settings.blobs, settings.s3_endpoint, settings.s3_region, settings.s3_credentials)
    blobs = open_blobs(place)
    blobs.tidy()
    news = News()
    pinned = PinnedCharter(database)
    in_force = KeysInForce(keys, pinned, settings.log_origin)
    recorder = Recorder(database, in_force.signer, news, clock, witness_every_s=settings.witness_every_s)
    charters = Charters(database, recorder, pinned, keys, settings.log_origin, settings.consortium)
    candidates = Candidates(database, charters, news, clock)
    log = LogReader(database, pinned, news, recorder.nodes)
    budgets = Budgets(database)
    course = Course(budgets, lambda connection: Voice(in_force.hub_key(connection), _nonce))
    enrolments = Enrolments(database, recorder, charters)
    studies = Studies(database, course)
    releases = Releases(database, course, blobs, clock)
    jobs = Jobs(database, blobs, clock)
    return Services(
        settings=settings,
        database=database,
        news=news,
        recorder=recorder,
        candidates=candidates,
        outside_witnesses=OutsideWitnesses(candidates, log, WitnessCall(http), settings.witness_urls),
        timestamps=_timestamps(settings, database, http),
        charters=charters,
        identity=_identity(settings, database, charters, keys, clock),
        enrolments=enrolments,
        studies=studies,
        rounds=Rounds(database, recorder, course, blobs, place, aggregator, settings.lease_s),
        budgets=budgets,
        releases=releases,
        jobs=jobs,
        retention=Retention(database, blobs, clock, settings.keep_released_days * 86_400),
        statements=Statements(recorder, charters, enrolments, studies, budgets, releases, jobs, course),
        log=log,
        course=course,
        aggregator=aggregator,
        token_limit=FixedWindow(settings.tokens_per_minute, time.monotonic),
        enrolment_limit=FixedWindow(settings.enrolments_per_minute, time.monotonic),
    )


def _timestamps(settings: HubSettings, database: Database, http: httpx.Client) -> Timestamps | None:
    if settings.timestamp_ca is None:
        return None
    return Timestamps(database, over_http(http, settings.timestamp_url), read_roots(settings.timestamp_ca))


def _identity(settings: HubSettings, database: Database, charters: Charters, keys: KeyRing, clock: Clock) -> Identity:
    tokens = AccessTokens(keys.hub_keys, settings.log_origin, routes.audience(settings.log_origin))
    return Identity(database, charters, tokens, Nonces(keys.hub_keys, clock), clock, _nonce)


def _open_database(settings: HubSettings) -> Database:
    """The database, at the newest schema. Raises `SetupRefused` with what it or its driver said."""
    database = Database(settings.database, read_password(settings.database_password_file))
    try:
        migrate(database, settings.folder)
    except OperationalError as error:
        database.close()
        said = " ".join(str(error.orig).split())
        raise SetupRefused(f"database_url: the database can't be used: {said}") from None
    return database


def _nonce() -> str:
    return secrets.token_hex(16)
