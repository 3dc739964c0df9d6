"""The processes of one machine: settings that all of them understand, a ledger that is durable, clear failures."""

from pathlib import Path

import pytest

from deploy.stack import Stack, StackSettings, answers
from deploy.supervisor import ProcessFailed, Supervisor
from feedback import access, policies, promotion
from serve.settings import ServeSettings
from tests.builders import make_policy
from tests.conftest import free_port
from trainer.settings.service import TrainerSettings
from workers.settings import WorkerSettings


def make_settings(directory: Path) -> StackSettings:
    return StackSettings.local(directory, free_port(), {"WHETSTONE_MAX_MODEL_LEN": "256"})


def test_every_process_reads_its_settings_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(tmp_path)
    for name, value in settings.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    serve, workers, trainer = ServeSettings.load(), WorkerSettings.load(), TrainerSettings.load()
    assert serve.port == settings.port
    assert serve.max_model_len == 256
    assert serve.artifact_root == workers.artifact_root == trainer.artifact_root == tmp_path / "artifacts"
    assert serve.ledger_url == workers.ledger_url == trainer.ledger_url
    assert workers.broker_url != workers.ledger_url
    assert workers.serve_url == settings.url
    assert 0 not in (workers.workers_metrics_port, trainer.trainer_metrics_port)


def test_all_ports_are_different(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    ports = [settings.port, settings.ledger_port, settings.broker_port, *settings.metrics_ports]
    assert len(set(ports)) == len(ports)


def test_a_started_ledger_is_durable_the_broker_is_another_server_and_both_end_with_the_block(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with Supervisor(tmp_path / "logs") as supervisor:
        ledger = Stack(settings, supervisor).start_ledger()
        assert ledger.redis.config_get("appendfsync")["appendfsync"] == "always"
        secret, _ = access.create(ledger, "client", "acme")
    with Supervisor(tmp_path / "logs") as supervisor:
        ledger = Stack(settings, supervisor).start_ledger()
        assert access.find(ledger, secret).owner == "acme"


def test_a_policy_that_is_live_already_is_kept(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs") as supervisor:
        stack = Stack(make_settings(tmp_path), supervisor)
        ledger = stack.start_ledger()
        policies.register(ledger, make_policy("policy-0000"))
        promotion.promote(ledger, "candidate", "set-up")
        assert stack.register_base(tmp_path / "no model") == "policy-0000"


def test_a_model_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs") as supervisor:
        stack = Stack(make_settings(tmp_path), supervisor)
        stack.start_ledger()
        with pytest.raises(ProcessFailed, match="trainer register ended with exit code") as caught:
            stack.register_base(tmp_path / "no model")
    assert "\n" not in str(caught.value)
    assert "no model" in str(caught.value)


def test_processes_start_in_the_order_in_which_they_need_each_other(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs") as supervisor:
        services = Stack(make_settings(tmp_path), supervisor).services("ws-client-sampler")
    assert [each.name for each in services] == ["serve", "worker", "beat", "trainer"]
    holders = [each.name for each in services if "ws-client-sampler" in each.environment.values()]
    assert holders == ["worker"], "only who needs the sampler's key has it"


def test_an_address_that_does_not_answer_is_not_ready() -> None:
    assert not answers(f"http://127.0.0.1:{free_port()}/readyz")
