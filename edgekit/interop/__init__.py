"""PyTorch and ONNX on either side of the float .tflite; whatever pins the world runs in an environment of its own."""
