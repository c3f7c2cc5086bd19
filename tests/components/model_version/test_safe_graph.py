"""What a SavedModel could do beside computing is found before anything of it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from components.errors import VersionError
from components.model_version.safe_graph import require_safe

TEXT = tf.TensorSpec([None], tf.string, name="x")
Function = Callable[[tf.Tensor], object]


def save(folder: Path, function: Function, **tracked: object) -> Path:
    """Saves a model whose one signature is a function of texts."""
    module = tf.Module()
    for name, value in tracked.items():
        setattr(module, name, value)
    module.serve = tf.function(lambda x: {"y": function(x)}, input_signature=[TEXT])
    tf.saved_model.save(module, str(folder), {"serving_default": module.serve})
    return folder


def change(folder: Path, edit: Callable[[SavedModel], None]) -> Path:
    """Edits a SavedModel as somebody who writes into the folder would."""
    file = folder / "saved_model.pb"
    saved = SavedModel.FromString(file.read_bytes())
    edit(saved)
    file.write_bytes(saved.SerializeToString())
    return folder


def refusal(model: Path, **options: object) -> str:
    with pytest.raises(VersionError) as caught:
        require_safe(model, **options)
    return str(caught.value)


def in_a_loop(x: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(
        lambda i, _: i < 1, lambda i, _: (i + 1, tf.io.read_file("/etc/hostname")), [0, x[0]]
    )[1]


HARMFUL: dict[str, Function] = {
    "ReadFile": lambda x: tf.io.read_file(x[0]),
    "ReadFile in function": in_a_loop,
    "WriteFile": lambda x: [tf.io.write_file(x[0], x[0]), tf.identity(x)][1],
    "MatchingFiles": lambda x: tf.io.matching_files(x[0]),
    "PrintV2": lambda x: [tf.print(x, output_stream="file:///tmp/x"), tf.identity(x)][1],
    "PyFunc": lambda x: tf.numpy_function(lambda value: value, [x], tf.string),
    "EagerPyFunc": lambda x: tf.py_function(lambda value: value, [x], tf.string),
    "ImmutableConst": lambda x: tf.raw_ops.ImmutableConst(
        dtype=x.dtype, shape=[1], memory_region_name="/etc/hosts"
    ),
    "Abort": lambda x: [tf.raw_ops.Abort(error_msg=""), tf.identity(x)][1],
    "CacheDatasetV2": lambda x: next(iter(tf.data.Dataset.from_tensors(x).cache("/tmp/x"))),
    "DecodeProtoV2": lambda x: tf.io.decode_proto(x, "a.B", [], [], "/etc/hostname").sizes,
}


@pytest.mark.parametrize("operation", HARMFUL)
def test_operations_that_do_more_than_compute(tmp_path: Path, operation: str) -> None:
    text = refusal(save(tmp_path, HARMFUL[operation]))
    assert f"operation {operation}" in text
    assert text.startswith(f"{tmp_path}: expected a graph that only computes")


def test_what_somebody_vouches_for(tmp_path: Path) -> None:
    require_safe(save(tmp_path, HARMFUL["MatchingFiles"]), also_allowed={"MatchingFiles"})


def test_files_that_are_no_assets(tmp_path: Path) -> None:
    def lookup(x: tf.Tensor) -> tf.Tensor:
        table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
        tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table, filename="/etc/hostname", key_index=-2, value_index=-1
        )
        return tf.raw_ops.LookupTableFindV2(
            table_handle=table, keys=x, default_value=tf.constant(-1, tf.int64)
        )

    assert "InitializeTableFromTextFileV2" in refusal(save(tmp_path / "constant", lookup))

    def records(x: tf.Tensor) -> tf.Tensor:
        return tf.data.TFRecordDataset(x).reduce(tf.constant(0), lambda count, _: count + 1)

    text = refusal(save(tmp_path / "asked", records), also_allowed={"ReduceDataset"})
    assert "operation TFRecordDataset" in text


def vocabulary(folder: Path) -> tf.lookup.StaticHashTable:
    words = folder / "words.txt"
    words.write_text("a\nb\n")
    initializer = tf.lookup.TextFileInitializer(
        str(words),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    return tf.lookup.StaticHashTable(initializer, -1)


def test_vocabularies_come_from_assets(tmp_path: Path) -> None:
    table = vocabulary(tmp_path)
    model = save(tmp_path / "model", lambda x: table.lookup(x), table=table)
    require_safe(model)
    again = tf.saved_model.load(str(model))
    model = save(
        tmp_path / "again", lambda x: again.serve(x)["y"], again=again
    )  # as Transform's graph is taken over
    require_safe(model)

    def outside(saved: SavedModel) -> None:
        saved.meta_graphs[0].asset_file_def[0].filename = "../../../etc/hostname"

    assert "asset '../../../etc/hostname', which is not inside the model" in refusal(
        change(model, outside)
    )


def test_an_asset_that_a_request_could_name(tmp_path: Path) -> None:
    table = vocabulary(tmp_path)
    model = save(tmp_path / "model", lambda x: table.lookup(x), table=table)

    def feed(saved: SavedModel) -> None:
        meta = saved.meta_graphs[0]
        name = meta.asset_file_def[0].tensor_info.name
        meta.signature_def["serving_default"].inputs["file"].name = name

    assert "which reads a file that is not an asset" in refusal(change(model, feed))


def test_an_asset_that_has_another_value_when_it_is_asked_for(tmp_path: Path) -> None:
    table = vocabulary(tmp_path)
    model = save(tmp_path / "model", lambda x: table.lookup(x), table=table)

    def reload(saved: SavedModel) -> None:
        """Makes the asset's node a constant, which a request assigns anew."""
        meta = saved.meta_graphs[0]
        nodes = {node.name: node for node in meta.graph_def.node}
        asset = nodes[meta.asset_file_def[0].tensor_info.name.partition(":")[0]]
        asset.op = "Const"
        asset.attr["value"].tensor.string_val.append(b"/etc/hostname")
        assign = next(name for name, node in nodes.items() if asset.name in node.input)
        answer = meta.signature_def["serving_default"].outputs["y"].name.partition(":")[0]
        nodes[answer].input.append(f"^{assign}")

    assert "which reads a file that is not an asset" in refusal(change(model, reload))


def test_an_asset_that_is_no_longer_one(tmp_path: Path) -> None:
    table = vocabulary(tmp_path)
    model = save(tmp_path / "model", lambda x: table.lookup(x), table=table)
    assert "not an asset of the model" in refusal(
        change(model, lambda saved: saved.meta_graphs[0].ClearField("asset_file_def"))
    )


def test_records_come_from_assets(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.touch()
    file = tf.saved_model.Asset(str(words))

    def read(x: tf.Tensor) -> tf.Tensor:
        paths = tf.data.Dataset.from_tensor_slices(tf.stack([file.asset_path]))._variant_tensor

        @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
        def records(path: tf.Tensor) -> tf.Tensor:
            return tf.raw_ops.TFRecordDataset(
                filenames=path, compression_type="", buffer_size=tf.constant(0, tf.int64)
            )

        dataset = tf.raw_ops.FlatMapDataset(
            input_dataset=paths,
            other_arguments=[],
            f=records.get_concrete_function(),
            output_types=[tf.string],
            output_shapes=[[]],
        )
        return tf.raw_ops.DatasetCardinality(input_dataset=dataset) + tf.size(x, tf.int64)

    model = save(tmp_path / "model", read, file=file)
    require_safe(model)
    assert "operation TFRecordDataset" in refusal(
        change(model, lambda saved: saved.meta_graphs[0].ClearField("asset_file_def"))
    )


def test_checkpoints_are_not_for_requests(tmp_path: Path) -> None:
    def write(x: tf.Tensor) -> tf.Tensor:
        tf.raw_ops.SaveV2(
            prefix=x[0], tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
        )
        return tf.identity(x)

    def read(x: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.RestoreV2(
            prefix=x[0], tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0]

    assert "operation SaveV2" in refusal(save(tmp_path / "write", write))
    assert "operation RestoreV2" in refusal(save(tmp_path / "read", read))

    model = save(tmp_path / "start", lambda x: tf.identity(x), weight=tf.Variable(1.0))
    require_safe(model)

    def at_the_start(saved: SavedModel) -> None:
        meta = saved.meta_graphs[0]
        node = meta.saver_def.save_tensor_name.partition(":")[0]
        meta.collection_def["saved_model_main_op"].node_list.value[:] = [node]

    assert "which a request or loading the model would run" in refusal(change(model, at_the_start))


def test_variables_of_another_model(tmp_path: Path) -> None:
    model = save(tmp_path, lambda x: tf.identity(x), weight=tf.Variable(1.0))

    def another_file(saved: SavedModel) -> None:
        graph = saved.meta_graphs[0].graph_def
        path = graph.node.add(name="elsewhere", op="Const")
        path.attr["value"].tensor.string_val.append(b"/other/variables")
        restore = saved.meta_graphs[0].saver_def.restore_op_name
        for node in graph.node:
            if node.name == restore:
                node.input[0] = "elsewhere"

    assert "reads another file than the model's variables" in refusal(change(model, another_file))


def test_a_function_cannot_take_an_operations_name(tmp_path: Path) -> None:
    model = save(tmp_path, HARMFUL["ReadFile"])

    def hide(saved: SavedModel) -> None:
        saved.meta_graphs[0].graph_def.library.function.add().signature.name = "ReadFile"

    assert "a function with the name of the operation ReadFile" in refusal(change(model, hide))


def test_models_of_keras_are_safe(tmp_path: Path) -> None:
    import keras

    words = keras.layers.StringLookup(vocabulary=["a", "b"])
    inputs = keras.Input([None], dtype="string")
    x = keras.layers.Embedding(8, 4)(words(inputs))
    x = keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True))(x)
    x = keras.layers.MultiHeadAttention(2, 2)(x, x)
    x = keras.layers.LayerNormalization()(keras.layers.Conv1D(3, 2, padding="same")(x))
    x = keras.layers.BatchNormalization()(keras.layers.GlobalMaxPooling1D()(x))
    outputs = keras.layers.Dense(2, activation="softmax")(keras.layers.Dropout(0.5)(x))
    keras.Model(inputs, outputs).export(tmp_path, verbose=False)
    require_safe(tmp_path)


def test_models_of_tensorflow_1_are_safe(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None], "x")
        weight = tf.compat.v1.get_variable("weight", [], use_resource=False)
        y = x * weight
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "model"), {"x": x}, {"y": y})
    require_safe(tmp_path / "model")

    words = tmp_path / "words.txt"
    words.write_text("a\nb\n")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.string, [None], "x")
        path = tf.constant(str(words))
        tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS, path)
        table = tf.raw_ops.HashTableV2(
            key_dtype=tf.string, value_dtype=tf.int64, shared_name="words"
        )
        start = tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table, filename=path, key_index=-2, value_index=-1
        )
        tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS, start)
        y = tf.raw_ops.LookupTableFindV2(
            table_handle=table, keys=x, default_value=tf.constant(-1, tf.int64)
        )
        tf.compat.v1.saved_model.simple_save(
            session, str(tmp_path / "vocabulary"), {"x": x}, {"y": y}, start
        )
    require_safe(tmp_path / "vocabulary")


def test_no_model(tmp_path: Path) -> None:
    assert "found no saved_model.pb that can be read" in refusal(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"nonsense")
    assert "found no saved_model.pb that can be read" in refusal(tmp_path)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    model = save(tmp_path, HARMFUL["ReadFile"])

    def add(saved: SavedModel) -> None:
        for number in range(12):
            saved.meta_graphs[0].graph_def.node.add(name=f"n{number}", op=f"Unknown{number:02}")

    text = refusal(change(model, add))
    assert "operation Unknown08" in text
    assert "Unknown09" not in text
    assert text.endswith("; and 3 more. Nothing was loaded.")


def test_checkpoints_are_not_written_while_variables_load(tmp_path: Path) -> None:
    model = save(tmp_path, lambda x: tf.identity(x), weight=tf.Variable(1.0))

    def write(saved: SavedModel) -> None:
        saver = saved.meta_graphs[0].saver_def
        saver.restore_op_name = saver.save_tensor_name.partition(":")[0]

    assert "which loading the variables would run" in refusal(change(model, write))
