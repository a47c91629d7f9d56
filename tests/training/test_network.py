"""The network of several nodes, as far as one machine can show it."""

import socket
import threading
import time

import pytest

from calm.training.network import NetworkError, check_port, choose_interface, interface_of, own_address, prepare_network

#: for documentation (RFC 5737): no machine has it
NOWHERE = "192.0.2.1"


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_one_node_needs_no_network():
    environ = {}
    prepare_network(1, environ=environ)
    assert environ == {}


def test_the_address_and_interface_are_those_of_the_route():
    assert own_address("127.0.0.1") == "127.0.0.1"
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of(NOWHERE) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_is_refused_where_several_nodes_are_asked_for(host):
    environ = {"MASTER_ADDR": host, "MASTER_PORT": "29500", "GROUP_RANK": "1"}
    with pytest.raises(NetworkError, match="loopback") as caught:
        prepare_network(2, environ=environ)
    assert host in str(caught.value) and "MASTER_ADDR" in str(caught.value)
    assert "GLOO_SOCKET_IFNAME" not in environ


def test_several_nodes_without_a_main_one_are_one_clear_error():
    with pytest.raises(NetworkError, match="calm launch --nnodes"):
        prepare_network(4, environ={})


def test_a_name_that_nobody_knows_is_one_clear_error():
    with pytest.raises(NetworkError, match=r"No way leads to the main node 'no-such-host\.invalid'"):
        choose_interface("no-such-host.invalid", environ={})


def test_an_interface_that_was_chosen_by_hand_stays(monkeypatch):
    monkeypatch.setattr("calm.training.network.own_address", lambda host: "10.0.0.2")
    monkeypatch.setattr("calm.training.network.interface_of", lambda address: "eth7")
    environ = {"NCCL_SOCKET_IFNAME": "ib0"}
    assert choose_interface("node0", environ=environ) == "10.0.0.2"
    assert environ == {"NCCL_SOCKET_IFNAME": "ib0", "GLOO_SOCKET_IFNAME": "eth7"}


def test_a_port_that_nobody_opens_is_one_clear_error_within_the_patience(port):
    started = time.monotonic()
    with pytest.raises(NetworkError, match=rf"does not answer at 127\.0\.0\.1:{port}"):
        check_port("127.0.0.1", port, patience_seconds=0.5)
    assert 0.4 < time.monotonic() - started < 10


def test_a_main_node_that_opens_its_port_late_is_waited_for(port):
    def open_late():
        time.sleep(0.4)
        with socket.create_server(("127.0.0.1", port)) as server:
            server.accept()[0].close()

    late = threading.Thread(target=open_late, daemon=True)
    late.start()
    check_port("127.0.0.1", port, patience_seconds=20)
    late.join(timeout=20)
    assert not late.is_alive()
