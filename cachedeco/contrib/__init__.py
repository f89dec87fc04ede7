"""For whoever runs it: metrics, traces and a panel, from the event hooks. Each is an extra."""
