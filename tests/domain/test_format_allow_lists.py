"""What the allow-lists hold is what they may hold, by rules that are written here anew."""

import importlib
import re

import pytest

from chalicelib.domain.formats.graph_op_names import OPS
from chalicelib.domain.formats.guarded_ops import BY_TEXT, FORBIDDEN, FREE
from chalicelib.domain.formats.members import group
from chalicelib.domain.formats.torch_globals import NUMPY, TORCH

# By their names, ops of a kind that no graph may have; and those of such a name that do nothing of the kind.
KINDS = {
    "files": (
        r"File|Reader|Record|LMDB|CSV|Sql|Snapshot|Vocab|TextLine|LoadDataset|SaveDataset|ImmutableConst|Skipgram|Remap",
        """DecodeCSV IdentityReader IdentityReaderV2 ReaderNumRecordsProduced ReaderNumRecordsProducedV2
        ReaderNumWorkUnitsCompleted ReaderNumWorkUnitsCompletedV2 ReaderRead ReaderReadUpTo ReaderReadUpToV2
        ReaderReadV2 ReaderReset ReaderResetV2 ReaderRestoreState ReaderRestoreStateV2 ReaderSerializeState
        ReaderSerializeStateV2 Snapshot""",
    ),
    "checkpoints": (r"Save|Restore|Checkpoint", "ReaderRestoreState ReaderRestoreStateV2"),
    "debugging": (
        r"Debug|Dump|SummaryFileWriter|SummaryDbWriter|Calibration",
        "BoostedTreesExampleDebugOutputs DebugGradientIdentity DebugGradientRefIdentity DebugNumericSummaryV2",
    ),
    "Python": (r"PyFunc|Python", ""),
    "the host's code": (
        r"CustomCall|HostCompute|AtHost|SendFromHost|Mlir",
        "_TPUCompileMlir _XlaCompileMlirPlaceholderProgramKey",
    ),
    "other machines": (r"Rpc|DataService|RegisterDataset|Http|Socket", ""),
    "the process": (r"Abort|Heartbeat|Kill", ""),
    "caches in files": (r"CacheDataset", ""),
}
# What torch.load(weights_only=True) allows beside Torch's own names.
PLAIN_PYTHON = """_codecs.encode builtins.bytearray builtins.complex builtins.set collections.Counter
collections.OrderedDict"""
REBUILT = {"multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer"}
CALLS = """os.system posix.system nt.system subprocess.Popen builtins.eval builtins.exec builtins.getattr builtins.open
builtins.__import__ __builtin__.eval runpy.run_path pickle.loads _pickle.loads importlib.import_module
operator.attrgetter functools.partial codecs.encode _codecs.decode types.CodeType webbrowser.open torch.load
torch.hub.load torch.jit.load torch.storage._load_from_bytes torch.serialization.load
torch._utils._import_dotted_name torch.nn.Linear torch.compile numpy.load numpy.fromfile numpy.memmap
numpy.ctypeslib.load_library numpy.testing._private.utils.runstring numpy.core.multiarray.fromfile joblib.load
__main__.Net torch.jit._pickle torch.jit._pickle.build_intlist.__globals__"""


@pytest.mark.parametrize("kind", KINDS)
def test_no_op_of_a_kind_that_reaches_out_is_free(kind):
    named, harmless = KINDS[kind]
    assert {op for op in FREE if re.search(named, op)} == set(harmless.split())


def test_every_forbidden_op_is_of_such_a_kind_so_that_none_is_freed_unseen():
    assert {op for op in FORBIDDEN if not any(re.search(named, op) for named, _ in KINDS.values())} == set()


def test_an_op_is_free_or_forbidden_or_judged_by_its_text_and_never_two_of_these():
    assert not FREE & FORBIDDEN.keys()
    assert not FREE & BY_TEXT.keys()
    assert not FORBIDDEN.keys() & BY_TEXT.keys()
    assert FREE | FORBIDDEN.keys() | BY_TEXT.keys() == OPS


def test_beside_torchs_and_numpys_own_names_six_of_python_are_allowed():
    assert {n for n in TORCH if not n.startswith("torch.")} == set(PLAIN_PYTHON.split())
    assert all(n.startswith("numpy.") for n in NUMPY)


def test_of_numpy_only_types_and_what_rebuilds_arrays_are_allowed():
    functions = {n for n in NUMPY if n.partition("core.")[2]}
    assert functions == {f"numpy.{core}.{name}" for core in ("core", "_core") for name in REBUILT}
    for name in NUMPY - functions:
        module, _, kind = name.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), kind), type), name


def test_of_torch_only_rebuilding_functions_types_and_constants_are_allowed():
    private = {n for n in TORCH if n.startswith("torch.") and re.search(r"\._|\.[a-z_]+_[a-z_]+\Z", n)}
    rebuilds = re.compile(r"torch\._(utils|tensor)\._rebuild_\w+|torch\.serialization\._get_layout")
    assert {n for n in private if not rebuilds.fullmatch(n)} == {n for n in private if n.startswith("torch.per_")}


@pytest.mark.parametrize("name", CALLS.split())
def test_what_calls_loads_or_looks_up_is_foreign_also_in_torchscript(name):
    assert group(name) == "foreign"


def test_a_name_that_only_contains_an_allowed_one_is_foreign():
    for name in sorted(TORCH | NUMPY):
        assert group(name) is None
        assert {group(f"{name}.__init__"), group(f"os.{name}"), group(f"{name}x"), group(name[1:])} == {"foreign"}
