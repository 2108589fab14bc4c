"""The users of antrian/data/users.acl: what each may do, by trying what it may not."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from antrian.local.embedded import EmbeddedStores
from antrian.local.redis_users import ADMIN, USERS
from tests.support.town import copy_stores

PROGRAMS = ("server", "worker", "auditor", "rq", "operator")
LANE = "lane:{kanim-bogor}"


@pytest.fixture(scope="module")
def redis(new_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStores]:
    """Embedded stores with something in each kind of key."""
    folder = tmp_path_factory.mktemp("users")
    copy_stores(new_stores, folder)
    with EmbeddedStores(folder) as stores, Redis.from_url(stores.redis_url) as admin:
        admin.hset(LANE, "open", 1)
        admin.hset("applicants:000", "key", "entry")
        admin.rpush("rq:queue:shifts", "job")
        yield stores


def attempt(stores: EmbeddedStores, user: str, *command: str) -> object:
    with Redis.from_url(stores.redis_url_of(user)) as client:
        return client.execute_command(*command)


def test_the_file_has_these_users_and_each_is_known(redis: EmbeddedStores) -> None:
    text = files("antrian.data").joinpath("users.acl").read_text()
    assert re.findall(r"^user (\w+) on #SHA256_OF_", text, re.MULTILINE) == list(USERS)
    for user in (ADMIN, *PROGRAMS):
        assert attempt(redis, user, "PING")


@pytest.mark.parametrize("user", [*PROGRAMS, "replica", "sentinel"])
@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "KEYS *", "CONFIG SET appendfsync no", "MODULE LIST", "MODULE LOAD /tmp/x.so",
        "DEBUG SLEEP 0", "ACL LIST", "ACL SETUSER mine on nopass ~* +@all", "ACL SETUSER server +@all", "SAVE", "BGSAVE",
        "MONITOR", "CLIENT LIST", "SCRIPT FLUSH", "FUNCTION FLUSH", "FUNCTION LIST", "EVAL return(1) 0",
        "MIGRATE 127.0.0.1 1 x 0 1", "RESTORE x 0 y", "SLOWLOG GET", "LATENCY DOCTOR", "CLUSTER INFO", "FAILOVER",
        "SORT rq:queue:shifts ALPHA STORE mine", "SUBSCRIBE others", "PSUBSCRIBE *", "SHUTDOWN NOSAVE",
    ],
)  # fmt: skip
def test_no_user_may_administer_the_server(redis: EmbeddedStores, user: str, command: str) -> None:
    if user == "sentinel" and "SUBSCRIBE" in command:
        pytest.skip("sentinels find one another by channels")
    # Two are forbidden to everybody, unless the configuration allows them.
    with pytest.raises((NoPermissionError, ResponseError), match=r"(?i)permission|command not allowed"):
        attempt(redis, user, *command.split())


@pytest.mark.parametrize("user", ["server", "auditor", "rq"])
def test_only_workers_and_operators_rewrite_the_log(redis: EmbeddedStores, user: str) -> None:
    with pytest.raises(NoPermissionError):
        attempt(redis, user, "BGREWRITEAOF")


@pytest.mark.parametrize("user", PROGRAMS)
@pytest.mark.parametrize(
    "command", ["REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "PSYNC ? -1", "CONFIG REWRITE", "SYNC"]
)
def test_no_program_may_change_or_read_the_replication(redis: EmbeddedStores, user: str, command: str) -> None:
    with pytest.raises(NoPermissionError):
        attempt(redis, user, *command.split())


@pytest.mark.parametrize("user", ["server", "worker", "auditor"])
def test_a_script_has_only_the_rights_of_its_caller(redis: EmbeddedStores, user: str) -> None:
    with Redis.from_url(redis.redis_url_of(user)) as client:
        for call in (
            "'FLUSHALL'",
            "'CONFIG', 'GET', '*'",
            "'DEL', 'rq:queue:shifts'",
            "'RPUSH', 'rq:queue:shifts', 'x'",
        ):
            sha = client.script_load(f"#!lua\nreturn redis.call({call})")
            with pytest.raises(ResponseError, match=r"ACL failure|not allowed from script"):
                client.evalsha(sha, 0)


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("server", "BZPOPMIN ready 0"),
        ("server", f"DEL {LANE}"),
        ("server", "SET restored 1"),
        ("server", "SCAN 0"),
        ("server", "HGET rq:job:1 data"),
        ("server", "GET audit"),
        ("worker", "RPUSH rq:queue:shifts x"),
        ("worker", "SET rq:suspended 1"),
        ("worker", "HSET rq:job:1 data x"),
        ("worker", "PUBLISH rq:pubsub:x x"),
        ("worker", "DEL applicants:000"),
        ("auditor", "HSET applicants:000 x y"),
        ("auditor", "SET restored 1"),
        ("auditor", "RPUSH rq:queue:shifts x"),
        ("rq", f"HGETALL {LANE}"),
        ("rq", "HGETALL applicants:000"),
        ("rq", f"HSET {LANE} open 0"),
        ("rq", "XRANGE queue:{kanim-bogor} - +"),
        ("rq", "EVALSHA 0 0"),
        ("rq", "CONFIG GET *"),
        ("rq", "PUBLISH settled x"),
        ("rq", "SCAN 0"),
        ("worker", "CONFIG GET *"),
        ("auditor", "CONFIG GET *"),
        ("replica", "GET clock"),
        ("replica", f"HGETALL {LANE}"),
        ("sentinel", f"HGETALL {LANE}"),
        ("sentinel", "CONFIG GET *"),
    ],
)
def test_each_user_may_only_do_its_own_work(redis: EmbeddedStores, user: str, command: str) -> None:
    with pytest.raises((NoPermissionError, ResponseError), match=r"(?i)permission"):
        attempt(redis, user, *command.split())


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("server", f"HGET {LANE} open"),
        ("server", "CONFIG GET appendfsync"),
        ("worker", f"HGETALL {LANE}"),
        ("worker", "LRANGE rq:queue:shifts 0 -1"),
        ("auditor", "HGETALL applicants:000"),
        ("rq", "LLEN rq:queue:shifts"),
        ("operator", "HGETALL applicants:000"),
    ],
)
def test_each_user_may_do_its_own_work(redis: EmbeddedStores, user: str, command: str) -> None:
    assert attempt(redis, user, *command.split())


def test_nobody_gets_in_without_a_password(redis: EmbeddedStores) -> None:
    path = redis.redis_url.partition("@")[2]
    for userinfo in ("", "default:@", "server:wrong@"):
        with Redis.from_url(f"unix://{userinfo}{path}") as client, pytest.raises(AuthenticationError):
            client.ping()
    for file in ("passwords.json", "redis/users.acl"):
        assert (redis.folder / file).stat().st_mode & 0o777 == 0o600
    assert not any(password in (redis.folder / "redis/users.acl").read_text() for password in redis.passwords.values())
    (child,) = [child for child in redis.children if child.name == "redis"]
    arguments = Path(f"/proc/{child.process.pid}/cmdline").read_text()
    assert not any(password in arguments for password in redis.passwords.values())
