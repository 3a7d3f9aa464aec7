"""How a Torch module is called: what fits a GPU, in which precision, and through which memory."""

import numpy as np
import pytest
from modelserver.handler_config import handler_config
from modelserver.settings import Settings, SettingsError
from modelserver.torch_compute import GIB, Compute, shortage

ROWS = np.array([[1.0, 2.0, 3.0, 4.0]], dtype="float32")


@pytest.mark.parametrize(
    ("weights", "free", "said"),
    [
        (0, GIB, ""),
        (10 * GIB, 12 * GIB, ""),
        (10 * GIB, 11 * GIB, "it needs about 11.5 GiB of GPU memory, and 11.0 GiB are free"),
        (0, GIB // 4, "it needs about 0.5 GiB of GPU memory, and 0.2 GiB are free"),
    ],
)
def test_what_does_not_fit_is_known_before_it_is_loaded(weights, free, said):
    assert shortage(weights=weights, free=free) == said


def test_autocast_computes_in_the_precision_that_is_asked_for(script_module):
    import torch  # noqa: PLC0415 - seconds, and only where Torch is tested

    [whole] = Compute(torch, script_module, "cpu")(ROWS).values()
    [half] = Compute(torch, script_module, "cpu", "bfloat16")(ROWS).values()
    assert whole.dtype == half.dtype == np.float32
    np.testing.assert_allclose(half, whole, rtol=0.02)
    assert (half.view("u4") & 0xFFFF == 0).all()  # what was bfloat16 has no lower bits


def test_an_array_that_may_not_be_written_to_is_taken_too(script_module):
    import torch  # noqa: PLC0415 - seconds, and only where Torch is tested

    frozen = np.frombuffer(ROWS.tobytes(), dtype="float32").reshape(ROWS.shape)
    [given] = Compute(torch, script_module, "cpu")(ROWS).values()
    [same] = Compute(torch, script_module, "cpu")(frozen).values()
    np.testing.assert_array_equal(given, same)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives_and_refuses_what_it_cannot_hold(script_module):
    import copy  # noqa: PLC0415 - for this test only

    import torch  # noqa: PLC0415 - seconds, and only where Torch is tested

    if not torch.cuda.is_available():
        pytest.skip("Torch sees no CUDA device")
    [whole] = Compute(torch, script_module, "cpu")(ROWS).values()
    [there] = Compute(torch, copy.deepcopy(script_module).to("cuda:0"), "cuda:0")(ROWS).values()
    np.testing.assert_allclose(there, whole, rtol=1e-4)


def test_a_delay_is_in_milliseconds_and_may_be_none():
    assert handler_config({"maxBatchDelay": 5}).max_delay_s == 0.005
    assert handler_config({"maxBatchDelay": 0}).max_delay_s == 0
    assert handler_config({}).max_delay_s is None


@pytest.mark.parametrize("env", [{"MODELDROP_AUTOCAST": "int8"}, {"MODELDROP_COMPILE": "yes"}])
def test_a_precision_or_a_switch_that_there_is_not_is_named(env):
    [name] = env
    with pytest.raises(SettingsError, match=f"^{name} is .* must be one of off"):
        Settings.from_env(env)
