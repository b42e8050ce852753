"""Which port each published service gets."""

from __future__ import annotations

import socket

import pytest

from stack.errors import HostError
from stack.operations.ports import check_asked_ports, choose_ports, describe_moves, is_port_free

ALL = ["engine", "prometheus", "grafana", "gateway"]


@pytest.fixture
def choose(make_session):
    """A function: stack.toml and what is taken give the ports."""

    def call(toml="", *, services=ALL, remembered=None, running=None, taken=()):
        config = make_session(toml).config
        return choose_ports(config, services, remembered or {}, running or {}, lambda address, port: port not in taken)

    return call


def test_a_free_machine_gives_the_usual_ports(choose):
    assert choose() == {"engine": 8000, "prometheus": 9090, "grafana": 3000, "gateway": 8080}


def test_a_taken_port_gives_the_next_free_one(choose):
    assert choose(services=["engine"], taken={8000, 8001}) == {"engine": 8002}


def test_a_service_that_is_not_published_has_none(choose):
    assert choose(services=["engine", "node-exporter"]) == {"engine": 8000}


def test_a_project_keeps_the_port_that_it_had(choose):
    assert choose(services=["engine"], remembered={"engine": 8017}) == {"engine": 8017}


def test_a_port_that_somebody_took_meanwhile_is_not_kept(choose):
    assert choose(services=["engine"], remembered={"engine": 8017}, taken={8017}) == {"engine": 8000}


def test_a_running_service_keeps_its_port_though_it_is_not_free(choose, make_state):
    running = {"engine": make_state("engine", host_port=8003)}
    assert choose(services=["engine"], running=running, taken={8003}) == {"engine": 8003}


def test_a_stopped_service_is_no_reason_to_keep_a_port(choose, make_state):
    running = {"engine": make_state("engine", state="exited", host_port=8003)}
    assert choose(services=["engine"], running=running) == {"engine": 8000}


def test_a_configured_port_is_taken_as_it_is_even_where_it_is_not_free(choose):
    toml = "[services.engine]\nport = 8123\n"
    assert choose(toml, services=["engine"], remembered={"engine": 8017}, taken={8123}) == {"engine": 8123}


def test_no_automatic_port_takes_the_one_that_another_service_was_given(choose):
    toml = "[services.prometheus]\nport = 8000\n"
    assert choose(toml, services=["engine", "prometheus"]) == {"engine": 8001, "prometheus": 8000}


def test_a_running_service_gives_way_to_a_port_given_to_another(choose, make_state):
    toml = "[services.prometheus]\nport = 8000\n"
    running = {"engine": make_state("engine", host_port=8000)}
    chosen = choose(toml, services=["engine", "prometheus"], running=running, taken={8000})
    assert chosen == {"engine": 8001, "prometheus": 8000}


def test_two_remembered_ports_that_are_the_same_are_parted(choose):
    chosen = choose(services=["engine", "prometheus"], remembered={"engine": 9000, "prometheus": 9000})
    assert chosen == {"engine": 9000, "prometheus": 9090}


def test_no_free_port_at_all_is_an_error_with_a_way_out(choose):
    with pytest.raises(HostError) as caught:
        choose(services=["grafana"], taken=range(3000, 3100))
    assert caught.value.message == "no port from 3000 to 3099 is free on 127.0.0.1 for `grafana`"
    assert "[services.grafana] port" in caught.value.hint


def test_the_gateways_port_is_tried_on_its_own_address(make_session):
    config = make_session('[services.gateway]\nexpose = true\naddress = "192.0.2.7"\n').config
    asked = []
    choose_ports(config, ALL, {}, {}, lambda address, port: bool(asked.append((address, port))) or True)
    assert asked[0] == ("127.0.0.1", 8000)
    assert asked[-1] == ("192.0.2.7", 8080)


def test_a_port_that_somebody_listens_on_is_not_free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not is_port_free("127.0.0.1", port)
    assert is_port_free("127.0.0.1", port)


def test_an_address_that_this_machine_does_not_have_has_no_free_port():
    assert not is_port_free("192.0.2.1", 8080)
    assert not is_port_free("2001:db8::1", 8080)


def test_a_remembered_number_that_is_no_port_is_not_kept(make_session):
    config = make_session("").config
    assert choose_ports(config, ["engine"], {"engine": 99999}, {})["engine"] != 99999


@pytest.fixture
def check_asked(make_session):
    """A function: stack.toml and who has which port give nothing, or the error that says so."""

    def call(toml, owners, running=None):
        config = make_session(toml).config
        ports = choose_ports(config, ALL, {}, running or {}, lambda address, port: port not in owners)
        check_asked_ports(config, ports, running or {}, owners.get, lambda address, port: port not in owners)

    return call


def test_ports_that_were_asked_for_and_that_others_have_are_told_with_who_has_them(check_asked):
    toml = "[services.engine]\nport = 8123\n[services.grafana]\nport = 3456\n"
    with pytest.raises(HostError) as caught:
        check_asked(toml, {8123: "`nc` (process 7)", 3456: None})
    assert caught.value.message == (
        "port 8123 is taken by `nc` (process 7), and `services.engine.port` asks for it; "
        "port 3456 is taken by another program, and `services.grafana.port` asks for it"
    )
    assert "`services.engine.port`" in caught.value.hint


def test_a_port_that_a_container_of_this_project_has_is_ours(check_asked, make_state):
    running = {"engine": make_state("engine", host_port=8123)}
    check_asked("[services.prometheus]\nport = 8123\n", {8123: "`docker-proxy`"}, running)


def test_a_taken_port_that_nobody_asked_for_is_no_error(check_asked):
    check_asked("", {8000: "`nc` (process 7)"})


def test_a_service_that_moves_to_another_port_is_told_and_one_that_stays_is_not(make_session, make_state):
    config = make_session("[services.prometheus]\nport = 9999\n").config
    ports = {"engine": 8001, "prometheus": 9999, "grafana": 3007, "gateway": 8081}
    running = {"gateway": make_state("gateway", host_port=8081)}
    said = describe_moves(config, ports, {"grafana": 3007}, running, {8000: "`nc` (process 7)"}.get)
    assert said == ["port 8000 is taken by `nc` (process 7): engine gets 8001"]


def test_a_service_that_gives_way_to_another_of_this_stack_is_not_told_of_a_stranger(make_session):
    config = make_session("[services.prometheus]\nport = 8000\n").config
    assert describe_moves(config, {"engine": 8001, "prometheus": 8000}, {}, {}, {}.get) == []
