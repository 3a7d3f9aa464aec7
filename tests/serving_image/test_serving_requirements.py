"""requirements.txt of a model: nothing is installed unasked, and then only into a folder of the model's own."""

import sys
import zipfile

import pytest
from modelserver.errors import LoadError
from modelserver.requirements import install
from modelserver.settings import Settings

HANDLER = "import tiny_words\ndef handle(data, context):\n    return [tiny_words.SAID] * len(data or [])\n"
SCORE = "import tiny_words\ndef load_model(): return 1\ndef predict(data, model=None): return tiny_words.SAID\n"


def wheel(folder, name, version, code="", requires=()):
    """Write the least that is a wheel."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as out:
        out.writestr(f"{module}.py", code)
        out.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        out.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        out.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path):
    """One that needs another, and what the image has: that is not looked for."""
    wheel(tmp_path / "wheels", "tiny-words", "1.2", "from tiny_more import SAID\n", ["tiny-more>=1", "orjson"])
    wheel(tmp_path / "wheels", "tiny-more", "1.0", "SAID = 'from a wheel'\n")
    return tmp_path / "wheels"


@pytest.fixture
def needing(handler_archive, tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("tiny-words>=1\nnumpy\n")
    return handler_archive(HANDLER, "--requirements-file", str(path))


def test_what_is_not_installed_is_named_with_how_to_allow_it(run, needing):
    replica = run(needing)
    assert replica.until_exit() == 3
    (failed,) = replica.events("load_failed")
    assert "No module named 'tiny_words'; requirements.txt names what the model needs" in failed["error"]
    assert "MODELDROP_INSTALL_REQUIREMENTS=wheels" in failed["error"]
    assert failed["where"] == "handler.py:1"


def test_a_folder_of_wheels_is_installed_for_the_model_alone(run, needing, wheels):
    allowed = {"MODELDROP_INSTALL_REQUIREMENTS": "wheels", "MODELDROP_WHEELS": str(wheels)}
    replica = run(needing, **allowed).until_ready()
    with replica.client() as client:
        assert client.post("/predict", json={"instances": [1]}).json() == {"predictions": ["from a wheel"]}
    (installed,) = replica.events("requirements_installed")
    assert sorted(installed["packages"]) == ["tiny-more==1.0", "tiny-words==1.2"]


def test_a_score_file_has_its_requirements_too(run, tmp_path, wheels):
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "score.py").write_text(SCORE)
    (folder / "requirements.txt").write_text("tiny-words\n")
    allowed = {"MODELDROP_INSTALL_REQUIREMENTS": "wheels", "MODELDROP_WHEELS": str(wheels)}
    replica = run(folder, **allowed).until_ready()
    with replica.client() as client:
        assert client.post("/predict", json={"any": 1}).text == "from a wheel"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no-such-package-here\n", "requirements.txt could not be installed: ERROR: Could not find a version"),
        ("numpy==0.1\n", "wants another numpy than this image runs on"),
    ],
)
def test_what_cannot_be_had_is_said_and_nothing_changes(tmp_path, wheels, text, said):
    wheel(wheels, "numpy", "0.1")
    (tmp_path / "requirements.txt").write_text(text)
    before = list(sys.path)
    settings = Settings(install_requirements="wheels", wheels=wheels)
    with pytest.raises(LoadError, match=said):
        install(tmp_path / "requirements.txt", settings, tmp_path / "target")
    assert sys.path == before
    assert not (tmp_path / "target").exists()


def test_wheels_without_a_folder_of_them_is_a_clear_error(tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy\n")
    with pytest.raises(LoadError, match="MODELDROP_WHEELS must name a folder"):
        install(tmp_path / "requirements.txt", Settings(install_requirements="wheels"), tmp_path / "target")
