"""ONNX Runtime's form of a model."""

import onnxruntime


def open_session(model: bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """Returns a session of a model on the CPU. It raises its errors and logs none.

    threads: that work on one picture; 0 for one of each core.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    # Threads that wait for work sleep: by default they spin, which takes twice the CPU time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
