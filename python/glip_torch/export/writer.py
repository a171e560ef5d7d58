"""Writes ONNX graphs node by node.

The graphs are written by hand rather than traced from the PyTorch modules, because the form that
ONNX Runtime runs fastest is not the one that trains best: biases and scales are folded into weights,
windows are cut by one Gather, statistics of many small tensors are taken at once. What keeps both
forms one model is the self-check at the end of every export.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

OPSET = 22
#: Operators of ONNX Runtime's own.
MICROSOFT = "com.microsoft"
#: Functions that graphs have in them, and for which glip-rs has operators of its own on a CPU.
FUNCTIONS = "glip"
#: Each pixel as often as it takes, as torch's nearest.
NEAREST = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
#: Element types that a graph's edges may have, by the names that manifests call them.
ELEMENT_TYPES = {"float32": torch.float32, "float16": torch.float16, "int64": torch.int64, "bool": torch.bool}
_ELEMENTS = {
    torch.float16: TensorProto.FLOAT16,
    torch.float32: TensorProto.FLOAT,
    torch.int64: TensorProto.INT64,
    torch.bool: TensorProto.BOOL,
}


def name_of(type: torch.dtype) -> str:
    """What manifests call it."""
    return next(name for name, element in ELEMENT_TYPES.items() if element == type)


def element_name(element: int) -> str:
    """What manifests call a type of ONNX."""
    return name_of(next(type for type, number in _ELEMENTS.items() if number == element))


class GraphWriter:
    """One graph in the making. A value is its name, a `str`; a size is a value of shape `[1]`, or a number."""

    def __init__(self, name: str, dtype: torch.dtype = torch.float32, int8: bool = False, in_pieces: bool = True):
        self.name = name
        #: Whether large maps are worked on in pieces that fit a CPU's cache. A GPU wants them whole.
        self.in_pieces = in_pieces
        #: Whether products with weights are computed in 8 bits.
        self.int8 = int8
        #: What the graph computes in; its edges are of the types that they are declared with, whatever this is.
        self.dtype = dtype
        self._nodes: list[onnx.NodeProto] = []
        self._domains: set[str] = set()
        self._functions: dict[str, onnx.FunctionProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._constants: dict[tuple, str] = {}
        #: Sizes that are also where the data is.
        self._placed: dict[str, str] = {}
        #: What parameters are called that are in the graph already; several nodes may use one.
        self._parameters: dict[tuple[int, torch.dtype], tuple[torch.Tensor, str]] = {}
        #: The scales of weights in 8 bits.
        self._scales: dict[str, str] = {}
        self._known_bounds: dict[tuple[int | str, ...], list[str]] = {}
        self._scopes: list[str] = []
        self._counts: dict[str, int] = {}
        self._of_size: OfSize | None = None

    # Edges

    def input(self, name: str, type: str, shape: Sequence[int | str]) -> str:
        """Declares an input of one of `ELEMENT_TYPES`; a float comes back in the graph's own type."""
        self._inputs.append(self._edge(name, type, shape))
        return self.cast(name, self.dtype) if self._differs(type) else name

    def output(self, name: str, value: str, type: str, shape: Sequence[int | str]) -> None:
        """Declares an output; a float is given in the graph's own type."""
        self._outputs.append(self._edge(name, type, shape))
        if self._differs(type):
            self._add("Cast", [value], [name], to=_ELEMENTS[ELEMENT_TYPES[type]])
        elif self.in_pieces or not self._renamed(value, name):
            self._add("Identity", [value], [name])

    def _renamed(self, value: str, name: str) -> bool:
        """Gives a node's output the name of the graph's, which spares a copy; not if it is an edge already."""
        if not any(value in node.output for node in self._nodes):
            return False
        if any(value == edge.name for edge in self._outputs):
            return False
        for node in self._nodes:
            for places in (node.input, node.output):
                for place, found in enumerate(places):
                    if found == value:
                        places[place] = name
        return True

    @property
    def of_size(self) -> OfSize:
        """What in this graph depends on the size of its pixels alone, and is an input of it."""
        if self._of_size is None:
            self._of_size = OfSize(self)
        return self._of_size

    @property
    def grid(self) -> GraphWriter | None:
        """The graph that works this out, if there is something."""
        return self._of_size and self._of_size.writer

    def _edge(self, name: str, type: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
        if type not in ELEMENT_TYPES:
            raise ValueError(f"{name} of graph {self.name} is of type {type!r}: use one of {', '.join(ELEMENT_TYPES)}")
        return helper.make_tensor_value_info(name, _ELEMENTS[ELEMENT_TYPES[type]], shape)

    def _differs(self, type: str) -> bool:
        """Whether an edge of this type is a float, and another one than the graph computes in."""
        return ELEMENT_TYPES[type].is_floating_point and ELEMENT_TYPES[type] != self.dtype

    # Nodes

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """What is written inside is named after it, which is what errors and profiles show."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def op(self, type: str, *inputs: str, domain: str = "", **attributes) -> str:
        """A node with one output."""
        (output,) = self.ops(type, *inputs, outputs=1, domain=domain, **attributes)
        return output

    def ops(self, type: str, *inputs: str, outputs: int, domain: str = "", **attributes) -> list[str]:
        """A node with several outputs."""
        name = self._unique(type)
        names = [name] if outputs == 1 else [f"{name}.{index}" for index in range(outputs)]
        self._add(type, inputs, names, name=name, domain=domain, **attributes)
        return names

    def _add(self, type: str, inputs: Sequence[str], outputs: list[str], name: str | None = None, **attributes) -> None:
        name = name or self._unique(type)
        node = helper.make_node(type, list(inputs), outputs, name=name, **attributes)
        self._domains.add(node.domain)
        self._nodes.append(node)

    def _unique(self, kind: str) -> str:
        path = "/".join([*self._scopes, kind])
        count = self._counts[path] = self._counts.get(path, 0) + 1
        return path if count == 1 else f"{path}_{count}"

    def over_pieces(self, body: Callable[..., str], *sequences: tuple[str, torch.dtype]) -> str:
        """Stacks what `body` gives for each piece (along the first axis) of all sequences, which go along in step.

        The pieces are worked on one after the other, so that what is between a piece's nodes stays in the cache.
        """
        if not self.in_pieces:
            whole = [self.op("Squeeze", sequence, self.ints(0)) for sequence, _ in sequences]
            return self.op("Unsqueeze", body(*whole), self.ints(0))
        outside, self._nodes = self._nodes, []
        pieces = [self._unique("piece") for _ in sequences]
        result = body(*pieces)
        inside, self._nodes = self._nodes, outside
        inputs = [
            helper.make_tensor_value_info(piece, _ELEMENTS[dtype], None) for piece, (_, dtype) in zip(pieces, sequences)
        ]
        output = helper.make_tensor_value_info(result, _ELEMENTS[self.dtype], None)
        graph = helper.make_graph(inside, self._unique("body"), inputs, [output])
        return self.op("Scan", *(sequence for sequence, _ in sequences), body=graph, num_scan_inputs=len(sequences))

    def function(self, name: str, *inputs: str, body: Callable[..., str], **attributes) -> str:
        """What `body(writer, *inputs)` writes, as one node with these attributes.

        The nodes inside are a function of the graph's, which ONNX Runtime puts in the node's place where no operator of
        this name is registered. All nodes of one name have the same body; the attributes are for operators alone. What the
        body takes for a `weight` is an input of the node, behind the others, in the order of first use. In half there is no
        function but its nodes, as operators are for float32.
        """
        if self.half:
            return body(self, *inputs)
        inner = GraphWriter(name, self.dtype, self.int8, self.in_pieces)
        names = [f"input_{place}" for place in range(len(inputs))]
        output = body(inner, *names)
        function = inner._as_function(names, list(attributes), output)
        if self._functions.setdefault(name, function) != function:
            raise ValueError(f"graph {self.name} has two functions {name}: give one of them another name")
        given = [self._adopted(key, *parameter, inner) for key, parameter in inner._parameters.items()]
        return self.op(name, *inputs, *given, domain=FUNCTIONS, **attributes)

    def _adopted(self, key: tuple[int, torch.dtype], values: torch.Tensor, name: str, inner: GraphWriter) -> str:
        """The weight of a function's body as one of this graph's."""
        if key not in self._parameters:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(inner._initializers[name])
            tensor.name = self._unique(name)
            self._initializers[tensor.name] = tensor
            self._parameters[key] = (values, tensor.name)
        return self._parameters[key][1]

    def _as_function(self, inputs: list[str], attributes: list[str], output: str) -> onnx.FunctionProto:
        """Functions have no initializers: constants are nodes of theirs, and weights are inputs."""
        weights = [name for _, name in self._parameters.values()]
        constants = [
            helper.make_node("Constant", [], [name], value=self._initializers[name])
            for name in self._constants.values()
        ]
        nodes = [*constants, *self._nodes]
        opsets, inputs = self._opset_imports(), [*inputs, *weights]
        return helper.make_function(FUNCTIONS, self.name, inputs, [output], nodes, opsets, attributes)

    # Constants

    def weight(self, name: str, values: torch.Tensor) -> str:
        """A parameter, or what was made of parameters, in the graph's own type."""
        key = (id(values), self.dtype)
        if key in self._parameters:
            return self._parameters[key][1]
        name = self._unique(name)
        array = values.detach().cpu().to(self.dtype).contiguous().numpy()
        self._initializers[name] = numpy_helper.from_array(array, name)
        self._parameters[key] = (values, name)  # Holding the tensor keeps its id its own.
        return name

    def table(self, values: torch.Tensor) -> str:
        """Numbers that are the same whatever a model has learned, in the graph's own type."""
        return self._constant(values.to(self.dtype).numpy())

    def ints(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        return self._constant(np.array(value, np.float16 if self.half else np.float32))

    def index(self, value: int) -> str:
        """A number without a dimension, at which Gather takes one of many."""
        return self._constant(np.array(value, np.int64))

    def upsampling(self, factor: int) -> str:
        """Scales of an image batch for Resize."""
        return self._constant(np.array([1, 1, factor, factor], np.float32))

    def _constant(self, array: np.ndarray) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self._constants[key] = f"constant_{len(self._constants)}"
            self._initializers[name] = numpy_helper.from_array(array, name)
        return self._constants[key]

    @property
    def half(self) -> bool:
        return self.dtype == torch.float16

    @property
    def lowest(self) -> float:
        """What masks add to a score that must not count."""
        return torch.finfo(self.dtype).min

    # Types and shapes

    def cast(self, value: str, dtype: torch.dtype) -> str:
        """The value in another type; the caller knows that it is another."""
        return self.op("Cast", value, to=_ELEMENTS[dtype])

    def as_float(self, value: str) -> str:
        """A value of the graph's own type in float32."""
        return self.cast(value, torch.float32) if self.half else value

    @contextlib.contextmanager
    def in_float(self) -> Iterator[Callable[[str], str]]:
        """Inside, weights and scalars are float32; gives what brings a result back to the graph's own type."""
        own, self.dtype, self.int8 = (self.dtype, self.int8), torch.float32, False
        yield lambda value: value if own[0] == torch.float32 else self.cast(value, own[0])
        self.dtype, self.int8 = own

    def size(self, value: str, axis: int) -> str:
        """The length of one axis."""
        return self.op("Shape", value, start=axis, end=axis + 1)

    def product(self, *sizes: str) -> str:
        product = sizes[0]
        for size in sizes[1:]:
            product = self.op("Mul", product, size)
        return product

    def ratio(self, size: str, divisor: str) -> str:
        """How many of the divisor cover the size."""
        return self.op("Div", self.op("Sub", self.op("Add", size, divisor), self.ints(1)), divisor)

    def shape(self, *sizes: int | str) -> str:
        """Numbers and sizes as one shape."""
        if all(isinstance(size, int) for size in sizes):
            return self.ints(*sizes)
        return self.op("Concat", *(self.ints(size) if isinstance(size, int) else size for size in sizes), axis=0)

    def reshape(self, value: str, *sizes: int | str) -> str:
        """0 keeps a dimension, -1 takes what is left."""
        return self.op("Reshape", value, self.shape(*sizes))

    def transpose(self, value: str, *order: int) -> str:
        return self.op("Transpose", value, perm=order)

    def range(self, size: str) -> str:
        """0, 1, ... below the size."""
        axis = self.ints(0)
        zero, one = (self.op("Squeeze", self.ints(number), axis) for number in (0, 1))
        return self.op("Range", zero, self.op("Squeeze", size, axis), one)

    def placed(self, size: str) -> str:
        """A size where the data is, for arithmetic with tensors.

        On a GPU, sizes are computed by the processor, and ONNX Runtime would copy each over, which takes time and
        rules out CUDA graphs. Range is an operator that reads numbers there and writes them here.
        """
        if self.in_pieces:
            return size  # for a CPU
        if size not in self._placed:
            number, one = self.op("Squeeze", size, self.ints(0)), self.index(1)
            self._placed[size] = self.op("Range", number, self.op("Add", number, one), one)
        return self._placed[size]

    def split(self, value: str, sizes: Sequence[int | str], axis: int) -> list[str]:
        if self.in_pieces or len(set(sizes)) == 1:
            return self.ops("Split", value, self.shape(*sizes), outputs=len(sizes), axis=axis)
        # For pieces of several sizes, ONNX Runtime's operator for CUDA lists on the host where every row goes, and copies
        # the list over at each run: 5 ms for the fields of offsets of a layer.
        bounds = self._bounds(tuple(sizes))
        return [self.op("Slice", value, *ends, self.ints(axis)) for ends in pairwise(bounds)]

    def _bounds(self, sizes: tuple[int | str, ...]) -> list[str]:
        """Where pieces of these sizes begin and end, each `[1]`."""
        if sizes not in self._known_bounds:
            bounds: list[int | str] = [0]
            for size in sizes:
                if isinstance(size, int) and isinstance(bounds[-1], int):
                    bounds.append(bounds[-1] + size)
                else:
                    bounds.append(
                        self.op("Add", *(self.ints(n) if isinstance(n, int) else n for n in (bounds[-1], size)))
                    )
            self._known_bounds[sizes] = [self.ints(n) if isinstance(n, int) else n for n in bounds]
        return self._known_bounds[sizes]

    def positions(self, levels: Sequence[str]) -> tuple[str, list[str]]:
        """Those of all levels `[batch, channels, h, w]`, row by row, as one `[batch, positions, channels]`.

        And how many each level has.
        """
        flat = [self.reshape(level, 0, 0, -1) for level in levels]
        return self.transpose(self.op("Concat", *flat, axis=2), 0, 2, 1), [self.size(level, 2) for level in flat]

    def levels(self, positions: str, counts: Sequence[str], sides: Sequence[str]) -> list[str]:
        """The way back: levels of so many positions and of these sides, each `[2]`. What is behind them is left out."""
        pieces = self.split(self.transpose(positions, 0, 2, 1), counts, axis=2)
        return [self.reshape(piece, 0, 0, of_level) for piece, of_level in zip(pieces, sides)]

    def sides(self, level: str) -> str:
        """Height and width of a map, `[2]`."""
        return self.op("Shape", level, start=2)

    # Layers

    def linear(self, value: str, weight: torch.Tensor, bias: torch.Tensor | None = None) -> str:
        """As `torch.nn.Linear`: `weight [out, in]`."""
        if self.int8:
            return self._int8_linear(value, weight, bias)
        product = self.op("MatMul", value, self.weight("weight", weight.T))
        return product if bias is None else self.op("Add", product, self.weight("bias", bias))

    def linear_to_channels(self, value: str, module: torch.nn.Linear) -> str:
        """`[batch, n, in]` to `[batch, out, n]`: as convolutions and samplers read it, without a transpose."""
        return self.to_channels(value, module.weight, module.bias)

    def to_channels(self, value: str, weight: torch.Tensor, bias: torch.Tensor) -> str:
        if self.int8:
            return self.transpose(self.linear(value, weight, bias), 0, 2, 1)
        product = self.op("FusedMatMul", self.weight("weight", weight), value, domain=MICROSOFT, transB=1)
        return self.op("Add", product, self.weight("bias", bias[:, None]))

    def dot(self, left: str, right: str, scale: float = 1.0) -> str:
        """`[batch, n, width]` and `[batch, m, width]` to the product of each with each, `[batch, n, m]`."""
        return self.op("FusedMatMul", left, right, domain=MICROSOFT, transB=1, alpha=scale)

    def _int8_linear(self, value: str, weight: torch.Tensor, bias: torch.Tensor | None) -> str:
        """The other factor gets its scale when the graph runs."""
        levels, scale = self.int8_weight(weight)
        optional = [] if bias is None else ["", self.weight("bias", bias)]
        return self.op("DynamicQuantizeMatMul", value, levels, scale, *optional, domain=MICROSOFT)

    def int8_weight(self, weight: torch.Tensor) -> tuple[str, str]:
        """`weight [out, ...]` as levels of 8 bits `[in, out]`, with each output's scale."""
        key = (id(weight), torch.int8)
        if key not in self._parameters:
            values = weight.detach().double().flatten(1)
            scale = values.abs().amax(1).clamp(min=1e-12) / 127
            levels = (values / scale[:, None]).round().T.contiguous().to(torch.int8).numpy()
            name = self._unique("weight")
            self._initializers[name] = numpy_helper.from_array(levels, name)
            self._parameters[key] = (weight, name)
            self._scales[name] = self.weight("scale", scale)
        name = self._parameters[key][1]
        return name, self._scales[name]

    def conv(self, value: str, module: torch.nn.Conv2d, more_padding: int = 0) -> str:
        """As the module, with so much more padding at the bottom and on the right."""
        top, left = module.padding
        return self.op(
            "Conv",
            value,
            *self._parameters_of(module),
            kernel_shape=list(module.kernel_size),
            strides=list(module.stride),
            dilations=list(module.dilation),
            pads=[top, left, top + more_padding, left + more_padding],
            group=module.groups,
        )

    def layer_norm(self, value: str, module: torch.nn.LayerNorm) -> str:
        return self.op("LayerNormalization", value, *self._parameters_of(module), axis=-1, epsilon=module.eps)

    def skip_layer_norm(self, value: str, skip: str, module: torch.nn.LayerNorm, bias: torch.Tensor) -> str:
        """The sum of value, skip and the bias of the product that the value is, normalised."""
        return self._skip_layer_norm(value, skip, module, bias, "")[0]

    def skip_layer_norm_and_sum(
        self, value: str, skip: str, module: torch.nn.LayerNorm, bias: torch.Tensor
    ) -> tuple[str, str]:
        """The same, and the sum itself."""
        return self._skip_layer_norm(value, skip, module, bias, "sum")

    def _skip_layer_norm(
        self, value: str, skip: str, module: torch.nn.LayerNorm, bias: torch.Tensor, sum: str
    ) -> tuple:
        name = self._unique("SkipLayerNormalization")
        sums = ["", "", f"{name}.{sum}"] if sum else []
        norm = self._parameters_of(module)
        inputs = [value, skip, *norm, *[""] * (2 - len(norm)), self.weight("bias", bias)]
        self._add("SkipLayerNormalization", inputs, [name, *sums], name=name, domain=MICROSOFT, epsilon=module.eps)
        return name, *sums[2:]

    def group_norm(self, value: str, module: torch.nn.GroupNorm) -> str:
        """Over `[batch, channels, h, w]`, in float32."""
        value = self.as_float(value)
        with self.in_float() as to_own:
            groups, channels = module.num_groups, module.num_channels
            ones, zeros = torch.ones(groups), torch.zeros(groups)
            normed = self.op(
                "InstanceNormalization",
                self.reshape(value, 0, groups, -1),
                self.weight("ones", ones),
                self.weight("zeros", zeros),
                epsilon=module.eps,
            )
            normed = self.op("Reshape", normed, self.op("Shape", value))
            weight, bias = (parameter.view(channels, 1, 1) for parameter in (module.weight, module.bias))
            scaled = self.op("Mul", normed, self.weight("weight", weight))
            return to_own(self.op("Add", scaled, self.weight("bias", bias)))

    def _parameters_of(self, module: torch.nn.Module) -> list[str]:
        """Weight and bias, if the module has one."""
        weight = self.weight("weight", module.weight)
        return [weight] if module.bias is None else [weight, self.weight("bias", module.bias)]

    def enlarged(self, value: str) -> str:
        """A map of twice the size, each pixel four times, as torch's nearest."""
        return self.op("Resize", value, "", self.upsampling(2), mode="nearest", **NEAREST)

    def gelu(self, value: str) -> str:
        return self.op("Gelu", value)

    def attention(self, value: str, weight: torch.Tensor, bias: torch.Tensor, heads: int, score_bias: str) -> str:
        """Self-attention of `[batch, n, width]` in heads, before its output layer, by ONNX Runtime's operator.

        The parameters are those of query, key and value in one; `score_bias [batch or 1, heads or 1, n, n]` is added to scores.
        """
        parameters = self.weight("weight", weight.T), self.weight("bias", bias)
        return self.op("Attention", value, *parameters, "", "", score_bias, domain=MICROSOFT, num_heads=heads)

    def bias_gelu(self, value: str, bias: torch.Tensor) -> str:
        return self.op("BiasGelu", value, self.weight("bias", bias), domain=MICROSOFT)

    def silu(self, value: str) -> str:
        return self.op("Mul", value, self.op("Sigmoid", value))

    # The end

    def model(self) -> onnx.ModelProto:
        """The finished graph, checked by onnx."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._initializers.values())
        )
        model = helper.make_model(
            graph,
            functions=list(self._functions.values()),
            opset_imports=self._opset_imports(),
            ir_version=10,
            producer_name="glip_torch",
        )
        onnx.checker.check_model(model)
        return model

    def _opset_imports(self) -> list[onnx.OperatorSetIdProto]:
        return [helper.make_opsetid(domain, OPSET if domain == "" else 1) for domain in sorted(self._domains)]


class OfSize:
    """The companion of a graph that computes what depends on the size of the graph's pixels alone.

    It is run once a size, and its outputs, each an input of the graph by the same name, stay on the device. Its nodes are
    written with `writer`.
    """

    def __init__(self, reader: GraphWriter):
        self._reader = reader
        self.writer = GraphWriter("grid", reader.dtype)
        size = self.writer.input("size", "int64", [3])
        #: Of the pixels, each `[1]`.
        self.batch, self.height, self.width = self.writer.split(size, (1, 1, 1), axis=0)

    def give(self, name: str, value: str, type: torch.dtype, shape: Sequence[int | str]) -> str:
        """A value of the companion as an input of the graph."""
        name, type = f"grid_{name}", name_of(type)
        self.writer.output(name, value, type, shape)
        return self._reader.input(name, type, shape)
