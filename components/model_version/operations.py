"""Operations of graphs: which ones a graph holds, may hold when it is served, or needs a GPU for.

A served graph is checked against an allow-list, because a SavedModel is a program: TensorFlow has
operations that read and write any file (`ReadFile`, `WriteFile`, `PrintV2` to a file,
`ImmutableConst`), run code (`PyFunc`) or end the process (`Abort`), and every release adds some.
The list has what our models need and what Keras and TensorFlow generate for inference: layers,
their gradients, preprocessing, lookups, control flow.
"""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.framework import kernels

ANYWHERE = {"CPU", "DEFAULT"}  # the devices whose kernels run on every machine

_ARRAYS = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastTo CheckNumerics CheckNumericsV2 Concat
ConcatOffset ConcatV2 ConjugateTranspose Const DepthToSpace Dequantize Diag DiagPart EditDistance
EnsureShape ExpandDims ExtractImagePatches ExtractVolumePatches FakeQuantWithMinMaxArgs
FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Fingerprint Gather GatherNd GatherV2
GuaranteeConst Identity IdentityN InvertPermutation ListDiff LowerBound MatrixBandPart MatrixDiag
MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag
MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad PadV2 ParallelConcat Placeholder
PlaceholderV2 PlaceholderWithDefault PreventGradient QuantizeAndDequantize QuantizeAndDequantizeV2
QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2 Rank Reshape Reverse ReverseSequence
ReverseV2 ScatterNd ScatterNdNonAliasingAdd Shape ShapeN Size Slice Snapshot SpaceToBatch
SpaceToBatchND SpaceToDepth Split SplitV Squeeze StopGradient StridedSlice TensorScatterAdd
TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile
Transpose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex UpperBound Where
ZerosLike
"""
_MATHEMATICS = """
Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh
Atan Atan2 Atanh BatchMatMul BatchMatMulV2 BatchMatMulV3 BesselI0 BesselI0e BesselI1 BesselI1e
BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc Bincount
BitwiseAnd BitwiseOr BitwiseXor Bucketize Cast Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh
Cross Cumprod Cumsum CumulativeLogsumexp Dawsn DenseBincount Digamma Div DivNoNan Equal Erf Erfc
Erfinv EuclideanNorm Exp Expint Expm1 Floor FloorDiv FloorMod FresnelCos FresnelSin Greater
GreaterEqual HistogramFixedWidth Igamma Igammac Imag Inv Invert IsFinite IsInf IsNan LeftShift Less
LessEqual Lgamma LinSpace Log Log1p LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean Min
Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma PopulationCount Pow Prod
RaggedBincount Range Real RealDiv Reciprocal RightShift Rint Round Rsqrt SegmentMax SegmentMaxV2
SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum SegmentSumV2 Select
SelectV2 Sigmoid Sign Sin Sinh SparseBincount SparseMatMul SparseSegmentMean
SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments
SparseSegmentSum SparseSegmentSumWithNumSegments Spence Sqrt Square SquaredDifference Sub Sum Tan
Tanh TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
UnsortedSegmentSum Xdivy Xlog1py Xlogy Zeta
"""
_LINEAR_ALGEBRA = """
BandedTriangularSolve Cholesky Eig Einsum FFT FFT2D FFT3D FFTND IFFT IFFT2D IFFT3D IFFTND IRFFT
IRFFT2D IRFFT3D IRFFTND LogMatrixDeterminant Lu MatrixDeterminant MatrixExponential MatrixInverse
MatrixLogarithm MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Qr RFFT RFFT2D
RFFT3D RFFTND SelfAdjointEig SelfAdjointEigV2 Svd TridiagonalMatMul TridiagonalSolve
"""
_NETWORKS = """
ApproxTopK AvgPool AvgPool3D BatchNormWithGlobalNormalization BiasAdd BiasAddV1 BlockLSTM
BlockLSTMV2 Conv Conv2D Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D Conv3DBackpropInput
Conv3DBackpropInputV2 CudnnRNN CudnnRNNCanonicalToParams CudnnRNNCanonicalToParamsV2
CudnnRNNParamsSize CudnnRNNV2 CudnnRNNV3 DataFormatDimMap DataFormatVecPermute DepthwiseConv2dNative
Dilation2D Elu FractionalAvgPool FractionalMaxPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
FusedPadConv2D FusedResizeAndPadConv2D GRUBlockCell InTopK InTopKV2 L2Loss LRN LSTMBlockCell
LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax NthElement Relu Relu6 Selu
Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign SparseSoftmaxCrossEntropyWithLogits TopK
TopKV2
"""
# The gradients of layers: the signatures that explain differentiate the network. None of them needs
# more than its inputs; TensorFlow Serving knows all since 2.0.
_GRADIENTS = """
BiasAddGrad BlockLSTMGradV2 BroadcastGradientArgs EluGrad ReciprocalGrad ReluGrad RsqrtGrad
SigmoidGrad SoftplusGrad SqrtGrad StridedSliceGrad TanhGrad
"""
_TEXT = """
AsString DecodeBase64 EncodeBase64 ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch
StaticRegexReplace StringFormat StringJoin StringLength StringLower StringNGrams StringSplit
StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong
StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript
UnicodeTranscode UnsortedSegmentJoin
"""
_PARSING = """
DecodeCSV DecodeJSONExample DecodePaddedRaw DecodeRaw ParseExample ParseExampleV2
ParseSequenceExample ParseSequenceExampleV2 ParseSingleExample ParseSingleSequenceExample
ParseTensor SerializeTensor
"""
_SPARSE_AND_RAGGED = """
DenseToDenseSetOperation DenseToSparseSetOperation DeserializeManySparse DeserializeSparse
RaggedCross RaggedFillEmptyRows RaggedGather RaggedRange RaggedTensorFromVariant
RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant SerializeManySparse SerializeSparse
SetSize SparseAdd SparseConcat SparseCross SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd
SparseDenseCwiseDiv SparseDenseCwiseMul SparseFillEmptyRows SparseReduceMax SparseReduceMaxSparse
SparseReduceSum SparseReduceSumSparse SparseReorder SparseReshape SparseSlice SparseSoftmax
SparseSparseMaximum SparseSparseMinimum SparseSplit SparseTensorDenseAdd SparseTensorDenseMatMul
SparseToDense SparseToSparseSetOperation
"""
_IMAGES_AND_SOUND = """
AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation AudioSpectrogram
CombinedNonMaxSuppression CropAndResize DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage DecodeJpeg
DecodePng DecodeWav DecodeWebP DrawBoundingBoxes DrawBoundingBoxesV2 EncodeJpeg EncodePng
ExtractGlimpse ExtractGlimpseV2 ExtractJpegShape HSVToRGB ImageProjectiveTransformV2
ImageProjectiveTransformV3 Mfcc NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3
NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea
ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
"""
_CONTROL_FLOW_AND_LISTS = """
Assert Case ControlTrigger DynamicPartition DynamicStitch EmptyTensorList Enter Exit FakeParam For
If LoopCond MapDefun Merge NextIteration NoOp OptionalFromValue OptionalGetValue OptionalHasValue
OptionalNone ParallelDynamicStitch PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf
StatelessWhile Switch TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3
TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3
TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape
TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack
TensorListPushBack TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter
TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit
TensorListStack Timestamp ToBool While
"""
_VARIABLES_AND_TABLES = """
AnonymousHashTable Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp
AssignVariableOp DisableCopyOnRead HashTable HashTableV2 InitializeTable InitializeTableFromDataset
InitializeTableV2 IsVariableInitialized LookupTableExport LookupTableExportV2 LookupTableFind
LookupTableFindV2 LookupTableImport LookupTableImportV2 LookupTableInsert LookupTableInsertV2
LookupTableSize LookupTableSizeV2 MutableDenseHashTable MutableDenseHashTableV2 MutableHashTable
MutableHashTableOfTensors MutableHashTableOfTensorsV2 MutableHashTableV2 ReadVariableOp
ResourceGather ResourceGatherNd ResourceScatterUpdate VarHandleOp VarIsInitializedOp Variable
VariableShape VariableV2
"""
_RANDOM = """
Multinomial RandomGamma RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal
RandomUniform RandomUniformInt StatelessMultinomial StatelessParameterizedTruncatedNormal
StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessRandomGetAlg
StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt
StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
StatelessRandomUniformV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""
_DATASETS = """
BatchDataset BatchDatasetV2 ConcatenateDataset DatasetCardinality FilterDataset FinalizeDataset
FlatMapDataset MapDataset ModelDataset OptionsDataset ParallelMapDataset ParallelMapDatasetV2
PrefetchDataset RangeDataset SkipDataset TakeDataset TensorDataset TensorSliceDataset ZipDataset
"""  # vocabularies are read with them

_GROUPS = (
    _ARRAYS,
    _MATHEMATICS,
    _LINEAR_ALGEBRA,
    _NETWORKS,
    _GRADIENTS,
    _TEXT,
    _PARSING,
    _SPARSE_AND_RAGGED,
    _IMAGES_AND_SOUND,
    _CONTROL_FLOW_AND_LISTS,
    _VARIABLES_AND_TABLES,
    _RANDOM,
    _DATASETS,
)

# These only compute.
COMPUTING = frozenset(" ".join(_GROUPS).split())

# These read the file that an input names; the value is the place of that input. They are allowed if
# the file is an asset of the model.
READS_ASSET = {
    "InitializeTableFromTextFile": 1,
    "InitializeTableFromTextFileV2": 1,
    "TFRecordDataset": 0,
    "TFRecordDatasetV2": 0,
    "TextLineDataset": 0,
}

# These write and read checkpoints. Every SavedModel holds them, for its own variables; nothing that
# is served may run them.
CHECKPOINTS = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"})


def operations(graph: GraphDef) -> set[str]:
    """Returns the names of the operations in a graph and in its functions.

    Calls of those functions are left out.
    """
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    return {node.op for node in nodes} - {function.signature.name for function in functions}


def without_cpu_kernel(names: Iterable[str]) -> list[str]:
    """Returns the operations that this TensorFlow has no CPU kernel for, sorted, e.g. `CudnnRNNV3`.

    TensorFlow's own packages register the kernels for GPUs even on machines without a GPU. A build
    without CUDA does not: there, an operation that runs on GPUs only has no kernel at all.
    """
    return sorted(name for name in set(names) if not _devices(name) & ANYWHERE)


def _devices(name: str) -> set[str]:
    return {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(name).kernel}
