"""What the image promises beyond its contracts: no rights, nothing written, a health check, a drain.

It needs images and what runs them: `make image-test` builds and names both.
"""

import json
import threading

import pytest

from tests.serving_container import images_to_test, start_container

IMAGES = images_to_test()
TORCH_WORKS = """
import json, torch, torchvision, torch.distributed, ts.torch_handler.image_classifier
product = (torch.ones(2, 2) @ torch.ones(2, 2))[0, 0].item()
torch.nn.Conv2d(3, 8, 3)(torch.ones(1, 3, 8, 8)); torch.linalg.svd(torch.rand(4, 4)); torch.fft.fft(torch.rand(8))
kept = torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5).tolist()
try:
    refused = torch.ones(1).cuda() and ""
except RuntimeError as error:
    refused = type(error).__name__
print(json.dumps({"cuda": torch.cuda.is_available(), "nms": kept, "product": product, "refused": refused}))
"""
pytestmark = pytest.mark.skipif(not IMAGES, reason="`make image-test` builds the images and names them")


@pytest.fixture(scope="module", params=sorted(IMAGES))
def container(request):
    folders = {"tensorflow": "saved_models", "pytorch": "custom_folder"}
    folder = request.getfixturevalue(folders[request.param])
    with start_container(IMAGES[request.param], folder / "keras" if request.param == "tensorflow" else folder) as found:
        yield found


@pytest.fixture(scope="module")
def torch_container(custom_folder):
    if "pytorch" not in IMAGES:
        pytest.skip("no image of PyTorch is named")
    # SageMaker's argument comes after the image's entry point.
    with start_container(IMAGES["pytorch"], custom_folder, arguments=["serve"]) as found:
        yield found


def test_it_answers_and_says_which_bytes_gave_the_answer(container):
    rows = [[[1, 2], [3, 4]]]
    with container.client() as client:
        answer = client.post("/predict", json={"instances": rows})
        health = client.get("/ping")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 1
    assert health.json()["digest"] == answer.headers["X-Modeldrop-Digest"]


def test_metrics_are_there_for_prometheus(container):
    with container.client() as client:
        assert "# TYPE" in client.get("/metrics").text


def test_it_runs_without_rights(container):
    status = container.execute("python", "-c", "print(open('/proc/1/status').read())").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == set(fields["Gid"].split()) == {"10001"}
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.parametrize("folder", ["/opt/ml/model", "/opt/modelserver", "/opt/venv", "/", "/etc", "/var/tmp"])
def test_nothing_can_be_written(container, folder):
    written = container.execute("python", "-c", f"open({folder!r} + '/x', 'w')")
    assert written.returncode == 1
    assert "Read-only file system" in written.stderr or "Permission denied" in written.stderr


def test_only_the_temporary_folder_takes_files(container):
    assert container.execute("python", "-c", "open('/tmp/x', 'w').write('x')").returncode == 0


def test_a_library_that_asks_who_it_is_gets_a_name(container):
    asked = container.execute("python", "-c", "import getpass, pathlib; print(getpass.getuser(), pathlib.Path.home())")
    assert asked.stdout.split() == ["serving", "/tmp"]


def test_its_health_check_says_what_a_platform_would_find(container):
    assert container.execute("python", "-m", "modelserver.probe").returncode == 0
    elsewhere = container.execute("env", "AIP_HTTP_PORT=1", "python", "-m", "modelserver.probe")
    assert elsewhere.returncode == 1


def test_the_libraries_have_their_bytecode(container):
    counted = container.execute(
        "python",
        "-c",
        "import pathlib, yaml, json; folder = pathlib.Path(yaml.__file__).parent;"
        "print(json.dumps([len(list(folder.glob('*.py'))), len(list(folder.glob('__pycache__/*.pyc')))]))",
    )
    sources, compiled = json.loads(counted.stdout)
    assert sources == compiled > 0


def test_torch_computes_without_cuda_and_says_that_it_has_none(torch_container):
    ran = torch_container.execute("python", "-c", TORCH_WORKS)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"cuda": False, "nms": [0], "product": 2.0, "refused": "RuntimeError"}


def test_an_open_request_is_answered_while_it_drains(torch_container):
    gate = "/tmp/gate"
    answers = []

    def ask():
        with torch_container.client() as client:
            answers.append(client.post("/predictions/model", json={"command": "wait", "for": gate}))

    asking = threading.Thread(target=ask)
    asking.start()
    with torch_container.client() as client:
        while "modeldrop_running_requests 1.0" not in client.get("/metrics").text:
            assert asking.is_alive(), answers
    torch_container.say("kill", "--signal=TERM", torch_container.name)
    while not any(line.get("event") == "draining" for line in torch_container.log()):
        assert torch_container.is_running()
    torch_container.execute("python", "-c", f"open({gate!r}, 'w')")
    asking.join(60)
    assert [answer.text for answer in answers] == ["waited"]
    assert torch_container.stop() == 0
