"""Asks a served model: REST or gRPC, without TensorFlow."""
