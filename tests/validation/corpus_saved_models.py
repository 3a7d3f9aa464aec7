"""SavedModels: real exports, real ones that were changed, and ones written field by field."""

import struct
from collections.abc import Callable
from dataclasses import replace

from chalicelib.domain.formats import DEFAULTS
from tests.domain.uploads import folder
from tests.validation.byhand import (
    X,
    Y,
    function,
    index_of,
    message,
    meta_graph,
    node,
    number,
    pair,
    saved_model,
    signature,
    table_block,
    table_of,
    tensor_info,
    text_constant,
    variable,
    varint,
)
from tests.validation.corpus import Built, Case, Files, bad, good, unfinished

PB, INDEX, SHARD = "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"
# A saver, so that variables are expected, and the nodes that it names.
SAVES = message(3, message(1, "save/file:0") + message(2, "save/file:0") + message(3, "save/restore"))
SAVER = (text_constant("save/file", "variables"), node("save/restore", "NoOp"))
MORE = (
    *("images", "sequences", "attention", "text", "loops", "examples", "base64", "randoms", "prints", "many_shards"),
    *("many_outputs", "tf1_many_outputs"),
)
REAL = ("keras", "no_variables", "vocabulary", "tf1", "tf1_no_variables", "gpu_tag", "train_and_serve", "sharded")


def exported(name: str) -> Callable[[Built], Files]:
    return lambda built: folder(built.saved_models / name)


def more(name: str) -> Callable[[Built], Files]:
    return lambda built: folder(built.exports / name)


def changed(name: str, **changes: Callable[[bytes], bytes]) -> Callable[[Built], Files]:
    """Return an export with one file changed: `pb`, `index` or `shard`."""
    path = {"pb": PB, "index": INDEX, "shard": SHARD}

    def files(built: Built) -> Files:
        original = folder(built.saved_models / name)
        return original | {path[which]: change(original[path[which]]) for which, change in changes.items()}

    return files


def lacking(name: str, *paths: str) -> Callable[[Built], Files]:
    return lambda built: {p: b for p, b in folder(built.saved_models / name).items() if p not in paths}


def pb(*graphs: bytes) -> Files:
    return {PB: saved_model(*graphs)}


def collected_asset(file: str) -> bytes:
    """Return the field of a MetaGraphDef in which TF1 names an asset."""
    packed = message(1, "type.googleapis.com/tensorflow.AssetFileDef") + message(2, message(2, file))
    return pair(4, "saved_model_assets", message(5, message(1, packed)))


def capturing(captures: bytes) -> bytes:
    """Return the field of a MetaGraphDef in which TF2 says what a function captures."""
    return message(7, pair(2, "f", captures))


def calling(depth: int) -> bytes:
    """Return an attribute that names a function with such an attribute, and so on."""
    inner = pair(2, "f", calling(depth - 1)) if depth else b""
    return message(10, message(1, "g"), inner)


def with_index(index: bytes, shard: bytes = bytes(8)) -> Files:
    return pb(meta_graph(SAVES, nodes=[X, Y, *SAVER])) | {INDEX: index, SHARD: shard}


def saved(first: bytes, **changes: object) -> Files:
    """Return a SavedModel whose index has one block, given as its bytes."""
    return with_index(table_of(first, **changes))  # type: ignore[arg-type]


GOOD_INDEX = index_of([(b"w", variable(0, 0, 8))])
GOOD_BLOCK = table_block([(b"", number(1, 1)), (b"w", variable(0, 0, 8))])
ENDLESS = b"\xff" * 11
NO_MAGIC = GOOD_INDEX[:-8] + bytes(8)

CASES: dict[str, Case] = {f"the export {name}": good(exported(name)) for name in REAL}
CASES |= {f"the export {name}": good(more(name)) for name in MORE}
CASES |= {
    "a SavedModel written by hand": good(pb(meta_graph())),
    "variables written by hand": good(with_index(GOOD_INDEX)),
    "a graph tagged serve beside one tagged train": good(pb(meta_graph(tags=["train"], signatures={}), meta_graph())),
    "a graph tagged serve beside one tagged serve and gpu": good(pb(meta_graph(tags=["serve", "gpu"]), meta_graph())),
    "an export without saved_model.pb": unfinished(lacking("keras", PB)),
    "an export without its index": unfinished(lacking("keras", INDEX)),
    "an export without a shard": unfinished(lacking("sharded", "variables/variables.data-00001-of-00003")),
    "an export without its vocabulary": unfinished(lacking("vocabulary", "assets/words.txt")),
    "an export of TF1 without its asset": unfinished(lacking("tf1", "assets/words.txt")),
    "an export with a shard cut short": unfinished(changed("keras", shard=lambda b: b[:-1])),
    "a SavedModel beside one in chunks": bad(pb(meta_graph()) | {"saved_model.cpb": b"x"}, "two_artifacts"),
    "an empty saved_model.pb": bad({PB: b""}, "empty_file"),
    "an error page saved as the model": bad({PB: b"<html><body>404 Not Found</body></html>"}, "error_page"),
    "a saved_model.pb cut short": bad(changed("keras", pb=lambda b: b[:-10]), "bad_saved_model"),
    "a number that never ends": bad({PB: ENDLESS}, "bad_saved_model"),
    "a field that is longer than its message": bad({PB: message(2, varint(1 << 3 | 2), b"\x7f")}, "bad_saved_model"),
    "a field of an unknown wire type": bad({PB: b"\x0b"}, "bad_saved_model"),
    "a graph that is a number": bad({PB: number(2, 7)}, "bad_saved_model"),
    "a tag that is no text": bad(pb(message(1, message(4, b"\xff\xfe"))), "bad_saved_model"),
    "a tag of 17 MB": bad(pb(message(1, message(4, bytes(17 * 2**20)))), "bad_saved_model"),
    "a graph tagged train": bad(exported("train_tag"), "no_serve_tag"),
    "two graphs tagged serve and more": bad(
        pb(meta_graph(tags=["serve", "gpu"]), meta_graph(tags=["serve", "tpu"])), "no_serve_tag"
    ),
    "no graph": bad({PB: number(1, 1)}, "no_serve_tag"),
    "another signature": bad(exported("other_signature"), "no_serving_default"),
    "a signature without inputs": bad(
        pb(meta_graph(signatures={"serving_default": signature({}, {"y": tensor_info("y:0")})})), "no_serving_default"
    ),
    "a signature without outputs": bad(
        pb(meta_graph(signatures={"serving_default": signature({"x": tensor_info()}, {})})), "no_serving_default"
    ),
    "an asset outside assets/": bad(pb(meta_graph(message(6, message(2, "../secrets")))), "illegal_path"),
    "an asset of TF1 outside assets/": bad(pb(meta_graph(collected_asset("../secrets"))), "illegal_path"),
    "an asset with an absolute path": bad(pb(meta_graph(message(6, message(2, "/etc/passwd")))), "illegal_path"),
    "an index cut short": bad(changed("keras", index=lambda b: b[:-1]), "bad_variables_index"),
    "an index with another byte": bad(changed("keras", index=lambda b: b"\1" + b[1:]), "bad_variables_index"),
    "an index that is too large": bad(exported("keras"), "bad_variables_index", limits=replace(DEFAULTS, index=10)),
    "an index without its magic": bad(with_index(NO_MAGIC), "bad_variables_index"),
    "an index that is compressed": bad(saved(GOOD_BLOCK, kind=1), "bad_variables_index"),
    "an index without a header": bad(with_index(table_of(table_block([]))), "bad_variables_index"),
    "an index that begins with a variable": bad(saved(table_block([(b"w", variable(0, 0, 8))])), "bad_variables_index"),
    "an index of no shards": bad(with_index(index_of([], shards=0)), "bad_variables_index"),
    "an index of a million shards": bad(with_index(index_of([], shards=10**6)), "bad_variables_index"),
    "a variable in a shard that isn't there": bad(
        with_index(index_of([(b"w", variable(7, 0, 8))])), "bad_variables_index"
    ),
    "a block that lies past the end": bad(saved(GOOD_BLOCK, handle=varint(0) + varint(10**6)), "bad_variables_index"),
    "a block without its restarts": bad(saved(b"\0"), "bad_variables_index"),
    "a block of too many restarts": bad(saved(struct.pack("<I", 9)), "bad_variables_index"),
    "a row that runs past its block": bad(saved(b"\0\x09\x09" + struct.pack("<2I", 0, 1)), "bad_variables_index"),
    "a row with a length that never ends": bad(saved(ENDLESS + struct.pack("<2I", 0, 1)), "bad_variables_index"),
    "a handle that is cut": bad(saved(GOOD_BLOCK, handle=b""), "bad_variables_index"),
    "a shard that is too long": bad(changed("keras", shard=lambda b: b + b"x"), "shard_too_long"),
}
RISKY = ("reads_a_file", "writes_a_file", "lists_files", "calls_python", "prints_to_a_file", "saves", "reads_lines")
READS = node("reads", "ReadFile", "x")
INITIALIZES = node("fills", "InitializeTableFromTextFileV2", "table", "name")
CASES |= {f"an export that {name.replace('_', ' ')}": bad(more(name), "forbidden_op") for name in RISKY}
CASES |= {
    "a file that is read in the graph": bad(pb(meta_graph(nodes=[X, Y, READS])), "forbidden_op"),
    "a file that is read in a function that nobody calls": bad(
        pb(meta_graph(functions=[function("idle", text_constant("x", "/etc/passwd"), READS)])), "forbidden_op"
    ),
    "a table that is filled from a constant name": bad(
        pb(meta_graph(nodes=[X, Y, node("table", "HashTableV2"), text_constant("name", "/etc/passwd"), INITIALIZES])),
        "untraced_file",
    ),
    "an op that TensorFlow doesn't have": bad(pb(meta_graph(nodes=[X, Y, node("z", "Exfiltrate")])), "unknown_op"),
    "an input that no node gives": bad(pb(meta_graph(nodes=[Y])), "missing_tensor"),
    "an output that no node gives": bad(pb(meta_graph(nodes=[X])), "missing_tensor"),
    "an output past those of its node": bad(pb(meta_graph(nodes=[X, node("y", "NoOp")])), "missing_tensor"),
    "a shard of another count": bad(
        lambda b: folder(b.saved_models / "keras") | {"variables/variables.data-00000-of-00002": b"x"}, "stray_shard"
    ),
    "a variable with other bytes": bad(changed("tf1", shard=lambda b: bytes([b[0] ^ 1]) + b[1:]), "bad_checksum"),
}
WHOLE = saved_model(meta_graph())
HEADED = b"\0\0\2" + number(1, 1)
SHARING = bytes([5, 1, len(variable(0, 0, 8))]) + b"w" + variable(0, 0, 8)
CASES |= {
    "a graph that is nothing": bad({PB: WHOLE + number(2, 0)}, "bad_saved_model"),
    "a field without a number": bad({PB: WHOLE + b"\0\0"}, "bad_saved_model"),
    "a field of too large a number": bad({PB: WHOLE + varint(2**33) + b"\0"}, "bad_saved_model"),
    "an index with another key": bad(with_index(GOOD_INDEX.replace(b"w", b"v", 1)), "bad_variables_index"),
    "a row that shares more than there is": bad(
        saved(HEADED + SHARING + struct.pack("<2I", 0, 1)), "bad_variables_index"
    ),
    "captures that are no numbers": bad(pb(meta_graph(capturing(varint(2 << 3 | 5) + bytes(4)))), "bad_saved_model"),
    "captures that never end": bad(pb(meta_graph(capturing(message(2, ENDLESS)))), "bad_saved_model"),
    "functions in functions without end": bad(
        pb(meta_graph(nodes=[X, Y, node("n", "PartitionedCall", attrs={"f": calling(30)})])), "bad_saved_model"
    ),
    "a node of too many inputs": bad(pb(meta_graph(nodes=[X, Y + message(3, "x") * 100_001])), "bad_saved_model"),
    "one name for two nodes": bad(pb(meta_graph(nodes=[X, Y, X])), "bad_saved_model"),
    "a function with the name of an op": bad(pb(meta_graph(functions=[function("Identity", X)])), "forbidden_op"),
}
