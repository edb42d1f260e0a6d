"""Compare the converted networks with a TFLite interpreter on the published files.

In an environment of its own (`pip install ai-edge-litert onnxruntime numpy`), as the interpreter is not a dependency of the project:

    python tools/face_weights/verify.py models/faceswap/weights/mesh.onnx face_landmark.tflite 0 1
    python tools/face_weights/verify.py models/faceswap/weights/detector.onnx face_detection_full_range.tflite -1 1

The last two numbers are the range of the input. Prints the largest difference of each output and exits 1 above 1e-3, on values that reach
some 160 (pixels of a 192-pixel picture).
"""

import sys

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter


def main(converted: str, published: str, low: float, high: float) -> int:
    """Run both on the same noise and smooth pictures, the converted one as a batch."""
    rng = np.random.default_rng(0)
    rough = rng.random((4, 192, 192, 3))
    smooth = np.stack([np.kron(picture, np.ones((32, 32, 1))) for picture in rng.random((4, 6, 6, 3))])
    images = (np.concatenate([rough, smooth]) * (high - low) + low).astype(np.float32)
    ours = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"]).run(None, {"image": images})
    theirs = Interpreter(model_path=published)
    theirs.allocate_tensors()
    worst = 0.0
    for row, image in enumerate(images):
        theirs.set_tensor(theirs.get_input_details()[0]["index"], image[None])
        theirs.invoke()
        for output, detail in zip(ours, theirs.get_output_details(), strict=True):
            worst = max(worst, float(np.abs(output[row].ravel() - theirs.get_tensor(detail["index"]).ravel()).max()))
    print(f"{converted}: largest difference {worst:.2e} over {len(images)} pictures")
    return int(worst > 1e-3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
