"""Images and events, and the encoders that turn them into spikes."""
