"""OpenTelemetry: a span for each call, with a child for each attempt, and metrics (`pip install 'anyrerank[otel]'`)."""

from anyrerank.telemetry.opentelemetry import OpenTelemetry

__all__ = ["OpenTelemetry"]
