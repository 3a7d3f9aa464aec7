"""A second version in the same process: swapped in between two requests, or refused with the first left as it is."""

import concurrent.futures
import threading

import httpx
import pytest

from tests.serving_world import running

INSTANCES = {"instances": [[1, 2, 3, 4]]}
DIGEST = "X-Modeldrop-Digest"


@pytest.fixture(scope="module")
def control_socket(tmp_path_factory):
    return tmp_path_factory.mktemp("control") / "c"


@pytest.fixture(scope="module")
def second_folder(models, script_folder, script_module):
    """The same architecture with other weights."""
    import torch  # noqa: PLC0415 - seconds, and only where Torch is tested

    from tests.serving_image.conftest import archive  # noqa: PLC0415 - a function of the tests' own

    other = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    torch.nn.init.ones_(other[0].weight)
    torch.nn.init.ones_(other[0].bias)
    with pytest.warns((DeprecationWarning, FutureWarning)):
        torch.jit.save(torch.jit.trace(other, torch.zeros(1, 4)), models / "second.pt")
    return archive(models / "second", "--handler", "base_handler", "--serialized-file", str(models / "second.pt"))


@pytest.fixture(scope="module")
def replica(script_folder, models, control_socket):
    with running(script_folder, models / "r-hot", MODELDROP_CONTROL_SOCKET=str(control_socket)) as replica:
        yield replica.until_ready()


@pytest.fixture
def load(control_socket):
    transport = httpx.HTTPTransport(uds=str(control_socket))
    with httpx.Client(transport=transport, base_url="http://control", timeout=60) as client:
        yield lambda folder: client.post("/load", json={"model_dir": str(folder)})


def predicted(replica):
    with replica.client() as client:
        answer = client.post("/predict", json=INSTANCES)
    assert answer.status_code == 200, answer.text
    return answer.headers[DIGEST], answer.json()["predictions"]


def test_every_request_is_answered_by_one_version_which_it_names(replica, load, script_folder, second_folder):
    ours = predicted(replica)
    given, asked = set(), threading.Event()

    def ask():
        while not asked.is_set():
            digest, [row] = predicted(replica)
            given.add((digest, tuple(row)))

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(ask) for _ in range(2)]
        swapped = load(second_folder)
        asked.set()
        for client in clients:
            client.result()
    assert swapped.status_code == 200, swapped.text
    assert (swapped.json()["was"], swapped.json()["digest"]) == (ours[0], predicted(replica)[0])
    assert predicted(replica)[1] == [[11, 11, 11]]
    assert given <= {(ours[0], tuple(ours[1][0])), (swapped.json()["digest"], (11, 11, 11))}
    replica.until(lambda: replica.events("dropped"), "the first version dropped")
    assert load(script_folder).json()["digest"] == ours[0]
    assert predicted(replica) == ours


def test_a_version_that_cannot_be_loaded_leaves_the_first_serving_and_says_why(replica, load, tmp_path):
    before = predicted(replica)
    (tmp_path / "model.mar").write_bytes(b"no archive")
    refused = load(tmp_path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "load_failed")
    assert "model.mar is not a zip archive" in refused.json()["error"]["message"]
    assert predicted(replica) == before
    with replica.client() as client:
        assert 'modeldrop_loads_total{result="failed"} 1.0' in client.get("/metrics").text


def test_a_version_with_code_of_its_own_is_refused(replica, load, custom_folder, tmp_path):
    before = predicted(replica)
    refused = load(custom_folder)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "cannot_hot_load")
    assert "has the handler 'own_handler.py'" in refused.json()["error"]["message"]
    (tmp_path / "score.py").touch()
    assert "is a Python predictor" in load(tmp_path).json()["error"]["message"]
    assert predicted(replica) == before


def test_another_framework_is_refused(replica, load, tmp_path):
    (tmp_path / "saved_model.pb").touch()
    assert "different frameworks" in load(tmp_path).json()["error"]["message"]


@pytest.mark.parametrize("folder", ["relative", "/nowhere/at/all"])
def test_a_folder_that_is_none_is_named(load, replica, folder):
    refused = load(folder)
    assert (refused.status_code, refused.json()["error"]["where"]) == (400, "model_dir")


def test_only_the_servers_user_may_ask_and_the_public_routes_cannot(replica, control_socket):
    assert control_socket.stat().st_mode & 0o777 == 0o600
    with replica.client() as client:
        assert client.post("/load", json={"model_dir": "/"}).status_code == 404


def test_a_control_socket_that_cannot_be_made_ends_the_start(run, custom_folder, tmp_path):
    replica = run(custom_folder, MODELDROP_CONTROL_SOCKET=str(tmp_path / "no" / "folder"))
    assert replica.until_exit() == 2
    assert "No such file" in replica.events("listen_failed")[0]["error"]
