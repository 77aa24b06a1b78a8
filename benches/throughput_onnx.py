"""The forward pass of throughput.rs with onnxruntime or OpenVINO, on torchvision's DenseNet-121 as an ONNX file.

    pip install torch torchvision onnx onnxscript onnxruntime openvino
    python throughput_onnx.py --export densenet121.onnx
    python throughput_onnx.py --engine openvino --model densenet121.onnx --batch 1 8 32 --runs 5 --precision bf16

Prints one JSON object a measurement and, last, the process's peak memory. OpenVINO names the instructions of every layer
it compiled; those of the convolutions are printed as `isa`.
"""

import argparse
import os

import numpy

from measuring import tell, tell_memory, timed


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", metavar="MODEL", help="only write the network")
    parser.add_argument("--engine", choices=["onnxruntime", "openvino"])
    parser.add_argument("--model")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ops", nargs="+", default=["forward"], choices=["forward"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32", help="OpenVINO's inference precision")
    args = parser.parse_args()
    if not args.export and not (args.engine and args.model):
        parser.error("needs --engine and --model, or --export")
    if args.engine == "onnxruntime" and args.precision != "float32":
        parser.error("onnxruntime computes on the CPU in the model's precision, float32")
    return args


def export(path):
    import torch
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.densenet121(weights=None, num_classes=2).eval()
    shapes = {"x": {0: torch.export.Dim("batch")}}
    names = {"input_names": ["images"], "output_names": ["logits"]}
    images = torch.rand(2, 3, 224, 224)
    torch.onnx.export(net, (images,), path, dynamic_shapes=shapes, dynamo=True, external_data=False, verbose=False, **names)


def onnxruntime(args, images):
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = args.threads
    settings.add_free_dimension_override_by_name("batch", len(images))
    session = onnxruntime.InferenceSession(args.model, settings, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": images}), {}


def openvino(args, images):
    import openvino

    core = openvino.Core()
    model = core.read_model(args.model)
    model.reshape(list(images.shape))
    # It would choose bf16 by itself where the processor has it.
    precision = {"float32": "f32", "bf16": "bf16"}[args.precision]
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": args.threads, "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(model, "CPU", settings)
    layers = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops()]
    kernels = {str(info["primitiveType"].astype(str)) for info in layers if info["layerType"].astype(str) == "Convolution"}
    request = compiled.create_infer_request()
    return lambda: request.infer({0: images}), {"isa": " ".join(sorted(kernels))}


def main():
    args = options()
    if args.export:
        return export(args.export)
    for batch in args.batch:
        images = numpy.random.default_rng(0).random((batch, 3, 224, 224), dtype=numpy.float32)
        run, more = {"onnxruntime": onnxruntime, "openvino": openvino}[args.engine](args, images)
        first, seconds = timed(run, args.runs)
        tell("forward", batch, first, seconds, precision=args.precision, threads=args.threads, device="cpu", **more)
    tell_memory()


main()
