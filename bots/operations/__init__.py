"""Settings, logs, proxy and doctor: what an owner operates Marble with."""
