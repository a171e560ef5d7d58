"""The parts that a GPU runs faster in another form than a CPU: few nodes, each of them large.

At batch 1 a GPU waits for the processor to launch its kernels, 10 us for every node, so what is here is written for few
nodes: ONNX Runtime's fused operators, statistics and small vectors of many maps at once, no arithmetic on sizes.
"""
