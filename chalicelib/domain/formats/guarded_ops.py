"""Which ops of TensorFlow may stand anywhere in a served graph, which only in one position, and which nowhere.

What reaches for a file, the network or the host's own code is guarded; every other name of TensorFlow's registry is
free; a name that isn't in the registry is unknown. Keyed by op, the value says what it does.
"""

from collections.abc import Mapping

from chalicelib.domain.formats.graph_op_names import OPS


def _kind(what: str, names: str) -> Mapping[str, str]:
    return dict.fromkeys(names.split(), what)


# The three that a saver needs: what it writes with, what it reads with. Elsewhere they are forbidden.
SAVES = _kind(
    "writes checkpoints", "SaveV2 Save SaveSlices MergeV2Checkpoints ShardedFilename ShardedFilespec DistributedSave"
)
RESTORES = _kind("reads checkpoints", "RestoreV2 Restore RestoreSlice")
# Allowed where the file is one of the export's assets.
TABLES = _kind("reads a file", "InitializeTableFromTextFileV2 InitializeTableFromTextFile")
# Allowed where the file has no name: then they hold what they keep in memory.
CACHES = _kind("is a dataset that writes files", "CacheDataset CacheDatasetV2")

_NOWHERE: Mapping[str, str] = {
    **_kind(
        "reads files",
        """ReadFile MatchingFiles WholeFileReader WholeFileReaderV2 TextLineReader TextLineReaderV2 TFRecordReader
        TFRecordReaderV2 FixedLengthRecordReader FixedLengthRecordReaderV2 LMDBReader RecordInput Skipgram
        ImmutableConst LoadAndRemapMatrix GenerateVocabRemapping DTensorRestoreV2""",
    ),
    **_kind(
        "is a dataset over files",
        """TextLineDataset TFRecordDataset TFRecordDatasetV2 FixedLengthRecordDataset FixedLengthRecordDatasetV2
        CSVDataset CSVDatasetV2 ExperimentalCSVDataset LMDBDataset ExperimentalLMDBDataset SqlDataset
        ExperimentalSqlDataset MatchingFilesDataset ExperimentalMatchingFilesDataset LoadDataset SnapshotDataset
        SnapshotDatasetV2 SnapshotDatasetReader SnapshotNestedDatasetReader SnapshotChunkDataset
        ListSnapshotChunksDataset""",
    ),
    **_kind(
        "writes files",
        """WriteFile SaveDataset SaveDatasetV2 DatasetToTFRecord ExperimentalDatasetToTFRecord CreateSummaryFileWriter
        CreateSummaryDbWriter DumpTensor CalibrationStatisticsSaver DebugIdentity DebugIdentityV2 DebugIdentityV3
        DebugNanCount DebugNumericSummary""",
    ),
    **_kind("calls the exporter's own Python", "PyFunc PyFuncStateless EagerPyFunc"),
    **_kind(
        "calls code of the host",
        """XlaCustomCall XlaCustomCallV2 XlaHostCompute _XlaHostComputeMlir _XlaSendFromHost _XlaSendFromHostV2
        _XlaRecvAtHost _XlaRecvAtHostV2 MlirPassthroughOp""",
    ),
    **_kind(
        "reaches other machines",
        """RpcServer RpcServerStart RpcServerRegister RpcClient RpcCall RpcCheckStatus RpcGetValue
        DeleteRpcFutureResource DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4
        RegisterDataset RegisterDatasetV2""",
    ),
    **_kind("ends the process", "Abort WorkerHeartbeat"),
    **_kind("changes how the host's files are reached", "FileSystemSetConfiguration"),
}
# Forbidden by what an attribute says: the attribute, what it may begin with ("" is the empty text), what else it does.
BY_TEXT: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "PrintV2": ("output_stream", ("stderr", "stdout", "log("), "prints to a file"),
    "DecodeProtoV2": ("descriptor_source", ("", "local://", "bytes://"), "reads a file of descriptors"),
    "EncodeProto": ("descriptor_source", ("", "local://", "bytes://"), "reads a file of descriptors"),
    "FixedUnigramCandidateSampler": ("vocab_file", ("",), "reads a file"),
}
FORBIDDEN: Mapping[str, str] = {**_NOWHERE, **SAVES, **RESTORES, **TABLES, **CACHES}
FREE = OPS - FORBIDDEN.keys() - BY_TEXT.keys()


def what_text_does(op: str, texts: Mapping[str, str]) -> str:
    """Return what an op judged by its attribute does that it may not; "" where it may."""
    attribute, allowed, what = BY_TEXT[op]
    text = texts.get(attribute, allowed[0])
    fine = any(text.startswith(start) if start else not text for start in allowed)
    return "" if fine else what
