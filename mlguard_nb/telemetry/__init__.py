"""What happened: frozen events, the bus that carries them, and sinks (logs, Prometheus, OpenTelemetry, Datadog)."""
